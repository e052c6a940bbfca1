"""`hf-ood`: the programs of `trainers/` and `dataset_scripts/` under one name."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from importlib import import_module

import shtab

from .cli.parser import UsageError
from .data.configurations import unknown_name

# Command -> the module with its `main` and `make_parser`, and what it is for.
COMMANDS = {
    "train": ("hf_ood.cli.train", "train a classifier on several environments"),
    "evaluate": ("hf_ood.cli.evaluate", "evaluate a classifier in every environment of a dataset"),
    "predict": ("hf_ood.cli.predict", "classes and probabilities for every row of a table, as a table"),
    "explain": ("hf_ood.cli.explain", "where a finished run looks: Grad-CAM by environment"),
    "shift": ("hf_ood.cli.measure_shift", "how, and how far, one split has moved away from another"),
    "reproduce": ("hf_ood.studies.reproduce", "carry out studies: arms, seeds, intervals, one page"),
    "sweep": ("hf_ood.sweeps.sweep", "methods, held-out environments, hyper-parameters, honest choice"),
    "publish": ("hf_ood.cli.push", "publish a finished run on the Hub"),
    "datasets": ("hf_ood.cli.build", "write Colored MNIST as a dataset folder, and publish it"),
}
SHELLS = ("bash", "zsh")  # what shtab gives flags in


def main(argv: Sequence[str] | None = None) -> None:
    """`hf-ood COMMAND ...`, as the program of that name; each has its `--help`."""
    command, *rest = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if command == "completion":
        print_completion(rest)
    elif command in COMMANDS:
        sys.argv[0] = f"hf-ood {command}"  # programs name themselves by it
        try:
            program = import_module(COMMANDS[command][0])
        except ModuleNotFoundError as error:
            raise UsageError(
                f"hf-ood {command} needs {error.name}: pip install 'hf_ood[plot,sweep]'."
            ) from error
        status = program.main(rest)
        raise SystemExit(status if isinstance(status, int) else 0)
    elif command in ("-h", "--help"):
        print(overview())  # noqa: T201
    else:
        raise UsageError(unknown_name("command", command, [*COMMANDS, "completion"]))


def overview() -> str:
    lines = [f"  {name:<12}{purpose}" for name, (_, purpose) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: hf-ood COMMAND [flags]        hf-ood COMMAND --help tells more",
            "",
            *lines,
            f"  {'completion':<12}print the completion of a shell: hf-ood completion {'|'.join(SHELLS)}",
            "",
            "On several processes: torchrun --nproc_per_node 2 -m hf_ood train ...",
        ]
    )


def print_completion(arguments: Sequence[str]) -> None:
    parser = ArgumentParser(
        prog="hf-ood completion",
        description='Print a completion script: eval "$(hf-ood completion bash)" in ~/.bashrc.',
    )
    parser.add_argument("shell", choices=SHELLS)
    shell = parser.parse_args(arguments).shell
    print(shtab.complete(make_parser(), shell))  # noqa: T201


def make_parser() -> ArgumentParser:
    """All commands with all their flags in one parser: what a completion has to know."""
    parser = ArgumentParser(prog="hf-ood")
    commands = parser.add_subparsers(dest="command")
    for name, (module, purpose) in COMMANDS.items():
        try:
            own = import_module(module).make_parser()
        except ModuleNotFoundError:
            continue  # of an extra that is not installed
        commands.add_parser(name, parents=[own], help=purpose, add_help=False, conflict_handler="resolve")
    commands.add_parser("completion", help="print the completion of a shell").add_argument(
        "shell", choices=SHELLS
    )
    return parser


if __name__ == "__main__":
    main()
