"""`hf-ood recipes`: the recipes, studies and launch files that come with the package, and where they are."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..errors import UsageError, unknown_name
from ..resources import LAUNCH, RECIPES, description
from .funnel import add_debug, one_message


@one_message
def main(argv: Sequence[str] | None = None) -> None:
    """List them, or print the path of one."""
    name = make_parser().parse_args(argv).name
    if name is not None:
        print(find(name))  # noqa: T201
        return
    console = Console()
    kinds = {
        "recipes: hf-ood train --config NAME": [file for file in _recipes() if not is_study(file)],
        "studies: hf-ood reproduce --study NAME": [file for file in _recipes() if is_study(file)],
        'launch files: accelerate launch --config_file "$(hf-ood recipes NAME)"': sorted(LAUNCH.iterdir()),
    }
    for title, files in kinds.items():
        table = Table(title=title, title_justify="left", show_header=False)
        for file in files:
            table.add_row(file.stem, description(file))
        console.print(table)


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="List the recipes, studies and launch files of this installation, or print where one is."
    )
    parser.add_argument("name", nargs="?", help="of a recipe, a study or a launch file: print its path")
    add_debug(parser)
    return parser


def find(name: str) -> Path:
    files = {file.stem: file for file in [*LAUNCH.iterdir(), *_recipes()]}
    if name not in files:
        raise UsageError(unknown_name("recipe", name, sorted(files)))
    return files[name]


def is_study(file: Path) -> bool:
    """Studies have arms."""
    return "\narms:" in file.read_text(encoding="utf-8")


def _recipes() -> list[Path]:
    return sorted(RECIPES.glob("*.yaml"))
