"""`hf-ood publish`: a finished run goes to the Hub."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..hub import push
from .funnel import add_debug, one_message


@one_message
def main(argv: Sequence[str] | None = None) -> None:
    """Publish a finished run. The token is read from HF_TOKEN, or is the one that `hf auth login` saved."""
    arguments = make_parser().parse_args(argv)
    address = push(arguments.run, arguments.repo_id, arguments.private, arguments.revision)
    print(f"Published: {address}")  # noqa: T201


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--run", type=Path, required=True, help="the run's output folder")
    parser.add_argument("--repo_id", required=True, help="user/name of the model on the Hub")
    parser.add_argument("--private", action="store_true", help="a new repository is private")
    parser.add_argument("--revision", help="push to this branch (default: main)")
    add_debug(parser)
    return parser
