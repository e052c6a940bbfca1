"""What a dossier says of a run, every number with where it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...evaluation.forecast.over_environments import LEAST_ENVIRONMENTS
from ...evaluation.meta_analysis import MetaAnalysis, meta_analysis
from ...evaluation.small_samples import wilson
from .checklist import CHECKLIST
from .numbers import Number, count, decimal, interval, is_few, points, share

RESULTS, FORECAST = "results.json", "forecast.json"
FAILURE = 0.1  # an environment this far below samples of the training environments is a known failure
MOST_FAILURES = 10
MEASURES = {"macro_f1": "macro-F1", "worst_group": "worst group", "ece": "calibration error"}
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Evidence:
    """What a run and its forecasts left: `name` of the run's folder, `results` (`results.json`), `data`
    (`data.json`), `origin` (`origin.json`), `forecasts` (`forecast.json` each, the first with the trials).
    `use`: what the model is for, in its maker's words. `pictures`: name -> PNG."""

    name: str
    results: Json
    data: Json
    origin: Json
    forecasts: Sequence[Json] = ()
    use: str | None = None
    pictures: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Left:
    """An environment that a model was not trained on: its accuracy as `right` of `count`; `measures` and
    where they are (`path`)."""

    name: str
    right: int
    count: int
    measures: Json
    path: str
    run: Json
    nearest: str | None = None
    distance: float | None = None

    @property
    def accuracy(self) -> Number:
        return share(self.measures["accuracy"], f"{self.path}/accuracy")

    @property
    def wilson(self) -> tuple[float, float]:
        return wilson(self.right, self.count)


def left_out(evidence: Evidence) -> list[Left]:
    """The trials of the first forecast; without one, the run's own test environments."""
    if evidence.forecasts:
        return [
            Left(
                trial["environment"],
                trial["measures"]["right"],
                trial["count"],
                trial["measures"],
                f"{FORECAST}/trials/{place}/measures",
                trial["run"],
                trial["nearest"],
                trial["distance"],
            )
            for place, trial in enumerate(evidence.forecasts[0]["trials"])
        ]
    own = {"folder": evidence.name, "seed": evidence.results["seed"], "commit": evidence.origin.get("commit")}
    return [
        Left(
            name,
            round(entry["accuracy"] * entry["count"]),
            entry["count"],
            entry,
            f"{RESULTS}/environments/{name}",
            own,
        )
        for name, entry in evidence.results["environments"].items()
        if entry["split"] == "test"
    ]


def summary_of(environments: Sequence[Left]) -> MetaAnalysis | None:
    """The random-effects summary of their accuracies; None for fewer than two."""
    if len(environments) < 2:
        return None
    return meta_analysis([one.right for one in environments], [one.count for one in environments])


def content(evidence: Evidence) -> dict[str, Any]:
    """Everything that the page shows. Raises `ValueError` for a forecast of another run, and for a run
    without accuracies."""
    results = evidence.results
    if "mean_accuracy" not in results:
        raise ValueError(f"A dossier is of accuracies, and {evidence.name} is a run of another task.")
    for forecast in evidence.forecasts:
        refuse_other_run(evidence, forecast)
    environments = left_out(evidence)
    summary = summary_of(environments)
    return {
        "name": evidence.name,
        "use": evidence.use,
        "results": results,
        "data": evidence.data,
        "origin": evidence.origin,
        "in_turn": bool(evidence.forecasts),
        "in_domain": in_domain(results),
        "summary": summary and told(summary),
        "environments": [environment_row(one) for one in environments],
        "binary": len(evidence.data.get("label_names", [])) == 2,
        "groups": [row for one in environments for row in group_rows(one)],
        "shifted": [one for one in environments if one.distance is not None],
        "forecasts": [
            forecast_rows(forecast, place)
            for place, forecast in enumerate(evidence.forecasts)
            if "site" in forecast
        ],
        "warnings": warnings(evidence, environments),
        "failures": failures(results, environments),
        "checklist": CHECKLIST,
        "confidence": 95,
    }


def refuse_other_run(evidence: Evidence, forecast: Json) -> None:
    """Raise `ValueError` for a forecast that is not of this run."""
    ours = (evidence.results["method"], evidence.results["seed"], evidence.data.get("fingerprint", ""))
    theirs = tuple(forecast["run"][name] for name in ("method", "seed", "data_fingerprint"))
    if ours != theirs:
        raise ValueError(
            f"The forecast is of another run than {evidence.name} (method, seed or data differ): make one "
            f"with hf-ood forecast --run {evidence.name}."
        )


def in_domain(results: Json) -> Number | None:
    if "in_domain_accuracy" not in results:
        return None
    return share(results["in_domain_accuracy"], f"{RESULTS}/in_domain_accuracy")


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
        "count": count(one.count, f"{source}/count"),
        "few": is_few(one.count),
        "accuracy": one.accuracy,
        "interval": interval(one.wilson, f"Wilson, {one.name}"),
        "auroc": _optional(one, "auroc"),
        **{name: _optional(one, name) for name in MEASURES},
        "worst_label": one.measures.get("worst_group_label"),
        "confidence": _optional(one, "confidence"),
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


def _optional(one: Left, name: str) -> Number | None:
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


def forecast_rows(forecast: Json, place: int) -> dict[str, Any]:
    """A site's forecast: a row for each measure."""
    file, rows = f"forecast {place + 1}", []
    for measure, found in forecast["forecast"].items():
        path = f"{file}: forecast/{measure}"
        inner, off = found["forecast"], found["error"]
        rows.append(
            {
                "measure": MEASURES.get(measure, measure),
                "value": share(inner["value"] if inner else found["estimate"], f"{path}/forecast/value"),
                "interval": inner and interval((inner["low"], inner["high"]), f"{path}/forecast"),
                "off": off and Number(off, f"{100 * off:.1f}", f"{path}/error"),
            }
        )
    site = forecast["site"]
    return {
        "site": site,
        "rows": rows,
        "trials": len(forecast["trials"]),
        "confidence": forecast["confidence"],
        "kind": forecast["interval"],
        "distance": decimal(site["distance"], f"{file}: site/distance"),
        "count": count(site["rows"], f"{file}: site/rows"),
        "labels": count(site["labels"], f"{file}: site/labels"),
    }


def warnings(evidence: Evidence, environments: Sequence[Left]) -> list[str]:
    """What has to be read before the numbers."""
    found = [warning for forecast in evidence.forecasts for warning in forecast["warnings"]]
    if not evidence.forecasts:
        found.append(
            "No environment was left out in turn: the environments below are those that this run itself "
            "tested on. hf-ood forecast --run makes the others."
        )
    if len(environments) < LEAST_ENVIRONMENTS and not any("Too few environments" in one for one in found):
        found.append(
            f"Too few environments: {len(environments)} were left out, which says little about the next one."
        )
    chosen_by_test = "oracle" in str(evidence.results["selection"])
    if chosen_by_test:
        found.append("The checkpoint was chosen on test environments: the figures of these are too high.")
    return list(dict.fromkeys(found))


def failures(results: Json, environments: Sequence[Left]) -> list[dict[str, Any]]:
    """Environments far below new samples of the training environments, the worst first."""
    known = in_domain(results)
    if known is None:
        return []
    worst = sorted(environments, key=lambda one: one.measures["accuracy"])
    return [
        {
            "name": one.name,
            "accuracy": one.accuracy,
            "below": points(one.measures["accuracy"] - known.value, f"{one.path}/accuracy minus in-domain"),
            "worst_label": one.measures.get("worst_group_label"),
            "worst_group": _optional(one, "worst_group"),
        }
        for one in worst[:MOST_FAILURES]
        if one.measures["accuracy"] < known.value - FAILURE
    ]
