"""The forecast of a site from trials: environments that were left out in turn, each forecast alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .evidence import Estimates
from .in_domain import leave_one_out_mean
from .over_environments import (
    CONFIDENCE,
    INTERVALS,
    LEAST_ENVIRONMENTS,
    Forecast,
    best_estimator,
    errors_of_choice,
)

LEAVE_ONE_OUT = "leave_one_out"


@dataclass(frozen=True)
class Trial:
    """An environment that a model was not trained on: its measures as they are (`truths`) and as each
    estimator has them (`estimates`); the `nearest` of those trained on and the `distance` to it."""

    environment: str
    count: int
    truths: Mapping[str, float]
    estimates: Estimates
    nearest: str
    distance: float


@dataclass(frozen=True)
class Tried:
    """An estimator: its `estimate` of the site, how far it was off in the trials on average (`error`, of the
    sizes, and `bias`, truth minus estimate)."""

    estimate: float
    error: float
    bias: float


@dataclass(frozen=True)
class SiteForecast:
    """A measure of the site. `chosen`: the estimator that was off least in the trials; `tried`: all of them.
    `forecast`: None where there are too few trials for an interval."""

    chosen: str
    tried: Mapping[str, Tried]
    forecast: Forecast | None

    @property
    def estimate(self) -> float:
        return self.tried[self.chosen].estimate


def forecast_site(
    trials: Sequence[Trial], found: Estimates, interval: str = "t", confidence: float = CONFIDENCE
) -> dict[str, SiteForecast]:
    """The forecast of each measure of a site from its estimates `found` and from trials of the same.

    The estimator that was off least in the trials is used. How far that choice is off is judged in each
    trial by the choice that the others make, and those errors give the interval, `t` or `conformal`
    (`over_environments`): it is that of the trials, not of the rows. Raises `ValueError` without trials.
    """
    if not trials:
        raise ValueError("A forecast needs trials: environments that were left out in turn.")
    return {measure: _of_measure(trials, measure, found[measure], interval, confidence) for measure in found}


def _of_measure(
    trials: Sequence[Trial], measure: str, found: Mapping[str, float], interval: str, confidence: float
) -> SiteForecast:
    truths = [trial.truths[measure] for trial in trials]
    by_estimator = {name: [trial.estimates[measure][name] for trial in trials] for name in found}
    here = dict(found)
    if len(trials) > 1:
        here[LEAVE_ONE_OUT] = leave_one_out_mean(truths)
        by_estimator[LEAVE_ONE_OUT] = [
            leave_one_out_mean([*truths[:place], *truths[place + 1 :]]) for place in range(len(trials))
        ]
    tried = {}
    for name, values in by_estimator.items():
        errors = np.subtract(truths, values)
        tried[name] = Tried(here[name], float(np.abs(errors).mean()), float(errors.mean()))
    chosen = best_estimator(truths, by_estimator)
    forecast = None
    if len(trials) >= LEAST_ENVIRONMENTS:
        forecast = INTERVALS[interval](here[chosen], errors_of_choice(truths, by_estimator), confidence)
    return SiteForecast(chosen, tried, forecast)
