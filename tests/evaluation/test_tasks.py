"""Measures of regressions and of several labels a sample in each environment, against scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    hamming_loss,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
    roc_auc_score,
)
from transformers import EvalPrediction

from hf_ood.evaluation import EnvironmentMetrics, environment_report, summarize
from hf_ood.evaluation.measures import measure_of, rises
from hf_ood.evaluation.metrics import headline, mean_measure
from hf_ood.reporting.curves import draw_curves
from hf_ood.reporting.many_environments import from_worst

RANDOM = np.random.default_rng(0)
NUMBER, LABELS = 60, 4
places = RANDOM.integers(0, 2, NUMBER) * 2  # environments "a" and "c"; "b" is empty
NAMES = ["a", "b", "c"]
LOGITS = RANDOM.normal(size=(NUMBER, LABELS))
SEVERAL = (RANDOM.random((NUMBER, LABELS)) < 0.4).astype(np.float32)
SEVERAL[places == 0, 3] = 0  # a label that nobody in "a" has


def test_a_regression_has_the_measures_of_scikit_learn() -> None:
    values, targets = LOGITS[:, :1], RANDOM.normal(3, 2, NUMBER).astype(np.float32)
    report = environment_report(values, targets, places, NAMES)
    assert list(report) == ["a", "c"]
    for number, name in ((0, "a"), (2, "c")):
        truth, said = targets[places == number], values[places == number, 0]
        assert report[name] == pytest.approx(
            {
                "squared_error": mean_squared_error(truth, said),
                "rmse": mean_squared_error(truth, said) ** 0.5,
                "mae": mean_absolute_error(truth, said),
                "r2": r2_score(truth, said),
                "count": len(truth),
            }
        )


def test_r2_is_left_out_where_all_targets_are_the_same() -> None:
    report = environment_report(np.zeros((3, 1)), np.full(3, 2, np.float32), np.array([0, 0, 1]), ["a", "b"])
    assert all("r2" not in entry and entry["rmse"] == 2 for entry in report.values())
    assert "r2" not in summarize(report, report, report)["summary"]["mean"]


def test_several_labels_have_the_measures_of_scikit_learn() -> None:
    report = environment_report(LOGITS, SEVERAL, places, NAMES, list("wxyz"))
    for number, name in ((0, "a"), (2, "c")):
        truth, logits = SEVERAL[places == number].astype(int), LOGITS[places == number]
        said, occurring = (logits > 0).astype(int), truth.any(0)
        probabilities = 1 / (1 + np.exp(-logits))
        assert report[name].pop("predicted_share") == pytest.approx(said.mean(0))
        assert report[name] == pytest.approx(
            {
                "label_accuracy": 1 - hamming_loss(truth, said),
                "exact_match": accuracy_score(truth, said),
                "macro_f1": f1_score(
                    truth[:, occurring], said[:, occurring], average="macro", zero_division=0
                ),
                "auroc": roc_auc_score(truth[:, occurring], logits[:, occurring], average="macro"),
                "loss": np.mean(
                    [log_loss(truth[:, k], probabilities[:, k], labels=[0, 1]) for k in range(LABELS)]
                ),
                "count": len(truth),
            }
        )


def test_what_no_label_defines_is_left_out_and_named() -> None:
    none = np.zeros((NUMBER, LABELS), np.float32)
    none[places == 2] = SEVERAL[places == 2]
    report = environment_report(LOGITS, none, places, NAMES)
    assert "macro_f1" not in report["a"] and "auroc" not in report["a"]
    results = summarize(report, report, report)
    assert results["mean_macro_f1"] == results["worst_macro_f1"] == report["c"]["macro_f1"]
    assert results["summary"]["undefined"] == {"macro_f1": ["a"], "auroc": ["a"]}
    assert not any("accuracy" in name for name in results)
    assert from_worst(report) == ["a", "c"]
    empty = environment_report(LOGITS, np.zeros_like(none), places, NAMES)
    assert mean_measure(empty) == {"mean_macro_f1": None} and headline(empty) == "macro_f1"


def test_the_metrics_of_an_evaluation_are_the_reports() -> None:
    report = environment_report(LOGITS, SEVERAL, places, NAMES)
    metrics = EnvironmentMetrics(NAMES)(EvalPrediction(predictions=LOGITS, label_ids=(SEVERAL, places)))
    assert metrics["a_exact_match"] == report["a"]["exact_match"]
    assert metrics["worst_label_accuracy"] == min(entry["label_accuracy"] for entry in report.values())
    assert metrics["mean_macro_f1"] == np.mean([entry["macro_f1"] for entry in report.values()])


@pytest.mark.parametrize(
    ("metric", "measure", "rising"),
    [
        ("eval_validation_mean_label_accuracy", "label_accuracy", True),
        ("eval_validation_worst_mae", "mae", False),
        ("eval_validation_mean_r2", "r2", True),
        ("eval_validation_x_rmse", "rmse", False),
        ("eval_validation_exact_match", "exact_match", True),
    ],
)
def test_directions_are_known(metric: str, measure: str, rising: bool) -> None:
    assert measure_of(metric) == measure and rises(metric) is rising


@pytest.mark.parametrize(
    ("labels", "axes"),
    [
        (SEVERAL, ["binary cross-entropy (nats)", "macro-F1 (%)"]),
        (SEVERAL[:, 0], ["squared error", "RMSE"]),
        (SEVERAL[:, 0].astype(int), ["cross-entropy (nats)", "accuracy (%)"]),
    ],
)
def test_curves_say_what_they_show(
    labels: np.ndarray, axes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = LOGITS[:, :1] if axes[1] == "RMSE" else LOGITS
    report = environment_report(logits, labels, places, NAMES)
    record = {"epoch": 1.0, "validation_loss": 0.5, f"validation_a_{headline(report)}": 0.25}
    results = {"history": [record], "method": "erm", "config": "default", "seed": 0}
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    entries = {"environments": {name: {**entry, "split": "validation"} for name, entry in report.items()}}
    draw_curves({**results, **entries}, tmp_path / "curves.png")
    assert [panel.get_ylabel() for panel in drawn[0].axes] == axes
    (line,) = drawn[0].axes[1].lines
    assert line.get_ydata()[0] == pytest.approx(0.25 if axes[1] == "RMSE" else 25)
