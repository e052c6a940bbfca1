"""What a model card says of a run's measures, by what the run predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..data.targets import CLASSIFICATION, MULTI_LABEL, REGRESSION
from ..evaluation.measures import HEADLINES
from ..evaluation.metrics import over, task_of_report
from ..evaluation.verdicts import interval
from ..names import markdown
from ..reporting.many_environments import MOST_ROWS, from_worst, shortened
from ..reporting.tables import EVALUATED, MEASURES, shown

FAILURE = 0.1  # a test environment this far below the training environments is named as a failure
Results = Mapping[str, Any]


@dataclass(frozen=True)
class CardKind:
    """`measure`: the one that stands for the run. `metrics`: what the Hub calls its measures, the former
    first. `phrase`: its name in a sentence. `risk`: what is averaged in an environment. `explained`: what a
    reader of the table has to know."""

    task: str
    metrics: list[str]
    phrase: str
    risk: str
    explained: str

    @property
    def measure(self) -> str:
        return HEADLINES[self.task]

    @property
    def is_share(self) -> bool:
        return self.task != REGRESSION


KINDS = {
    CLASSIFICATION: CardKind(
        CLASSIFICATION,
        ["accuracy"],
        "accuracy",
        "cross-entropy",
        "Loss is cross-entropy in nats; a group is a class in an\nenvironment; calibration error is over 15 "
        "bins of confidence.",
    ),
    MULTI_LABEL: CardKind(
        MULTI_LABEL,
        ["f1", "roc_auc"],
        "macro-F1",
        "binary cross-entropy",
        "Macro-F1 and AUROC are\nmeans over the labels that occur in an environment; label accuracy is the "
        "share of all yes-or-no decisions that are\nright, exact match that of samples with all of them "
        "right. A label is predicted where its probability exceeds one half.",
    ),
    REGRESSION: CardKind(
        REGRESSION,
        ["rmse", "mae", "r2"],
        "RMSE",
        "squared error",
        "RMSE and MAE are in the\nunit of what is predicted; R2 is 1 minus the squared errors over those of "
        "the environment's own mean.",
    ),
}


def card_kind(results: Results) -> CardKind:
    return KINDS[task_of_report(results["environments"])]


def table_measures(results: Results) -> tuple[str, ...]:
    """The measures in the table of environments of a run without classes."""
    return EVALUATED[card_kind(results).task]


def headings(results: Results) -> list[str]:
    return [MEASURES[name][0] for name in table_measures(results)]


def cells(results: Results, entry: Mapping[str, Any]) -> list[str]:
    return [shown(entry.get(name), name) for name in table_measures(results)]


def told(results: Results, value: float | None) -> str:
    """A value of the run's measure in a sentence."""
    return shown(value, card_kind(results).measure) or "undefined"


def intervals(runs: Sequence[Results]) -> dict[str, str]:
    """Mean and 95 % interval over seeds of the measure, shares in per cent: by environment, `mean`, `worst`.
    What is not defined for every seed is left out."""
    kind = card_kind(runs[0])
    values = {
        name: [run["environments"][name].get(kind.measure) for run in runs]
        for name in runs[0]["environments"]
    }
    values |= {of: [run.get(f"{of}_{kind.measure}") for run in runs] for of in ("mean", "worst")}
    factor = 100 if kind.is_share else 1
    return {
        name: str(interval([factor * value for value in column]))
        for name, column in values.items()
        if None not in column
    }


def limits(results: Results) -> dict[str, Any]:
    """What the numbers say about failures: the measure on new samples of the training environments (on the
    training samples, where there are no others), the worst test environment and, of shares, the test
    environments more than `FAILURE` below the former."""
    kind, entries = card_kind(results), results["environments"]
    test = {name: entry for name, entry in entries.items() if entry["split"] == "test"}
    in_distribution, known = _in_distribution(results)
    ranked = from_worst(test)
    failures = [
        name
        for name, entry in test.items()
        if kind.is_share
        and in_distribution is not None
        and kind.measure in entry
        and entry[kind.measure] < in_distribution - FAILURE
    ]
    return {
        "in_distribution": in_distribution,
        "seen": "new samples from its training environments" if known else "the samples it was trained on",
        "worst_environment": ranked[0],
        "failures": list(map(markdown, failures))
        if len(failures) <= MOST_ROWS
        else [shortened([markdown(name) for name in ranked if name in failures])],
        "failure_points": round(100 * FAILURE),
    }


def _in_distribution(results: Results) -> tuple[float | None, bool]:
    """The measure in the training environments, and whether it is of new samples."""
    kind = card_kind(results)
    if kind.task == CLASSIFICATION:
        known = "in_domain_accuracy" in results
        return results["in_domain_accuracy"] if known else results["train_accuracy"], known
    trained = results.get("trained_environments", [])
    held_out = {
        name: entry
        for name, entry in results["environments"].items()
        if entry["split"] == "validation" and name in trained
    }
    if held_out:
        return over(held_out, kind.measure)["mean"], True
    return results.get(f"train_{kind.measure}"), False
