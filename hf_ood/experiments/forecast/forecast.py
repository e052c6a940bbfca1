"""The forecast of a finished run at a new site, from trials and from rows without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...data.align import align
from ...evaluation.forecast import over_environments as over
from ...evaluation.forecast.calibration import probabilities, temperature
from ...evaluation.forecast.evidence import estimates
from ...evaluation.forecast.nearest import is_outside
from ...evaluation.forecast.prediction_powered import prediction_powered, with_labels
from ...evaluation.forecast.site import SiteForecast, forecast_site
from ...models.classes import class_names
from .outputs import Outputs, held_out_and_tested, load_run, outputs_of, outputs_of_rows
from .report import as_json, warnings_of
from .trials import MeasuredTrial, evidence, nearest, origin_of

LEAST_LABELS = 2


@dataclass(frozen=True)
class Site:
    """A new site: its name, its rows and the columns that the network reads; `labels`: the class of each row
    by name, None where it is not known."""

    name: str
    rows: Any
    columns: Sequence[str]
    labels: Sequence[str | None]
    processor: Any
    max_length: int | None = None


def forecast_run(
    folders: Sequence[Path],
    trials: Sequence[MeasuredTrial],
    site: Site | None,
    rule: str = "average",
    interval: str = "t",
    confidence: float = over.CONFIDENCE,
) -> dict[str, Any]:
    """What `forecast.json` holds of a run (`folders`: its own, and those of further seeds) and its trials:
    the trials, warnings and, of a site, the forecast.

    Raises `ValueError` for a site whose rows all have labels, and for labels with a conformal interval.
    """
    report: dict[str, Any] = {
        "run": origin_of(folders[0]),
        "rule": rule,
        "interval": interval,
        "confidence": confidence,
        "trials": [trial.to_dict() for trial in trials],
    }
    if site is None:
        return {**report, "warnings": warnings_of(len(trials), None)}
    models = [load_run(folder) for folder in folders]
    validation = held_out_and_tested(folders[0])["validation"]
    here = [outputs_of(model, validation) for model in models]
    there = [
        outputs_of_rows(model, site.processor, site.rows, site.columns, site.max_length) for model in models
    ]
    near = nearest(here[0], there[0].features)
    own = [trial.trial for trial in trials]
    found = forecast_site(own, estimates(evidence(here, there)), rule, interval, confidence)
    labelled = np.array([label is not None for label in site.labels])
    told = as_json(found)
    if labelled.any():
        names = class_names(models[0].config)
        better = _with_labels(found["accuracy"], here[0], there[0], site, names, confidence)
        told["accuracy"] |= {"forecast": better, "labels": int(labelled.sum())}
    distances = [trial.distance for trial in own]
    about = {
        "name": site.name,
        "rows": len(site.rows),
        "labels": int(labelled.sum()),
        "nearest": near.name,
        "distance": near.diversity,
        "diversities": dict(near.diversities),
        "farthest": max(distances),
        "outside": is_outside(near.diversity, distances),
    }
    return {**report, "site": about, "forecast": told, "warnings": warnings_of(len(trials), about)}


def _with_labels(
    found: SiteForecast,
    here: Outputs,
    there: Outputs,
    site: Site,
    names: Sequence[str],
    confidence: float,
) -> dict[str, Any]:
    """The forecast of the accuracy with what the labelled rows say; of them alone where there are too few
    environments for another (`n` is 0)."""
    known = np.array([label is not None for label in site.labels])
    if known.all():
        raise ValueError(
            f"Every row of {site.name} has a label: hf-ood evaluate measures what is true there. Leave "
            "labels empty where they are not known."
        )
    if known.sum() < LEAST_LABELS:
        raise ValueError(f"{site.name} has one label, which says nothing: label more rows, or none.")
    given = [str(label) for label in site.labels if label is not None]
    kinds = sorted(set(given))
    ids = dict(zip(kinds, align(kinds, names, ours=site.name).ids.tolist(), strict=True))
    right = there.logits[known].argmax(1) == np.array([ids[label] for label in given])
    sure = probabilities(there.logits, temperature(here.logits, here.labels)).max(1)
    labelled = prediction_powered(right.astype(float), sure[known], sure[~known])
    if found.forecast is None:
        return asdict(over.interval(labelled.value, labelled.error, labelled.labels - 1, 0, confidence))
    return asdict(with_labels(found.forecast, labelled, confidence))
