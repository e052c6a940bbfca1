"""`hf-ood`: the programs of `trainers/` and `dataset_scripts/` under one name.

Nothing heavy is imported before a command needs it; what a completion has to know is generated.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from . import __version__
from .errors import UsageError, unknown_name

# Command -> what it is for; its `main` and `make_parser` are in the module of its name in `cli/`.
COMMANDS = {
    "train": "train a classifier on several environments",
    "evaluate": "evaluate a classifier in every environment of a dataset",
    "compare": "finished runs side by side: intervals, verdicts, cost, a plot",
    "soup": "average the weights of finished runs: uniform, greedy, DiWA",
    "predict": "predict classes and probabilities for the rows of a table",
    "forecast": "how well a finished run will work where nobody has labels",
    "dossier": "the evidence on a run, sweep or bench in one document, to sign",
    "explain": "where a finished run looks: Grad-CAM by environment",
    "shift": "how, and how far, one split has moved away from another",
    "reproduce": "carry out studies: arms, seeds, intervals, one page",
    "sweep": "methods, held-out environments, hyper-parameters, honest choice",
    "bench": "every method on real shifts, or on your data, against ERM: one page",
    "export": "a finished run as an ONNX file, which runs without PyTorch",
    "publish": "publish a finished run on the Hub",
    "datasets": "built-in data sets: list them, write one as a folder, publish it",
    "methods": "list the methods: what each is, needs, and comes from",
    "recipes": "list recipes, studies and launch files, or print where one is",
}
SHELLS = ("bash", "zsh")  # what shtab gives flags in
GENERATED = Path(__file__).parent / "cli" / "generated"


def main(argv: Sequence[str] | None = None) -> None:
    """`hf-ood COMMAND ...`, as the program of that name; each has its `--help`."""
    command, *rest = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if command == "completion":
        print_completion(rest)
    elif command == "train" and rest in (["-h"], ["--help"]):
        print((GENERATED / "train.txt").read_text(encoding="utf-8"), end="")  # noqa: T201
    elif command in COMMANDS:
        carry_out(command, rest)
    elif command in ("-h", "--help"):
        print(overview())  # noqa: T201
    elif command == "--version":
        print(f"hf-ood {__version__}")  # noqa: T201
    else:
        raise UsageError(unknown_name("command", command, [*COMMANDS, "completion"]))


def carry_out(command: str, flags: Sequence[str]) -> None:
    sys.argv[0] = f"hf-ood {command}"  # programs name themselves by it
    try:
        program = import_module(f"{__package__}.cli.{command}")
    except ModuleNotFoundError as error:
        raise UsageError(f"hf-ood {command} needs {error.name}: pip install 'hf_ood[plot,sweep]'.") from error
    status = program.main(flags)
    raise SystemExit(status if isinstance(status, int) else 0)


def overview() -> str:
    lines = [f"  {name:<12}{purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(
        [
            "usage: hf-ood COMMAND [flags]        hf-ood COMMAND --help tells more; hf-ood --version",
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
    print((GENERATED / f"completion.{shell}").read_text(encoding="utf-8"), end="")  # noqa: T201


if __name__ == "__main__":
    main()
