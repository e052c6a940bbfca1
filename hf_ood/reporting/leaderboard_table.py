"""A board of a bench on the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ..evaluation.leaderboard import Board
from .comparison_table import COLORS
from .leaderboard_words import NOT_TOGETHER, board_cells
from .leaderboards import DataSet
from .terminal import plain

SHOWN = ("mean", "- ERM", "verdict", "gap closed", "rank")  # environments are on the page


def terminal_table(data: DataSet, board: Board) -> Table:
    """Methods by their mean; an oracle's in red."""
    title = f"{data.name}, chosen by {board.protocol}"
    mark = Text.assemble(("ORACLE", "red"), " ", plain(title)) if board.oracle else plain(title)
    table = Table(title=mark, title_justify="left", box=SIMPLE_HEAD, style="red" if board.oracle else "")
    table.add_column("method", overflow="fold", min_width=len("own environment"))
    for column in SHOWN:
        table.add_column(column, justify="right", no_wrap=True)
    for method, cells in board_cells(data, board).items():
        color = COLORS.get(cells["verdict"].rstrip(NOT_TOGETHER), "")
        texts = [Text(cells[name], style=color if name == "verdict" else "") for name in SHOWN]
        table.add_row(plain(method), *texts)
    return table
