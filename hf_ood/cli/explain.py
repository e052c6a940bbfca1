"""`trainers/explain.py`: where the model of a finished run looks, in each test environment."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..reporting.attributions import ATTRIBUTIONS_FILE
from ..reporting.terminal import plain, say
from ..runs.attribution import REPORT_FILE, explain_run
from .funnel import add_debug, one_message
from .parser import HelpFormatter


@one_message
def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Parse the command line, write `attribution.json` and `attributions.png` into the run's folder."""
    arguments = make_parser().parse_args(argv)
    report = explain_run(arguments.run, arguments.samples, arguments.layer)
    _print_report(report, arguments.run)
    return report


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="Grad-CAM of a finished run on its test environments: heat maps over right and wrong\n"
        "predictions of each and, for Colored MNIST, how much of them lies on the digit.\n\n"
        "  %(prog)s --run runs/mine\n  %(prog)s --run runs/mine --samples 100 --layer vit.layers.1",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--run", required=True, type=Path, help="The output folder of a finished run.")
    parser.add_argument("--samples", type=int, default=500, help="Images of each environment.")
    parser.add_argument("--layer", help="The layer that is looked at. Default: the last that knows places.")
    add_debug(parser)
    return parser


def _print_report(report: dict[str, Any], folder: Path) -> None:
    shown = {"digit share": "digit_share", "of right": "digit_share_right", "of wrong": "digit_share_wrong"}
    shown["digit area"] = "digit_area"
    entries = report["environments"]
    if all(entry["digit_area"] is None for entry in entries.values()):
        shown = {}  # pictures of something else
    title = (
        f"Share of Grad-CAM on the digit, layer {report['layer']}" if shown else f"Layer {report['layer']}"
    )
    table = Table(title=plain(title), title_justify="left")
    table.add_column("environment", overflow="fold")
    for column in (*shown, "count"):
        table.add_column(column, justify="right")
    for name, entry in entries.items():
        shares = [entry[key] for key in shown.values()]
        cells = ["-" if share is None else f"{share:.1%}" for share in shares]
        table.add_row(plain(name), *cells, f"{entry['count']:,}")
    console = Console()
    console.print(table)
    for what, file in (("report", REPORT_FILE), ("figure", ATTRIBUTIONS_FILE)):
        say(console, f"{what + ':':7s} {folder / file}")
