"""Trials: each training environment as the next site of a run that was made without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...evaluation.forecast.calibration import probabilities
from ...evaluation.forecast.evidence import Evidence, estimates, seen_measures
from ...evaluation.forecast.nearest import Nearest, nearest_environment
from ...evaluation.forecast.shift_of_site import shift_of_site
from ...evaluation.forecast.site import Trial
from ...evaluation.metrics import environment_report
from ...evaluation.results import load_results
from ...json_files import read_object
from ...models.classes import class_names
from ...runs.folder import DATA_FILE
from ...runs.origin import commit_of
from .outputs import Outputs, held_out_and_tested, load_run, outputs_of

LEAST_ROWS = 5  # of an environment whose distance is measured


@dataclass(frozen=True)
class MeasuredTrial:
    """`trial`: what the forecast needs. `measures`: the environment as an evaluation reports it, with
    `right`, `confidence` (the mean), `groups` (class -> right and count) and the `shift` to it
    (`shift_of_site`). `origin`: the run that it is of."""

    trial: Trial
    measures: Mapping[str, Any]
    origin: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self.trial), "measures": dict(self.measures), "run": dict(self.origin)}


def measure_trial(folders: Sequence[Path], environment: str) -> MeasuredTrial:
    """The trial of an environment by the runs of these folders, one a seed, which were made without it and
    held the same samples out."""
    models = [load_run(folder) for folder in folders]
    parts = held_out_and_tested(folders[0], [environment])
    here, there = ([outputs_of(model, parts[split]) for model in models] for split in ("validation", "test"))
    return trial_of(environment, here, there, class_names(models[0].config), origin_of(folders[0]))


def trial_of(
    environment: str,
    here: Sequence[Outputs],
    there: Sequence[Outputs],
    names: Sequence[str],
    origin: Mapping[str, Any],
) -> MeasuredTrial:
    """The trial from what models of several seeds say of held-out samples (`here`) and of the environment's
    rows (`there`). `names`: of the classes; `origin`: of the first model, see `origin_of`."""
    near = nearest(here[0], there[0].features)
    trial = Trial(
        environment,
        len(there[0].labels),
        seen_measures(there[0].logits, there[0].labels),
        estimates(evidence(here, there)),
        near.name,
        near.diversity,
    )
    shift = shift_of_site(here[0].features, here[0].labels, there[0].features, there[0].labels)
    measures = {**measures_of(there[0], environment, names), "shift": shift}
    return MeasuredTrial(trial, measures, origin)


def evidence(here: Sequence[Outputs], there: Sequence[Outputs]) -> Evidence:
    """Of the models of several seeds, on held-out samples and on a site's."""
    return Evidence(
        [own.logits for own in here],
        here[0].labels,
        [own.logits for own in there],
        here[0].features,
        there[0].features,
    )


def nearest(here: Outputs, site: np.ndarray) -> Nearest:
    """The training environment that a site, features [M, D], is nearest to. Raises `ValueError` for fewer
    than five rows of the site, or of every environment."""
    parts = {str(name): here.features[here.environments == name] for name in np.unique(here.environments)}
    enough = {name: part for name, part in parts.items() if len(part) >= LEAST_ROWS}
    if not enough or len(site) < LEAST_ROWS:
        raise ValueError(
            f"A forecast needs {LEAST_ROWS} rows of a site and {LEAST_ROWS} held-out samples of a training "
            f"environment, and there are {len(site)} and at most {max(map(len, parts.values()))}: give more "
            "rows, or train with a larger --validation."
        )
    return nearest_environment(site, enough)


def measures_of(found: Outputs, environment: str, names: Sequence[str]) -> dict[str, Any]:
    """What an evaluation reports of the rows of one environment, the number right, the mean confidence, and
    right and count of each class."""
    here = np.zeros(len(found.labels), np.int64)
    report = environment_report(found.logits, found.labels, here, [environment], names)[environment]
    right = found.logits.argmax(1) == found.labels
    groups = {
        names[label]: {"right": int(right[found.labels == label].sum()), "count": int(count)}
        for label, count in enumerate(np.bincount(found.labels, minlength=len(names)))
        if count
    }
    confidence = float(probabilities(found.logits).max(1).mean())
    return {**report, "right": int(right.sum()), "confidence": confidence, "groups": groups}


def origin_of(folder: Path) -> dict[str, Any]:
    """The run, as a document names it: folder, method, seed, commit, what chose the checkpoint, the data's
    fingerprint."""
    results = load_results(folder)
    data = read_object(folder / DATA_FILE) if (folder / DATA_FILE).is_file() else {}
    return {
        "folder": folder.name,
        "method": results["method"],
        "seed": results["seed"],
        "commit": commit_of(folder),
        "selection": results["selection"],
        "trained_environments": results["trained_environments"],
        "data_fingerprint": data.get("fingerprint", ""),
        "versions": results["versions"],
    }
