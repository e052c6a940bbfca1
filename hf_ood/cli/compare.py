"""`trainers/compare.py`: finished runs side by side, and whether they decide anything."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from ..evaluation.comparison import Comparison
from ..evaluation.verdicts import MARGIN
from ..reporting.comparison_pages import DEFAULT_ROOT, report_comparison
from .funnel import add_debug, one_message

DESCRIPTION = """\
Compare finished runs: a row for each method, its seeds together; a column for each held-out environment.

  %(prog)s runs/erm runs/irm                        two runs
  %(prog)s 'runs/scans-erm-*' 'runs/scans-irm-*'    several seeds of each, by pattern
  %(prog)s runs/colours --first erm                 all runs in a folder, against the row erm

Runs with the same settings and different seeds make one row, which is called by what tells it from the
others: its method, or method and settings (irm, learning_rate 0.001). Rows are compared with the first one,
seed by seed:

  better, worse    the 95 %% interval of the paired differences lies above, below zero
  no difference    it contains zero and lies within --margin
  inconclusive     anything else: the seeds cannot tell

One seed decides nothing. A mark (†) says that a difference is shown by itself, but not among all those of the
table together (Holm's correction). Runs that were tested on different data are refused."""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a run's folder, a folder with runs in it, or a pattern in quotes",
    )
    parser.add_argument("--first", metavar="ROW", help="the row to compare with; default: the first run's")
    parser.add_argument(
        "--measure",
        help="accuracy (default; of several labels macro_f1, of a regression rmse), loss, ece, ...: of each "
        "environment in results.json",
    )
    parser.add_argument(
        "--margin",
        type=_size,
        help="how small a difference does not matter, in points (of losses and errors: in their unit); "
        f"default: {MARGIN:g} point, none for losses and errors",
    )
    parser.add_argument(
        "--output_dir", type=Path, help=f"where pages, plot and tables go; default: {DEFAULT_ROOT}/<name>"
    )
    add_debug(parser)
    return parser


def _size(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    if math.isinf(number):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number: nothing would ever differ")
    return number


@one_message
def main(argv: Sequence[str] | None = None) -> Comparison:
    """Parse the command line, compare, show, and write the pages. Returns the comparison."""
    return report_comparison(**vars(make_parser().parse_args(argv)))
