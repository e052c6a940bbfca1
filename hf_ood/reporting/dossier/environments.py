"""Environments that a model was not trained on, as rows of a dossier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...evaluation.meta_analysis import MetaAnalysis, meta_analysis
from ...evaluation.small_samples import wilson
from .numbers import Number, count, decimal, interval, is_few, points, share

FAILURE = 0.1  # an environment this far below samples of the training environments is a known failure
MOST_FAILURES = 10
MEASURES = {"macro_f1": "macro-F1", "worst_group": "worst group", "ece": "calibration error"}
OPTIONAL = ("macro_f1", "auroc", "worst_group", "ece", "confidence")  # measures that not all results have
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Left:
    """An environment that a model was not trained on: its accuracy as `right` of `count`; `measures` and
    where they are (`path`). `counted`: where the number of samples is, if not there. `in_domain`: what the
    model reaches on new samples of its training environments, None where that is not known."""

    name: str
    right: int
    count: int
    measures: Json
    path: str
    run: Json
    nearest: str | None = None
    distance: float | None = None
    in_domain: Number | None = None
    counted: str | None = None

    @classmethod
    def of(cls, name: str, entry: Json, path: str, run: Json, **known: Any) -> Left:
        """From an entry of results, which has accuracy and count."""
        return cls(name, round(entry["accuracy"] * entry["count"]), entry["count"], entry, path, run, **known)

    @property
    def accuracy(self) -> Number:
        return share(self.measures["accuracy"], f"{self.path}/accuracy")

    @property
    def wilson(self) -> tuple[float, float]:
        return wilson(self.right, self.count)


def summary_of(environments: Sequence[Left]) -> MetaAnalysis | None:
    """The random-effects summary of their accuracies; None for fewer than two."""
    if len(environments) < 2:
        return None
    return meta_analysis([one.right for one in environments], [one.count for one in environments])


def told(summary: MetaAnalysis) -> dict[str, Any]:
    """The random-effects summary as numbers."""
    source = f"random effects over {summary.k} environments"
    return {
        "k": count(summary.k, source),
        "mean": share(summary.mean, source),
        "interval": interval(summary.interval, f"{source}, Knapp-Hartung"),
        "prediction": interval(summary.prediction, f"{source}, prediction"),
        "tau_squared": decimal(summary.tau_squared, f"{source}, logit scale, REML"),
        "i_squared": Number(summary.i_squared, f"{summary.i_squared:.0f} %", source),
    }


def environment_row(one: Left) -> dict[str, Any]:
    """A row of the table of environments: what is not defined is None."""
    source, confidence = one.path, one.measures.get("confidence")
    gap = None if confidence is None else confidence - one.measures["accuracy"]
    return {
        "name": one.name,
        "count": count(one.count, one.counted or f"{source}/count"),
        "few": is_few(one.count),
        "accuracy": one.accuracy,
        "interval": interval(one.wilson, f"Wilson, {one.name}"),
        **{name: optional(one, name) for name in OPTIONAL},
        "worst_label": one.measures.get("worst_group_label"),
        "overconfident": None if gap is None else points(gap, f"confidence minus accuracy, {one.name}"),
        "nearest": one.nearest,
        "distance": None
        if one.distance is None
        else decimal(one.distance, source.replace("measures", "distance")),
        "shift": {
            kind: [decimal(found[read], f"{source}/shift/{kind}/{read}") for read in ("value", "null")]
            for kind, found in (one.measures.get("shift") or {}).items()
        },
        "run": one.run,
    }


def optional(one: Left, name: str) -> Number | None:
    value = one.measures.get(name)
    return None if value is None else share(value, f"{one.path}/{name}")


def group_rows(one: Left) -> list[dict[str, Any]]:
    """A row for each class of an environment, where the classes were counted."""
    return [
        {
            "environment": one.name,
            "label": label,
            "count": count(group["count"], f"{one.path}/groups/{label}/count"),
            "few": is_few(group["count"]),
            "accuracy": share(group["right"] / group["count"], f"{one.path}/groups/{label}: right / count"),
            "interval": interval(
                wilson(group["right"], group["count"]), f"Wilson, {one.name}, class {label}"
            ),
        }
        for label, group in one.measures.get("groups", {}).items()
    ]


def failures(environments: Sequence[Left]) -> list[dict[str, Any]]:
    """Environments far below new samples of the training environments, the worst first."""
    worst = sorted(environments, key=lambda one: one.measures["accuracy"])
    return [
        {
            "name": one.name,
            "accuracy": one.accuracy,
            "below": points(
                one.measures["accuracy"] - one.in_domain.value, f"{one.path}/accuracy minus in-domain"
            ),
            "worst_label": one.measures.get("worst_group_label"),
            "worst_group": optional(one, "worst_group"),
        }
        for one in worst[:MOST_FAILURES]
        if one.in_domain is not None and one.measures["accuracy"] < one.in_domain.value - FAILURE
    ]
