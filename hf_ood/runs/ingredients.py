"""Finished runs whose weights may be averaged: those of one start, trained and tested on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..evaluation.finished_runs import find_runs
from ..evaluation.metrics import is_regression, mean_measure
from ..json_files import read_object
from ..manifest import refuse_damaged_model
from .folder import ARGUMENTS_FILE, DATA_FILE, is_finished
from .starting_weights import STARTING_WEIGHTS

SOUP = "soup"  # what results say of one


@dataclass(frozen=True)
class Ingredient:
    """A finished run. `data`: which rows it read, as it noted them."""

    folder: Path
    results: Mapping[str, Any]
    data: Mapping[str, Any]

    @property
    def kind(self) -> tuple[str, ...]:
        """What the runs of a soup have in common: starting weights, rows by their roles, environments."""
        environments = self.results["environments"].items()
        tested = sorted(name for name, entry in environments if entry["split"] == "test")
        trained = sorted(self.results["trained_environments"])
        return self.results[STARTING_WEIGHTS], self.data["fingerprint"], repr(trained), repr(tested)

    @property
    def validation(self) -> dict[str, float]:
        """What chooses, over the validation environments, by its name; empty without any."""
        environments = self.results["environments"].items()
        report = {name: entry for name, entry in environments if entry["split"] == "validation"}
        return {name: value for name, value in mean_measure(report).items() if value is not None}

    @property
    def worth(self) -> float:
        """That, the higher the better."""
        (value,) = self.validation.values()
        return -value if is_regression(self.results["environments"]) else value


WHAT = ("starting weights", "rows, or their division", "training environments", "test environments")


def read_ingredient(folder: Path) -> Ingredient:
    """Raises `ValueError` for a run that is not finished, is damaged, is a soup, or does not say from which
    weights it started."""
    if not is_finished(folder):
        raise ValueError(f"{folder} is not finished: its command with --resume_from_checkpoint true goes on.")
    refuse_damaged_model(folder)
    results, lacking = read_object(folder / "results.json"), []
    if SOUP in results:
        raise ValueError(f"{folder} is a soup itself: name the runs that it was made of.")
    lacking = [name for name in (STARTING_WEIGHTS, "trained_environments") if name not in results]
    lacking += [name for name in (ARGUMENTS_FILE, DATA_FILE) if not (folder / name).is_file()]
    if lacking:
        raise ValueError(
            f"{folder} does not say what it started from ({', '.join(lacking)}), as runs of earlier versions "
            "do not: train it again."
        )
    return Ingredient(folder, results, read_object(folder / DATA_FILE))


def read_ingredients(places: Sequence[str | Path]) -> list[Ingredient]:
    """The runs of some places, as `find_runs` finds them, all of one kind.

    Raises `ValueError` for fewer than two, and naming two runs that differ, and in what: weights of different
    starts have no useful mean, and a run that was trained on another's test rows would spoil the test.
    """
    runs, unfinished = find_runs(places)
    if unfinished:
        raise ValueError(f"{unfinished[0]} is not finished: let it end, or leave it out.")
    found = [read_ingredient(run.folder) for run in runs]
    if len(found) < 2:
        raise ValueError("A soup needs at least two runs.")
    first = found[0]
    for other in found[1:]:
        wrong = [
            what for what, ours, theirs in zip(WHAT, first.kind, other.kind, strict=True) if ours != theirs
        ]
        if wrong:
            raise ValueError(
                f"{first.folder} and {other.folder} have not the same {' and '.join(wrong)}: weights are "
                "averaged of runs that differ in hyper-parameters alone. Give them the same --seed, data and "
                "--start_from, as the trials of a sweep have."
            )
    return found


def kinds_in(folder: Path) -> tuple[list[list[Ingredient]], list[str]]:
    """The runs below a folder, such as a sweep's, in groups of one kind, largest first; and in words what is
    left out: runs that are not finished, soups, and those that no other run goes with."""
    runs, unfinished = find_runs([folder])
    left = [f"{path} is not finished" for path in unfinished]
    groups: dict[tuple[str, ...], list[Ingredient]] = {}
    for run in runs:
        try:
            ingredient = read_ingredient(run.folder)
        except ValueError as error:
            left.append(str(error).removesuffix("."))
            continue
        groups.setdefault(ingredient.kind, []).append(ingredient)
    alone = [group[0].folder for group in groups.values() if len(group) == 1]
    left += [f"{path} has its starting weights and rows to itself" for path in alone]
    found = [group for group in groups.values() if len(group) > 1]
    if not found:
        raise ValueError(
            f"{folder} holds no two finished runs of the same starting weights and rows: {'; '.join(left)}."
        )
    return sorted(found, key=len, reverse=True), left
