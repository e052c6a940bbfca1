"""Macro-F1, calibration and confusion of each environment against straightforward loops."""

from __future__ import annotations

import numpy as np
import pytest

from hf_ood.evaluation import confusion_matrices, environment_report, summarize_environments
from hf_ood.evaluation.metrics import log_softmax
from hf_ood.evaluation.modules.environment_report.environment_measures import (
    calibration_bins,
    environment_measures,
    macro_f1,
)

NAMES = ["a", "nobody", "b", "c"]


@pytest.fixture(scope="module")
def samples() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    environments = rng.choice([0, 2, 3], 400, p=[0.6, 0.35, 0.05])
    labels = rng.integers(0, 4, 400)
    labels[environments == 3] = 1  # an environment without most classes
    logits = rng.normal(size=(400, 5)) + 1.5 * np.eye(5)[labels]
    return {"logits": logits, "labels": labels, "environments": environments}


def straightforward_f1(predictions: np.ndarray, labels: np.ndarray) -> float:
    scores = []
    for label in sorted({*predictions.tolist(), *labels.tolist()}):
        hits = ((predictions == label) & (labels == label)).sum()
        precision = hits / max((predictions == label).sum(), 1)
        recall = hits / max((labels == label).sum(), 1)
        scores.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    return float(np.mean(scores))


def straightforward_ece(probabilities: np.ndarray, labels: np.ndarray) -> float:
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == labels
    error = 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return error


def test_every_measure_is_the_straightforward_one(samples: dict[str, np.ndarray]) -> None:
    report = environment_report(**samples, names=NAMES)
    assert list(report) == ["a", "b", "c"]
    probabilities = np.exp(log_softmax(samples["logits"]))
    np.testing.assert_allclose(probabilities.sum(1), 1)
    for name, entry in report.items():
        rows = samples["environments"] == NAMES.index(name)
        assert sum(entry.pop("predicted_share")) == pytest.approx(1)
        for elsewhere in ("auroc", "balanced_accuracy", "worst_group", "worst_group_label"):
            entry.pop(elsewhere, None)  # test_auroc.py
        labels, predictions = samples["labels"][rows], samples["logits"][rows].argmax(1)
        assert entry == pytest.approx(
            {
                "accuracy": (predictions == labels).mean(),
                "macro_f1": straightforward_f1(predictions, labels),
                "loss": -np.log(probabilities[rows, samples["labels"][rows]]).mean(),
                "ece": straightforward_ece(probabilities[rows], labels),
                "count": rows.sum(),
            }
        )


def test_a_calibrated_model_has_no_calibration_error_and_a_sure_wrong_one_has_all() -> None:
    zeros = np.zeros(4, dtype=np.int64)
    count, right, confident = calibration_bins(np.full(4, 0.75), np.array([1, 1, 1, 0]), zeros, 1)
    assert (count[0, 11], right[0, 11], confident[0, 11]) == (4, 3, 3)  # 0.75 lies in (11/15, 12/15]
    surely_wrong = environment_measures(zeros, zeros + 1, zeros, 1, np.log([[1 - 1e-9, 1e-9]] * 4))
    assert surely_wrong["ece"] == pytest.approx(1)


def test_confidences_on_the_edges_of_bins_have_a_place() -> None:
    edges, zeros = np.arange(16) / 15, np.zeros(16, dtype=np.int64)
    count, _, _ = calibration_bins(edges, np.ones(16), zeros, 1)
    assert count.sum() == 16
    assert count[0, 0] >= 1 and count[0, 14] >= 1


def test_f1_of_many_classes_in_many_environments_stays_small() -> None:
    """A table of all environments and classes would take 80 GB here."""
    ids = np.array([0, 99_999, 99_999])
    scores = macro_f1(np.array([0, 1, 99_999]), np.array([0, 1, 5]), ids, 100_000)
    assert scores[0] == 1 and scores[-1] == pytest.approx(1 / 3)
    assert np.isnan(scores[1:-1]).all()


def test_summary_knows_which_measures_are_better_when_low() -> None:
    report = {
        "a": {"accuracy": 0.9, "macro_f1": 0.8, "loss": 0.2, "ece": 0.1, "count": 100},
        "b": {"accuracy": 0.5, "macro_f1": 0.4, "loss": 1.2, "ece": 0.3, "count": 29},
    }
    summary = summarize_environments(report)
    assert summary["mean"] == pytest.approx({"accuracy": 0.7, "macro_f1": 0.6, "loss": 0.7, "ece": 0.2})
    assert summary["worst"] == {"accuracy": 0.5, "macro_f1": 0.4, "loss": 1.2, "ece": 0.3}
    assert summary["gap"] == pytest.approx({"accuracy": 0.4, "macro_f1": 0.4, "loss": 1.0, "ece": 0.2})
    assert (summary["count"], summary["small_environments"]) == (129, ["b"])
    assert summarize_environments(report, min_count=101)["small_environments"] == ["a", "b"]
    with pytest.raises(ValueError, match="no sample"):
        summarize_environments({})


def test_confusion_counts_every_sample_once(samples: dict[str, np.ndarray]) -> None:
    predictions = samples["logits"].argmax(1)
    matrices = confusion_matrices(predictions, samples["labels"], samples["environments"], 4, 5)
    assert matrices.shape == (4, 5, 5) and matrices.sum() == 400 and not matrices[1].any()
    rows = samples["environments"] == 2
    expected = ((samples["labels"][rows] == 3) & (predictions[rows] == 0)).sum()
    assert matrices[2, 3, 0] == expected
