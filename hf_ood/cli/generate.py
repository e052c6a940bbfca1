"""Pages that must answer at once: `python -m hf_ood.cli.generate` writes them, a test compares them."""

from __future__ import annotations

from argparse import ArgumentParser
from importlib import import_module

import shtab

from ..__main__ import COMMANDS, GENERATED, SHELLS
from .help_pages import first_page


def make_parser() -> ArgumentParser:
    """All commands with all their flags in one parser: what a completion has to know."""
    parser = ArgumentParser(prog="hf-ood")
    commands = parser.add_subparsers(dest="command")
    for name, purpose in COMMANDS.items():
        own = import_module(f"{__package__}.{name}").make_parser()
        commands.add_parser(name, parents=[own], help=purpose, add_help=False, conflict_handler="resolve")
    commands.add_parser("completion", help="print the completion of a shell").add_argument(
        "shell", choices=SHELLS
    )
    return parser


def generated() -> dict[str, str]:
    """File -> content."""
    found = {f"completion.{shell}": shtab.complete(make_parser(), shell).rstrip() + "\n" for shell in SHELLS}
    return {**found, "train.txt": first_page()}


def main() -> None:
    GENERATED.mkdir(exist_ok=True)
    for name, content in generated().items():
        (GENERATED / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
