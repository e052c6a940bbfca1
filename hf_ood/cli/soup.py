"""`hf-ood soup`: the average of finished runs' weights, as a run of its own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from ..runs.ingredients import kinds_in
from ..runs.published_command import command_line
from ..runs.results import Results
from ..runs.soup import PROTOCOLS, SoupSpec, default_folder, soup
from .funnel import add_debug, one_message

DESCRIPTION = """\
Average the weights of finished runs, measure the average, and leave it as a run's folder.

  %(prog)s runs/erm-a runs/erm-b runs/erm-c            uniform: all of them
  %(prog)s 'runs/erm-*' --protocol greedy              those that raise the validation figure
  %(prog)s --sweep runs/sweeps                         DiWA: all runs of a sweep from one initialisation

The runs must have started from the same weights and read the same rows: they differ in hyper-parameters
(--learning_rate, --weight_decay, --method), and share --seed, data and --start_from. Runs of other starts are
refused: the mean of their weights is no useful network. A head that one run has trained on frozen features is
the start that the paper of DiWA recommends: --start_from RUN.

  uniform    the mean of all runs; chooses nothing, needs no validation samples
  greedy     from the best validation figure down, a run is added where the soup's own does not fall

Of runs with --method erm+ema it is their moving averages that are averaged, of erm+swad their valleys; runs
with the lora flags count with their adapters merged. Statistics of batch normalisation are measured again on
training rows. What the soup costs in results.json (steps, seconds) is what all its runs cost together. It
predicts at the cost of one network. A test environment takes no part in any choice."""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="a run's folder, a folder with runs in it, or a pattern in quotes",
    )
    parser.add_argument(
        "--sweep",
        type=Path,
        metavar="DIR",
        help="instead: the folder of a sweep's runs (its --runs_dir); a soup for each set of runs that share "
        "starting weights and rows, so for each held-out environment and seed",
    )
    for field in fields(SoupSpec):
        parser.add_argument(
            f"--{field.name}",
            type=type(field.default),
            default=field.default,
            help=f"{field.metadata['help']} Default: {field.default}.",
            **({"choices": PROTOCOLS} if field.name == "protocol" else {"metavar": "N"}),
        )
    parser.add_argument(
        "--output_dir",
        type=Path,
        help="the soup's folder, of --sweep the folder of its soups; default: "
        "runs/<configuration>-<protocol>-soup-...",
    )
    parser.add_argument("--quiet", action="store_true", help="show nothing but errors")
    add_debug(parser)
    return parser


@one_message
def main(argv: Sequence[str] | None = None) -> list[Results]:
    """Parse the command line and make the soups. Returns the results of each."""
    arguments = make_parser().parse_args(argv)
    if bool(arguments.runs) == (arguments.sweep is not None):
        raise ValueError("Name either the runs, or the folder of a sweep's runs as --sweep.")
    asked = SoupSpec(**{field.name: getattr(arguments, field.name) for field in fields(SoupSpec)})
    command = command_line("trainers/soup.py", list(argv or []))
    if arguments.sweep is None:
        return [soup(arguments.runs, asked, arguments.output_dir, command=command, quiet=arguments.quiet)]
    groups, left = kinds_in(arguments.sweep)
    for reason in left:
        if not arguments.quiet:
            print(f"left out: {reason}")  # noqa: T201
    made = []
    for group in groups:
        folder = Path(default_folder(group, asked))
        if arguments.output_dir is not None:
            folder = arguments.output_dir / folder.name
        made.append(soup(group, asked, folder, diwa=True, command=command, quiet=arguments.quiet))
    return made
