"""The forecast of a site from trials: environments that were left out in turn, each forecast alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .evidence import Estimates
from .in_domain import leave_one_out_mean
from .over_environments import CONFIDENCE, INTERVALS, LEAST_ENVIRONMENTS, Forecast
from .weighting import RULES, errors_of_rule, weighted

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
    """A measure of the site. `estimate`: by the estimators' `weights`, which the trials gave. `error`: how
    far that was off in each trial, on average, with the weights that the others gave; None for one trial.
    `tried`: every estimator. `forecast`: None where there are too few trials for an interval."""

    estimate: float
    weights: Mapping[str, float]
    error: float | None
    tried: Mapping[str, Tried]
    forecast: Forecast | None


def forecast_site(
    trials: Sequence[Trial],
    found: Estimates,
    rule: str = "average",
    interval: str = "t",
    confidence: float = CONFIDENCE,
) -> dict[str, SiteForecast]:
    """The forecast of each measure of a site from its estimates `found` and from trials of the same.

    Estimators are weighed by how far they were off in the trials: `rule` is one of `weighting.RULES`. How far
    the weighted estimate is off is judged in each trial with the weights that the others give, and those
    errors give the interval, `t` or `conformal` (`over_environments`): it is that of the trials, not of the
    rows. Raises `ValueError` without trials.
    """
    if not trials:
        raise ValueError("A forecast needs trials: environments that were left out in turn.")
    return {
        measure: _of_measure(trials, measure, own, rule, interval, confidence)
        for measure, own in found.items()
    }


def _of_measure(
    trials: Sequence[Trial],
    measure: str,
    found: Mapping[str, float],
    rule: str,
    interval: str,
    confidence: float,
) -> SiteForecast:
    truths = [trial.truths[measure] for trial in trials]
    estimated = {name: [trial.estimates[measure][name] for trial in trials] for name in found}
    here = dict(found)
    if len(trials) > 1:
        here[LEAVE_ONE_OUT] = leave_one_out_mean(truths)
        estimated[LEAVE_ONE_OUT] = [
            leave_one_out_mean([*truths[:place], *truths[place + 1 :]]) for place in range(len(trials))
        ]
    tried = {}
    for name, values in estimated.items():
        off = np.subtract(truths, values)
        tried[name] = Tried(here[name], float(np.abs(off).mean()), float(off.mean()))
    weights = RULES[rule](truths, estimated)
    errors = errors_of_rule(rule, truths, estimated) if len(trials) > 1 else []
    estimate = weighted(weights, here)
    forecast = None
    if len(trials) >= LEAST_ENVIRONMENTS:
        forecast = INTERVALS[interval](estimate, errors, confidence)
    error = float(np.abs(errors).mean()) if errors else None
    return SiteForecast(estimate, weights, error, tried, forecast)
