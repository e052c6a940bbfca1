"""A finished run, as its folder tells of it: what it was trained on, validated on, and never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.align import spelling
from ..evaluation.metrics import EnvironmentReport, headline, over
from ..evaluation.modules.environment_report.environment_measures import summarize_environments
from ..evaluation.results import RESULTS_FILE, load_results
from .data import validation_share
from .folder import ARGUMENTS_FILE, recorded_spec
from .spec import DataSpec

TRAINED, VALIDATED, HELD_OUT = "trained on", "validated on", "held out"


@dataclass(frozen=True)
class FinishedRun:
    """`options`: of its built-in dataset. `trained`, `validated`: names of environments; held-out samples of
    the trained ones may have chosen the checkpoint, the validated ones did so as a whole. All others were
    held out."""

    data: DataSpec
    options: Mapping[str, Any]
    trained: frozenset[str]
    validated: frozenset[str]

    def role(self, environment: str) -> str:
        known = {*self.trained, *self.validated}
        if environment not in known:
            alike = [name for name in known if spelling(name) == spelling(environment)]
            environment = alike[0] if len(alike) == 1 else environment
        if environment in self.trained:
            return TRAINED
        return VALIDATED if environment in self.validated else HELD_OUT


def read_run(folder: Path) -> FinishedRun:
    """Raises `ValueError` when the folder holds no finished run, or one whose results do not say which
    environments it was trained on."""
    for file in (ARGUMENTS_FILE, RESULTS_FILE):
        if not (folder / file).is_file():
            raise ValueError(f"{folder} holds no finished run: there is no {file} in it.")
    spec = recorded_spec(folder)
    data = spec.data
    results = load_results(folder)
    if not isinstance(results.get("environments"), dict):
        raise ValueError(f"{folder / RESULTS_FILE} is damaged: it has no environments. Train the run again.")
    held_out_samples = {
        name for name, entry in results["environments"].items() if entry["split"] == "validation"
    }
    whole = data.validation is not None and validation_share(data) is None
    stages = [results, *results.get("stages", [])]
    trained = {name for stage in stages for name in stage.get("trained_environments", [])}
    if not trained:  # of an earlier version
        if whole and not data.train_environments:
            raise ValueError(
                f"{folder / RESULTS_FILE} does not say which environments the run was trained on: train it "
                "again, or evaluate it by --model."
            )
        trained = set(data.train_environments or held_out_samples)
    options = spec.options.get(data.dataset, {})
    return FinishedRun(data, options, frozenset(trained), frozenset(held_out_samples - trained))


def by_role(report: EnvironmentReport, run: FinishedRun) -> dict[str, EnvironmentReport]:
    """The report's environments by their role in the run, without roles that none has."""
    groups = {
        role: {name: entry for name, entry in report.items() if run.role(name) == role}
        for role in (TRAINED, VALIDATED, HELD_OUT)
    }
    return {role: group for role, group in groups.items() if group}


def measured(
    report: EnvironmentReport, split: str, finished: FinishedRun | None, min_count: int
) -> dict[str, Any]:
    """The environments with their summary, or, of a run's, with their `role` in it and a summary of each.

    `mean_accuracy` and `worst_accuracy` are then those of the environments that it never saw, if any; where
    samples have several labels it is `mean_macro_f1`, of a regression `mean_rmse`, and so on.
    """
    if finished is None:
        return {
            "environments": {name: {**entry, "split": split} for name, entry in report.items()},
            **_headline_figures(report, headline(report)),
            "summary": summarize_environments(report, min_count),
        }
    groups = by_role(report, finished)
    unseen = groups.get(HELD_OUT, {})
    return {
        "environments": {
            name: {**entry, "split": split, "role": role}
            for role, group in groups.items()
            for name, entry in group.items()
        },
        **_headline_figures(unseen, headline(report)),
        "summary_by_role": {role: summarize_environments(group, min_count) for role, group in groups.items()},
    }


def _headline_figures(report: EnvironmentReport, measure: str) -> dict[str, float | None]:
    """`mean_` and `worst_` of a measure; None without environments."""
    return {f"{of}_{measure}": value for of, value in over(report, measure).items()}


def notes(
    split: str,
    splits: Sequence[str],
    asked: str | None,
    own: FinishedRun | None,
    finished: FinishedRun | None = None,
    environments: Sequence[str] = (),
) -> list[str]:
    """What the table leaves unsaid: which of several splits was measured, that rows were trained on, and
    which environments go by another spelling than in the run.

    `asked`: the split that was named; `own`: the run whose dataset this is, if it is one's; `finished`: the
    run that is evaluated, `environments`: those that it is evaluated in.
    """
    found = []
    if finished is not None:
        known = {*finished.trained, *finished.validated}
        respelled = [name for name in environments if name not in known and finished.role(name) != HELD_OUT]
        if respelled:
            found.append(
                f"environments of the run, though for case or spaces: {', '.join(map(repr, respelled))}"
            )
    if len(splits) > 1 and asked is None:
        found.append(f"measured on the split {split} of {', '.join(splits)}; --split names another")
    if own is not None and split not in ("test", "validation"):
        found.append(
            f"the run divided the split {split} itself: of environments that it was trained on, these are "
            "largely the rows that it was trained on, so their figures are no test"
        )
    return found
