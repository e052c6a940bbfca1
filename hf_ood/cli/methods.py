"""`hf-ood methods`: every method with a line of explanation, what it needs, and where it comes from."""

from __future__ import annotations

import inspect
import re
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from ..methods.losses import LOSSES, SampleLoss
from ..methods.registry import KINDS
from .funnel import add_debug, one_message


@one_message
def main(argv: Sequence[str] | None = None) -> None:
    """Print the roster."""
    make_parser().parse_args(argv)
    console = Console()
    for kind, (_, methods) in KINDS.items():
        table = Table(title=kind.replace("_", " "), title_justify="left", expand=False)
        for column in ("method", "what", "needs", "source"):
            table.add_column(column, overflow="fold")
        for name, method in methods.items():
            table.add_row(name, first_line(method), needs(method), source(method))
        console.print(table)
    table = Table(title="loss", title_justify="left", expand=False)
    for column in ("loss", "what", "of", "source"):
        table.add_column(column, overflow="fold")
    for name, loss in LOSSES.items():
        table.add_row(name, first_line(loss), labels_of(loss), source(loss))
    console.print(table)
    console.print(
        "Combine one of each table with +: hf-ood train --method irm+rsc. Beneath them lies one "
        "loss: --loss focal --loss.gamma 2. Options: hf-ood train --help irm, --help loss"
    )


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(description="List the methods: what each is, needs, and comes from.")
    add_debug(parser)
    return parser


def first_line(method: type[Any]) -> str:
    """The first sentence about its file."""
    return (inspect.getdoc(sys.modules[method.__module__]) or "").split("\n")[0].rstrip(".")


def needs(method: type[Any]) -> str:
    """What a run must have for it, beyond labels."""
    found = []
    least = getattr(method, "min_environments", 1)
    if least > 1:
        found.append(f"{least} environments")
    if getattr(method, "needs_features", False) is True:
        found.append("features")
    if getattr(method, "needs_start", False):
        found.append("a frozen copy of the start")
    if getattr(method, "additive", True) is False:
        found.append("whole batches")
    if getattr(method, "needs_validation", False):
        found.append("validation while training")
    return ", ".join(found) or "-"


def labels_of(loss: type[SampleLoss]) -> str:
    """The labels that a loss takes."""
    if loss.multi_label:
        return "several labels"
    return {True: "numbers", False: "classes", None: "classes, numbers"}[loss.regression]


def source(method: type[Any]) -> str:
    """Its paper, authors and year: of its citation, else the first that its docstring names."""
    entry = getattr(method, "citation", "")
    authors, year = re.search(r"author = {(.*)},", entry), re.search(r"year = {(\d+)}", entry)
    if authors and year:
        first, *others = [author.partition(",")[0] for author in authors[1].split(" and ")]
        names = f"{first} and {others[0]}" if len(others) == 1 else f"{first} et al." if others else first
        return f"{names} {year[1]}"
    text = " ".join((inspect.getdoc(method) or "").split())
    found = re.search(r"([A-Z][\w-]+(?: and [A-Z][\w-]+| et al\.)?),? (?:\()?((?:19|20)\d\d)", text)
    return f"{found[1]} {found[2]}" if found else "-"
