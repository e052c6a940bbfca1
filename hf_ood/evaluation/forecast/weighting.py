"""What estimators are used for a new site, from how far each was off in environments that were left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

LEAST_ERROR = 0.01  # estimators that were off by less are not told apart
Estimated = Mapping[str, Sequence[float]]  # estimator -> its estimate in each environment [E]
Weights = dict[str, float]


def best(truths: Sequence[float], estimated: Estimated) -> Weights:
    """All weight on the estimator with the lowest mean absolute error; the first of several alike."""
    errors = {name: float(np.abs(np.subtract(truths, own)).mean()) for name, own in estimated.items()}
    chosen = min(errors, key=lambda name: errors[name])
    return {name: float(name == chosen) for name in estimated}


def average(truths: Sequence[float], estimated: Estimated) -> Weights:
    """Weights by one over the mean squared error, the errors no smaller than one point: as for an average of
    independent forecasts (Bates and Granger 1969)."""
    squared = {
        name: max(float((np.subtract(truths, own) ** 2).mean()), LEAST_ERROR**2)
        for name, own in estimated.items()
    }
    total = sum(1 / value for value in squared.values())
    return {name: 1 / value / total for name, value in squared.items()}


RULES: dict[str, Callable[[Sequence[float], Estimated], Weights]] = {"average": average, "best": best}


def weighted(weights: Weights, estimates: Mapping[str, float]) -> float:
    """The estimate of a site by several estimators."""
    return sum(weight * estimates[name] for name, weight in weights.items())


def errors_of_rule(rule: str, truths: Sequence[float], estimated: Estimated) -> list[float]:
    """Truth minus estimate in each environment [E], with the weights that the others give there: what a rule
    of `RULES` is worth where it could not look. Raises `ValueError` for fewer than two environments."""
    if len(truths) < 2:
        raise ValueError("What a rule is worth is seen in two environments that were left out, or more.")
    errors = []
    for left_out in range(len(truths)):
        others = [place for place in range(len(truths)) if place != left_out]
        weights = RULES[rule](
            [truths[place] for place in others],
            {name: [own[place] for place in others] for name, own in estimated.items()},
        )
        here = {name: own[left_out] for name, own in estimated.items()}
        errors.append(float(truths[left_out] - weighted(weights, here)))
    return errors
