"""Intervals over environments, the choice of an estimator, the nearest environment, and few labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t

from hf_ood.evaluation.forecast import (
    average,
    best,
    conformal,
    errors_of_rule,
    is_outside,
    nearest_environment,
    prediction_powered,
    student,
    with_labels,
)

ERRORS = [-0.10, 0.00, 0.02, -0.04]


def test_the_t_interval_by_hand() -> None:
    found = student(0.8, ERRORS)
    spread = np.std(ERRORS, ddof=1) * math.sqrt(1.25)
    assert found.value == pytest.approx(0.77) and found.n == 4 and found.freedom == 3
    assert (found.low, found.high) == pytest.approx(
        (0.77 - t.ppf(0.95, 3) * spread, 0.77 + t.ppf(0.95, 3) * spread)
    )
    assert student(0.99, [0.1, 0.2, 0.1, 0.2]).value == 1


def test_the_conformal_interval_by_hand() -> None:
    assert conformal(0.8, ERRORS, 0.8).low == pytest.approx(0.7)  # the 4th of 4 for 0.8 (4 + 1)
    assert conformal(0.8, ERRORS, 0.6).high == pytest.approx(0.84)  # the 3rd
    whole = conformal(0.8, ERRORS)
    assert (whole.low, whole.high, whole.value) == (0, 1, 0.8)
    assert conformal(0.5, [0.01 * k for k in range(1, 10)]).width == pytest.approx(0.18)  # the 9th of 9


def test_too_few_environments_are_said() -> None:
    for make in (student, conformal):
        with pytest.raises(ValueError, match=r"Too few environments: .* at least 4 .* not 3"):
            make(0.8, ERRORS[:3])


@pytest.mark.parametrize("count", [4, 6, 12])
def test_intervals_cover_a_new_site(count: int) -> None:
    rng = np.random.default_rng(count)
    inside = {make: [] for make in (student, conformal)}  # type: ignore[var-annotated]
    for _ in range(1500):
        errors = rng.normal(0.02, 0.05, count + 1)
        for make, seen in inside.items():
            found = make(0.5, errors[:count], 0.8)
            seen.append(found.low <= 0.5 + errors[count] <= found.high)
    assert np.mean(inside[student]) == pytest.approx(0.8, abs=0.035)
    assert np.mean(inside[conformal]) > 0.775


def test_the_choice_is_the_lowest_error_and_is_judged_where_it_could_not_look() -> None:
    truths = [0.9, 0.8, 0.7, 0.2]
    estimates = {"steady": [0.85, 0.85, 0.65, 0.5], "lucky": [0.9, 0.8, 0.7, 0.9]}
    assert best(truths, estimates) == {"steady": 1, "lucky": 0}  # 0.1125 against 0.175
    # Without the last environment "lucky" is chosen, which is 0.7 off there.
    assert errors_of_rule("best", truths, estimates) == pytest.approx([0.05, -0.05, 0.05, -0.7])
    with pytest.raises(ValueError, match="two environments"):
        errors_of_rule("best", truths[:1], {"steady": [0.85]})


def test_the_average_weighs_by_squared_errors_and_is_judged_likewise() -> None:
    truths = [0.9, 0.8, 0.7]
    estimates = {"near": [0.88, 0.82, 0.68], "far": [0.8, 0.9, 0.8], "exact": truths}
    weights = average(truths, estimates)
    inverse = np.array([0.02**-2, 0.1**-2, 0.01**-2])  # no error is smaller than a point
    assert [*weights.values()] == pytest.approx(inverse / inverse.sum())
    errors = errors_of_rule("average", truths, estimates)
    expected = [(weights["near"] * off + weights["far"] * far) for off, far in ((0.02, 0.1), (-0.02, -0.1))]
    assert errors[:2] == pytest.approx(expected)


def test_the_nearest_environment_and_one_that_is_outside() -> None:
    rng = np.random.default_rng(0)
    sites = {name: rng.normal([x, 0], 1, (400, 2)) for name, x in (("a", 0.0), ("b", 2.0), ("c", 4.0))}
    near = nearest_environment(rng.normal([2.2, 0], 1, (300, 2)), sites)
    assert near.name == "b" and near.diversity < 0.05
    assert near.diversities["a"] == pytest.approx(1 - math.exp(-(2.2**2) / 8), abs=0.07)  # two normals
    known = [
        nearest_environment(part, {other: sites[other] for other in sites if other != name}).diversity
        for name, part in sites.items()
    ]
    assert not is_outside(near.diversity, known)
    far = nearest_environment(rng.normal([20, 0], 1, (300, 2)), sites)
    assert far.name == "c" and far.diversity > 0.9 and is_outside(far.diversity, known)
    with pytest.raises(ValueError, match="no environment"):
        nearest_environment(sites["a"], {})


def site(
    rng: np.random.Generator, labels: int, rows: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Right or wrong of few rows, confidences that are 0.1 too high of them and of many, and the truth."""
    chance = rng.beta(2, 1, labels + rows)
    right = (rng.random(labels) < chance[:labels]).astype(float)
    predicted = np.clip(chance + 0.1, 0, 1)
    return right, predicted[:labels], predicted[labels:], 2 / 3


def test_few_labels_correct_a_prediction_that_is_off() -> None:
    rng = np.random.default_rng(0)
    powered, labelled, inside = [], [], []
    for _ in range(600):
        right, predicted, others, truth = site(rng, 40, 2000)
        found = prediction_powered(right, predicted, others)
        powered.append(found.value - truth)
        labelled.append(right.mean() - truth)
        inside.append(abs(powered[-1]) <= t.ppf(0.95, 39) * found.error)
    assert abs(np.mean(powered)) < 0.01  # predictions alone are 0.09 off
    assert np.std(powered) < 0.95 * np.std(labelled)
    assert 0.87 < np.mean(inside) < 0.96


def test_predictions_that_tell_nothing_leave_the_mean_of_the_labels() -> None:
    found = prediction_powered(np.array([1.0, 1, 1, 1]), np.full(4, 0.9), np.full(10, 0.9))
    assert found.value == 1 and found.tuning == 0
    assert found.error > 0.15  # four right ones are not certainty
    with pytest.raises(ValueError, match="at least two"):
        prediction_powered(np.array([1.0]), np.array([0.5]), np.array([0.5]))


@pytest.mark.parametrize(("environments", "labels"), [(4, 20), (4, 200), (10, 60)])
def test_labels_bring_estimate_and_interval_nearer(environments: int, labels: int) -> None:
    rng = np.random.default_rng(1)
    before, after, narrower, inside = [], [], [], []
    for _ in range(600):
        errors = rng.normal(0, 0.1, environments + 1)
        right, predicted, others, truth = site(rng, labels, 1000)
        forecast = student(truth - errors[-1], errors[:-1])
        better = with_labels(forecast, prediction_powered(right, predicted, others))
        before.append(abs(forecast.value - truth))
        after.append(abs(better.value - truth))
        narrower.append(better.width < forecast.width)
        inside.append(better.low <= truth <= better.high)
    assert np.mean(after) < 0.85 * np.mean(before)
    assert np.mean(narrower) > 0.75
    assert 0.86 < np.mean(inside) < 0.95


def test_two_intervals_combine_by_their_precision() -> None:
    forecast = student(0.5, [-0.1, 0.1, -0.1, 0.1])
    right, predicted = np.array([1.0] * 8 + [0.0] * 2), np.linspace(0.5, 0.9, 10)
    labelled = prediction_powered(right, predicted, predicted)
    found = with_labels(forecast, labelled)
    assert found.freedom == 3 and found.width < forecast.width
    weights = np.array([forecast.error, labelled.error]) ** -2.0
    assert found.value == pytest.approx(weights @ [forecast.value, labelled.value] / weights.sum())
    assert found.error == pytest.approx(1 / math.sqrt(weights.sum()))
    with pytest.raises(ValueError, match="t-interval"):
        with_labels(conformal(0.5, [0.1] * 12), labelled)
