"""What a dossier says of a run, every number with where it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...evaluation.forecast.over_environments import LEAST_ENVIRONMENTS
from . import known as facts
from .checklist import checklist
from .environments import (
    MEASURES,
    Json,
    Left,
    environment_row,
    failures,
    group_rows,
    summary_of,
    told,
)
from .known import known, unknown
from .numbers import Number, count, decimal, interval, share

RESULTS, FORECAST = "results.json", "forecast.json"
CONFIDENCE = 95


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


def left_out(evidence: Evidence) -> list[Left]:
    """The trials of the first forecast; without one, the run's own test environments."""
    inside = in_domain(evidence.results)
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
                inside,
            )
            for place, trial in enumerate(evidence.forecasts[0]["trials"])
        ]
    own = {"folder": evidence.name, "seed": evidence.results["seed"], "commit": evidence.origin.get("commit")}
    return [
        Left.of(name, entry, f"{RESULTS}/environments/{name}", own, in_domain=inside)
        for name, entry in evidence.results["environments"].items()
        if entry["split"] == "test"
    ]


def content(evidence: Evidence) -> dict[str, Any]:
    """Everything that the page shows. Raises `ValueError` for a forecast of another run, and for a run
    without accuracies."""
    results, data = evidence.results, evidence.data
    if "mean_accuracy" not in results:
        raise ValueError(f"A dossier is of accuracies, and {evidence.name} is a run of another task.")
    for forecast in evidence.forecasts:
        refuse_other_run(evidence, forecast)
    environments = left_out(evidence)
    further = {
        facts.CLASSES: bool(data.get("label_names")),
        facts.IN_TURN: bool(evidence.forecasts),
        facts.FINGERPRINT: bool(data.get("fingerprint")),
        facts.COMMIT: bool(evidence.origin.get("commit")),
    }
    found = known(environments, [name for name, is_known in further.items() if is_known])
    return {
        "name": evidence.name,
        "use": evidence.use,
        "classes": data.get("label_names", []),
        "by": results["method"],
        "data": results["dataset"],
        "trained_on": results["trained_environments"],
        "in_turn": bool(evidence.forecasts),
        "in_domain": in_domain(results),
        "sources": sources(evidence),
        "forecasts": [
            forecast_rows(forecast, place)
            for place, forecast in enumerate(evidence.forecasts)
            if "site" in forecast
        ],
        "warnings": warnings(evidence, environments),
        **of_environments(environments, found),
    }


def of_environments(environments: Sequence[Left], found: set[str]) -> dict[str, Any]:
    """What every dossier shows of environments that were left out, of which so much is `known`."""
    summary = summary_of(environments)
    return {
        "left_out": environments,
        "summary": summary and told(summary),
        "environments": [environment_row(one) for one in environments],
        "groups": [row for one in environments for row in group_rows(one)],
        "shifted": [one for one in environments if one.distance is not None],
        "has": {name for name in MEASURES if any(name in one.measures for one in environments)}
        | {name for name in ("auroc", "confidence") if any(name in one.measures for one in environments)},
        "failures": failures(environments),
        "known": found,
        "unknown": unknown(found),
        "checklist": checklist(found),
        "confidence": CONFIDENCE,
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


def sources(evidence: Evidence) -> dict[str, str]:
    """Where all numbers are from, by what is told."""
    results, commit = evidence.results, evidence.origin.get("commit") or "unknown"
    return {
        "run": f"{evidence.name}, seed {results['seed']}, commit {commit}",
        "checkpoint": results["selection"],
        "data fingerprint": evidence.data.get("fingerprint") or "unknown",
        "versions": ", ".join(f"{package} {version}" for package, version in results["versions"].items()),
        "command": results["command"],
    }


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
    if not any("Too few environments" in one for one in found):
        found += too_few(environments)
    if "oracle" in str(evidence.results["selection"]):
        found.append("The checkpoint was chosen on test environments: the figures of these are too high.")
    return list(dict.fromkeys(found))


def too_few(environments: Sequence[Left]) -> list[str]:
    """The warning of so few environments that they say little, if they are."""
    if len(environments) >= LEAST_ENVIRONMENTS:
        return []
    return [f"Too few environments: {len(environments)} were left out, which says little about the next one."]
