"""A bench's page, and its results as a data set, from what is kept alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ...evaluation.leaderboard import Board, flipped, make_board, protocols, standings
from ...reporting.leaderboard_pages import renew_guide, write_leaderboard, write_leaderboard_document
from ...reporting.leaderboard_table import terminal_table
from ...reporting.leaderboard_words import headlines
from ...reporting.leaderboards import MAIN, DataSet, Leaderboard
from ...reporting.terminal import say
from .as_data import write_as_data
from .kept import CHOICES_FILE, Kept

DATA_FOLDER = "dataset"


def show(
    kept: Sequence[Kept],
    folder: Path,
    console: Console,
    docs_page: Path | None = None,
    guide: Path | None = None,
) -> Path:
    """Write everything into `folder`, say the headlines, and return the page.

    Raises `ValueError` where no configuration has a complete row.
    """
    leaderboard = make_leaderboard(kept)
    page = write_leaderboard(leaderboard, folder)
    write_as_data(leaderboard, kept, folder / DATA_FOLDER)
    if docs_page is not None:
        write_leaderboard_document(leaderboard, docs_page)
    if guide is not None:
        renew_guide(leaderboard, guide)
    for data in leaderboard.data_sets:
        for board in data.boards.values():
            console.print(terminal_table(data, board))
    for sentence in headlines(leaderboard):
        say(console, sentence)
    return page


def make_leaderboard(kept: Sequence[Kept]) -> Leaderboard:
    """The boards of every configuration that has a complete row. Raises `ValueError` where none has."""
    data_sets = [found for each in kept if (found := _data_set(each))]
    if not data_sets:
        names = ", ".join(each.name for each in kept)
        raise ValueError(f"{names}: no method has a seed that all held-out environments are finished with.")
    ranked = {MAIN: standings([data.main for data in data_sets])}
    for name in dict.fromkeys(name for data in data_sets for name in data.boards):
        ranked[name] = standings([data.boards[name] for data in data_sets if name in data.boards])
    return Leaderboard(data_sets, {name: each for name, each in ranked.items() if each})


def flips(one: Kept, other: Kept) -> list[str]:
    """The verdicts that are the opposite on two benches of the same data, in words."""
    told = []
    for protocol, oracle in protocols(one.choices).items():
        boards = [make_board(each.choices, protocol, each.name) for each in (one, other)]
        if not oracle and boards[0] is not None and boards[1] is not None:
            told += [f"{method} (chosen by {protocol})" for method in flipped(boards[0], boards[1])]
    return told


def _data_set(kept: Kept) -> DataSet | None:
    boards: dict[str, Board] = {}
    for protocol in protocols(kept.choices):
        board = make_board(kept.choices, protocol, kept.name)
        if board is not None:
            boards[protocol] = board
    if not boards:
        return None
    about = kept.about
    return DataSet(
        kept.name,
        about["title"],
        about["note"],
        about["environments"],
        about["trials"],
        about["seeds"],
        about["left_out"],
        about["own_rows"],
        boards,
        kept.cost,
        kept.spaces,
        about["commit"],
        f"{kept.name}/{CHOICES_FILE}",
        about["settings"],
        kept.budget,
    )
