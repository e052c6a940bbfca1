"""Accuracy without labels: each estimator by hand, and where it should be right and wrong."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm

from hf_ood.evaluation.forecast import (
    agreement_on_the_line,
    average_thresholded_confidence,
    calibrated_confidence,
    difference_of_confidences,
    expected_measures,
    importance_weighted_accuracy,
    importance_weighting,
    importance_weights,
    in_domain_accuracy,
    leave_one_out_mean,
    probabilities,
    temperature,
)

Estimator = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
# Two classes: the probability of class 0 is that of log-odds in the first column.
FOUR = np.array([[math.log(9), 0], [math.log(4), 0], [0, math.log(4)], [0, math.log(9)]])
LABELS = np.array([0, 1, 1, 1])  # the second is wrong


def drawn(rng: np.random.Generator, count: int, spread: float, factor: float = 1.0) -> tuple[np.ndarray, ...]:
    """Logits of three classes with labels drawn from the probabilities of `factor` times the logits."""
    logits = rng.normal(0, spread, (count, 3))
    chances = probabilities(factor * logits)
    return logits, (chances.cumsum(1) < rng.random((count, 1))).sum(1)


def test_what_was_seen_elsewhere() -> None:
    assert in_domain_accuracy(FOUR, LABELS) == 0.75
    assert leave_one_out_mean([0.5, 0.75]) == 0.625
    with pytest.raises(ValueError, match="No environment was left out"):
        leave_one_out_mean([])
    with pytest.raises(ValueError, match="0 rows of logits"):
        in_domain_accuracy(FOUR[:0], LABELS[:0])


def test_the_temperature_has_the_lowest_cross_entropy() -> None:
    logits, labels = drawn(np.random.default_rng(0), 4000, 2.0, factor=0.4)
    found = temperature(logits, labels)
    assert found == pytest.approx(2.5, rel=0.1)

    def loss(divided_by: float) -> float:
        return -np.log(probabilities(logits, divided_by)[np.arange(len(labels)), labels]).mean()

    assert loss(found) <= min(loss(found * factor) for factor in (0.9, 0.99, 1.01, 1.1))
    assert temperature(logits, logits.argmax(1)) == 1  # no temperature is best where all are right


def test_the_confidences_by_hand() -> None:
    """Of the four: 0.9, 0.8, 0.8, 0.9. Of the new site: 0.8 and 0.5."""
    target = np.array([[math.log(4), 0], [1.0, 1.0]])
    assert difference_of_confidences(FOUR, LABELS, target) == pytest.approx(0.75 - (0.85 - 0.65))
    divided_by = temperature(FOUR, LABELS)
    first = 1 / (1 + math.exp(-math.log(4) / divided_by))
    assert calibrated_confidence(FOUR, LABELS, target) == pytest.approx((first + 0.5) / 2)


def test_the_difference_stays_a_share() -> None:
    sure = np.array([[50.0, 0.0]])
    assert difference_of_confidences(np.zeros((2, 2)), np.array([0, 0]), sure) == 1


@pytest.mark.parametrize("score", ["negative_entropy", "confidence"])
def test_the_threshold_by_hand(score: str) -> None:
    """One of four is wrong, so the second lowest score is the threshold: a confidence of 0.8."""
    target = FOUR[[0, 0, 1]] * [[1.0], [1.0], [0.9]]
    assert average_thresholded_confidence(FOUR, LABELS, target, score) == pytest.approx(2 / 3)  # type: ignore[arg-type]
    assert average_thresholded_confidence(FOUR, 1 - FOUR.argmax(1), target) == 0
    assert average_thresholded_confidence(FOUR, FOUR.argmax(1), target) == pytest.approx(2 / 3)


def test_an_unknown_score_is_refused() -> None:
    with pytest.raises(ValueError, match="negative_entropy or confidence"):
        average_thresholded_confidence(FOUR, LABELS, FOUR, "margin")  # type: ignore[arg-type]


@pytest.mark.parametrize("estimator", [calibrated_confidence, difference_of_confidences])
def test_a_harder_site_with_true_probabilities_is_forecast(estimator: Estimator) -> None:
    rng = np.random.default_rng(0)
    logits, labels = drawn(rng, 20_000, 3.0)
    target, truth = drawn(rng, 20_000, 1.5)
    accuracy = in_domain_accuracy(target, truth)
    assert in_domain_accuracy(logits, labels) > accuracy + 0.1
    assert estimator(logits, labels, target) == pytest.approx(accuracy, abs=0.01)


def test_the_threshold_finds_how_many_samples_are_of_the_unsure_kind() -> None:
    """Sure samples are right and unsure ones wrong, and the new site has more of the unsure."""
    rng = np.random.default_rng(0)

    def mixed(sure: int, unsure: int) -> tuple[np.ndarray, np.ndarray]:
        size = np.concatenate([rng.uniform(2, 5, sure), rng.uniform(0, 1, unsure)])
        return np.stack([size, -size], axis=1), np.repeat([0, 1], [sure, unsure])

    (logits, labels), (target, truth) = mixed(800, 200), mixed(300, 700)
    assert average_thresholded_confidence(logits, labels, target) == in_domain_accuracy(target, truth) == 0.3


def test_agreement_of_two_models_by_hand() -> None:
    here = [np.eye(2)[[0, 0, 0, 0, 1]], np.eye(2)[[0, 0, 0, 1, 1]]]  # agree on 0.8
    there = [np.eye(2)[[0, 0, 1, 1]], np.eye(2)[[0, 0, 1, 0]]]  # on 0.75
    labels = np.array([0, 0, 0, 1, 0])  # the first is right on 0.6
    expected = norm.cdf(norm.ppf(0.75) + norm.ppf(0.6) - norm.ppf(0.8))
    assert agreement_on_the_line(here, labels, there) == pytest.approx(expected)
    with pytest.raises(ValueError, match="at least two seeds"):
        agreement_on_the_line(here[:1], labels, there[:1])


def test_agreement_of_several_models_has_a_slope() -> None:
    """Pairs agree on 0.9, 0.8, 0.7 of ten here and 0.8, 0.7, 0.5 there."""
    here = [[0] * 10, [0] * 9 + [1], [1, 1] + [0] * 8]
    there = [[0] * 10, [0] * 8 + [1] * 2, [1, 1, 1] + [0] * 7]
    labels = np.array([0] * 8 + [1] * 2)
    logits, targets = ([np.eye(2)[part] for part in parts] for parts in (here, there))
    slope, bias = np.polyfit(norm.ppf([0.9, 0.8, 0.7]), norm.ppf([0.8, 0.7, 0.5]), 1)
    found = agreement_on_the_line(logits, labels, targets)
    assert found == pytest.approx(norm.cdf(slope * norm.ppf(0.8) + bias))


def test_weights_move_the_accuracy_to_the_new_site() -> None:
    rng = np.random.default_rng(0)
    here, there = rng.normal(0, 1, (4000, 3)), rng.normal([0.8, 0, 0], 1, (3000, 3))
    right = (rng.random(4000) < 1 / (1 + np.exp(here[:, 0]))).astype(float)
    truth = float((1 / (1 + np.exp(there[:, 0]))).mean())
    assert right.mean() > truth + 0.1
    assert importance_weighting(right, here, there) == pytest.approx(truth, abs=0.03)
    weights = importance_weights(here, there)
    correlation = np.corrcoef(np.log(weights), 0.8 * here[:, 0])[0, 1]  # the true log-odds, up to a constant
    assert correlation > 0.9
    assert importance_weighted_accuracy(np.array([1, 0, 1]), np.array([1.0, 2, 1])) == 0.5
    with pytest.raises(ValueError, match="not be negative"):
        importance_weighted_accuracy(np.ones(2), np.zeros(2))


def test_expected_measures_are_the_seen_ones_of_certain_and_right_predictions() -> None:
    certain = np.eye(3)[[0, 0, 1, 1, 2]]
    assert expected_measures(certain) == {"accuracy": 1.0, "macro_f1": 1.0, "worst_group": 1.0}


def test_expected_measures_by_hand() -> None:
    """Predicted 0, 0, 1. Expected right 0.9 + 0.6 and 0.8; actual 1.7 and 1.3."""
    found = expected_measures(np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]))
    assert found["accuracy"] == pytest.approx(2.3 / 3)
    assert found["macro_f1"] == pytest.approx((3.0 / 3.7 + 1.6 / 2.3) / 2)
    assert found["worst_group"] == pytest.approx(0.8 / 1.3)
