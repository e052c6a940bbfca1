"""A bench as one page, HTML with everything inside it, as Markdown, as CSV, and as a document."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, select_autoescape
from matplotlib.figure import Figure

from ..evaluation.leaderboard import Board
from ..evaluation.verdicts import RULE, Interval
from ..files import replace_text
from ..names import markdown
from .leaderboard_figure import draw_leaderboard, draw_ranks
from .leaderboard_words import (
    NOT_TOGETHER,
    board_cells,
    gap_cells,
    headlines,
    left_out,
    rank_cells,
    rank_rule,
)
from .leaderboards import REFERENCE_RULE, DataSet, Leaderboard
from .studies import TABLES

TEMPLATES = Path(__file__).parent / "templates"
PAGE, TEXT, TABLE, PICTURE, RANKS = (
    "leaderboard.html", "leaderboard.md", "leaderboard.csv", "leaderboard.png", "ranks.png",
)  # fmt: skip
BLOCK = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- /bench -->)", re.DOTALL)
ORACLE_NOTE = "the test environment chose: an upper bound, not a result"
SUMMARY_COLUMNS = [
    "data",
    "protocol",
    "oracle",
    "method",
    "of",
    "value",
    "half_width",
    "n",
    "verdict",
    "p_holm",
]
HOLM_NOTE = f"{NOT_TOGETHER}: by itself, but not among all methods of the table taken together (Holm)."


def write_leaderboard(leaderboard: Leaderboard, folder: Path) -> Path:
    """Write the page, its tables as Markdown and CSV, and the pictures; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = _pictures(leaderboard)
    for name, figure in pictures.items():
        (folder / name).write_bytes(_png(figure))
    images = {
        name: "data:image/png;base64," + base64.b64encode((folder / name).read_bytes()).decode()
        for name in pictures
    }
    summary_table(leaderboard).to_csv(folder / TABLE, index=False, float_format="%.6g")
    replace_text(folder / TEXT, _render("leaderboard.md", leaderboard, {name: name for name in pictures}))
    replace_text(folder / PAGE, _render("leaderboard.html", leaderboard, images))
    return folder / PAGE


def write_leaderboard_document(leaderboard: Leaderboard, document: Path) -> None:
    """The page as a document, its pictures in a folder beside it."""
    folder = document.parent / "pictures" / document.stem
    folder.mkdir(parents=True, exist_ok=True)
    images = {}
    for name, figure in _pictures(leaderboard).items():
        (folder / name).write_bytes(_png(figure, dpi=100))
        images[name] = f"pictures/{document.stem}/{name}"
    addressed = [replace(data, table=_address(leaderboard, data)) for data in leaderboard.data_sets]
    replace_text(document, _render("leaderboard.md", replace(leaderboard, data_sets=addressed), images))


def renew_guide(leaderboard: Leaderboard, document: Path) -> None:
    """Put what a bench says between a document's marks: `<!-- bench: headlines -->`, `gaps` or `ranks`, up to
    `<!-- /bench -->`. Raises `ValueError` where there are none, or one of another name."""
    text = document.read_text(encoding="utf-8")
    parts = ("headlines", "gaps", "ranks")
    names = [found[2] for found in BLOCK.finditer(text)]
    if not names or set(names) - set(parts):
        raise ValueError(
            f"{document} needs marks <!-- bench: {' or '.join(parts)} --> ... <!-- /bench --> around what is "
            f"to be renewed{', and has ' + ', '.join(names) if names else ''}."
        )

    def renewed(marks: re.Match[str]) -> str:
        part = _render("leaderboard_parts.md", leaderboard, {}, part=marks[2]).strip("\n")
        return f"{marks[1]}\n{part}\n\n{marks[3]}"

    replace_text(document, BLOCK.sub(renewed, text))


def _address(leaderboard: Leaderboard, data: DataSet) -> str:
    """Where the choices are once they are committed."""
    return f"{TABLES}/bench/{data.budget}/{data.table}"


def summary_table(leaderboard: Leaderboard) -> pd.DataFrame:
    """Every figure of the page: a line for each data set, protocol, method and what it is `of`: an
    environment, `mean`, `worst`, `minus ERM` (points), `gap closed` (percent of it), `rank`, and over all
    `average rank`."""
    lines = [
        (data.name, board.protocol, board.oracle, *line)
        for data in leaderboard.data_sets
        for board in data.boards.values()
        for line in _lines(board)
    ]
    if leaderboard.main is not None:
        ranks = leaderboard.main.ranks
        lines += [
            ("all", "shown first", False, str(method), "average rank", rank, None, ranks.problems, None, None)
            for method, rank in ranks.ranks.items()
        ]
    return pd.DataFrame(lines, columns=SUMMARY_COLUMNS)


def _lines(board: Board) -> Iterator[tuple[Any, ...]]:
    def line(method: str, of: str, found: Interval, *judged: Any) -> tuple[Any, ...]:
        return (method, of, found.mean, found.half_width, found.n, *(judged or (None, None)))

    for method, row in board.rows.items():
        for name, found in row.environments.items():
            yield line(method, name, found)
        yield line(method, "mean", row.mean)
        yield line(method, "worst", row.worst)
        if row.difference is not None:
            word = str(row.difference.verdict) if row.difference.verdict else None
            yield line(method, "minus ERM", row.difference.difference, word, row.p_holm)
        if row.closed is not None:
            percent = Interval(100 * row.closed.mean, 100 * row.closed.half_width, row.closed.n)
            yield line(method, "gap closed", percent)
        yield (method, "rank", row.rank, None, len(board.environments), None, None)
    if board.gap is not None:
        for name, found in board.gap.own.items():
            yield line("own environment", name, found)
        yield line("own environment", "mean", board.gap.mean_own)
        yield line("own environment", "minus ERM", board.gap.mean)


def _pictures(leaderboard: Leaderboard) -> dict[str, Figure]:
    found = {PICTURE: draw_leaderboard(leaderboard)}
    if leaderboard.main is not None and len(leaderboard.main.ranks.ranks) > 1:
        found[RANKS] = draw_ranks(leaderboard)
    return found


def _render(template: str, leaderboard: Leaderboard, images: dict[str, str], **more: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"name": markdown, "cell": lambda text: markdown(text) if text else ""}
    return environment.get_template(template).render(
        leaderboard=leaderboard,
        headlines=headlines(leaderboard),
        ranks=rank_cells(leaderboard),
        rank_rule=rank_rule(leaderboard),
        reference_rule=REFERENCE_RULE,
        rule=RULE,
        holm_note=HOLM_NOTE,
        oracle_note=ORACLE_NOTE,
        left_out=left_out(leaderboard.data_sets),
        board_cells=board_cells,
        gap_cells=gap_cells,
        about=_about,
        images=images,
        picture=PICTURE,
        ranks_picture=RANKS,
        **more,
    )


def _about(data: DataSet) -> str:
    """What was run, in a sentence."""
    rows = ", ".join(f"{name} {count:,}" for name, count in data.environments.items())
    tried = f"{data.trials} trials" if data.trials > 1 else "one trial, the defaults"
    seeds = f"seeds {data.seeds[0]} to {data.seeds[-1]}" if len(data.seeds) > 1 else f"seed {data.seeds[0]}"
    tried = f"Budget {data.budget}: {tried} for each method and held-out environment, {seeds}."
    told = f"Training rows: {rows}. {tried}"
    if data.own_rows == "validation":
        told += (
            " The data have no test split: an environment trained on itself is measured on its validation "
            "rows, which also chose."
        )
    return told


def _png(figure: Figure, dpi: int = 130) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()
