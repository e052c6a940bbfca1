"""`hf-ood train`: one run, from a dataset to a checkpoint with its results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accelerate import PartialState

from ..evaluation.comparison import Comparison, compare
from ..reporting.comparison_pages import report_comparison
from ..runs.folder import ARGUMENTS_FILE, is_finished
from ..runs.results import Results
from ..runs.run import run
from ..runs.several import is_several
from ..runs.spec import RunSpec
from .arguments import parse
from .funnel import one_message
from .parser import make_parser
from .signals import one_sentence


@one_message
def main(argv: Sequence[str] | None = None) -> Results | Comparison:
    """Parse the command line, train, and leave the run in its output folder. Returns the results; of several
    methods or seeds, their comparison."""
    parsed = parse(argv)
    several = is_several(parsed.recipe.settings)
    how = "The same command goes on with the runs that are not finished."
    if not several:
        how = "The same command with --resume_from_checkpoint true goes on from the last checkpoint."
    with one_sentence(how):
        return train_and_compare(*parsed.specs()) if several else run(parsed.spec())


def train_and_compare(specs: Sequence[RunSpec], folder: Path) -> Comparison:
    """Carry out the runs that are not finished, one after the other, and compare all of them."""
    for number, spec in enumerate(specs, 1):
        done = is_finished(spec.folder)
        if PartialState().is_main_process:
            told = ", finished before" * done
            print(f"{number} of {len(specs)}: {spec.folder.name}{told}")  # noqa: T201
        PartialState().wait_for_everyone()
        if not done:
            if not (spec.folder / ARGUMENTS_FILE).exists():
                spec.training.resume_from_checkpoint = None  # nothing of it was begun
            run(spec)
    if PartialState().is_main_process:
        return report_comparison([spec.folder for spec in specs], folder / "comparison")
    return compare([spec.folder for spec in specs])


__all__ = ["main", "make_parser"]
