"""Per-environment metrics and the results file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import EvalPrediction

from hf_ood.evaluation import EnvironmentMetrics, environment_report, load_results, save_results, summarize
from hf_ood.evaluation.results import history

LOGITS = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0], [0.0, 4.0], [5.0, 0.0]], dtype=np.float32)
LABELS = np.array([0, 0, 0, 1, 1])
ENVIRONMENTS = np.array([0, 0, 2, 2, 2])


def test_report_is_the_straightforward_computation() -> None:
    report = environment_report(LOGITS, LABELS, ENVIRONMENTS, ["a", "b", "c"])
    assert list(report) == ["a", "c"]  # b has no sample
    for name, rows, share in (("a", [0, 1], [1 / 2, 1 / 2]), ("c", [2, 3, 4], [2 / 3, 1 / 3])):
        loss = F.cross_entropy(torch.tensor(LOGITS[rows]), torch.tensor(LABELS[rows])).item()
        accuracy = (LOGITS[rows].argmax(1) == LABELS[rows]).mean()
        assert report[name].pop("predicted_share") == pytest.approx(share)
        expected = {"accuracy": accuracy, "loss": loss, "count": len(rows)}
        assert {key: report[name][key] for key in expected} == pytest.approx(expected)


def test_a_class_that_is_never_predicted_has_share_zero() -> None:
    constant = np.tile(np.array([[0.0, 3.0, 1.0]], dtype=np.float32), (5, 1))
    report = environment_report(constant, LABELS, ENVIRONMENTS, ["a", "b", "c"])
    assert all(entry["predicted_share"] == [0, 1, 0] for entry in report.values())


def test_loss_of_huge_logits_is_finite() -> None:
    report = environment_report(LOGITS * 1e4, LABELS, ENVIRONMENTS, ["a", "b", "c"])
    assert all(np.isfinite(entry["loss"]) for entry in report.values())


def test_environment_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="2 has no name"):
        environment_report(LOGITS, LABELS, ENVIRONMENTS, ["a", "b"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"environments": ENVIRONMENTS - 1}, "id -1 has no name"),
        ({"environments": ENVIRONMENTS + 0.5}, "id 0.5 has no name"),
        ({"names": ["a", "a", "c"]}, "0 and 1 have one name"),
        ({"labels": LABELS - 1}, r"labels\[0\] is -1"),
        ({"labels": LABELS + 1}, r"labels\[3\] is 2, but there are 2 classes"),
        ({"labels": LABELS[:-1]}, "5 logits, 4 labels, 5 environments"),
        ({"labels": np.array([0.0, 1.0, np.nan, 1.0, 2.0])}, "1 of 5 labels are NaN .*row 2"),
        ({"logits": LOGITS[:0], "labels": LABELS[:0], "environments": ENVIRONMENTS[:0]}, "no sample"),
    ],
)
def test_rows_that_would_be_lost_or_moved_are_refused(changed, message) -> None:
    given = {"logits": LOGITS, "labels": LABELS, "environments": ENVIRONMENTS, "names": ["a", "b", "c"]}
    with pytest.raises(ValueError, match=message):
        environment_report(**{**given, **changed})


def test_metrics_for_the_trainer_weigh_environments_equally() -> None:
    metrics = EnvironmentMetrics(["a", "b", "c"])(EvalPrediction(LOGITS, (LABELS, ENVIRONMENTS)))
    assert metrics["accuracy"] == pytest.approx(3 / 5)
    assert metrics["mean_accuracy"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert metrics["worst_accuracy"] == pytest.approx(1 / 2)
    assert metrics["c_accuracy"] == pytest.approx(2 / 3)
    assert "b_accuracy" not in metrics
    named = EnvironmentMetrics(["worst", "b", "mean"])(EvalPrediction(LOGITS, (LABELS, ENVIRONMENTS)))
    assert all(named[name] == metrics[name] for name in ("mean_accuracy", "worst_accuracy"))


def entry(accuracy: float) -> dict[str, float]:
    return {"accuracy": accuracy, "loss": 1.0, "count": 10}


def test_summary_compares_training_and_test_environments() -> None:
    summary = summarize(
        {"a": entry(0.9), "b": entry(1.0)}, {"a": entry(0.8)}, {"a": entry(0.5), "c": entry(0.7)}
    )
    assert {name: values["split"] for name, values in summary["environments"].items()} == {
        "a": "validation",
        "test/a": "test",
        "c": "test",
    }
    assert summary["train_accuracy"] == pytest.approx(0.95)
    assert summary["mean_accuracy"] == pytest.approx(0.6)
    assert summary["worst_accuracy"] == 0.5
    assert summary["gap"] == pytest.approx(0.35)


def test_the_shift_gap_compares_samples_that_were_not_trained_on() -> None:
    train, held_out, test = {"a": entry(1.0)}, {"a": entry(0.8)}, {"c": entry(0.5)}
    by_validation = summarize(train, held_out, test)
    assert by_validation["shift_gap"] == pytest.approx(0.3)
    assert by_validation["in_domain_split"] == "validation"
    by_test = summarize(train, held_out, test, {"a": entry(0.7)})
    assert by_test["shift_gap"] == pytest.approx(0.2) and by_test["in_domain_accuracy"] == 0.7
    assert by_test["environments"]["in_domain_test/a"]["split"] == "in_domain_test"
    for key in ("mean_accuracy", "worst_accuracy", "gap", "summary"):
        assert by_test[key] == by_validation[key]
    elsewhere = summarize(train, {"b": entry(0.8)}, test)  # validated on an environment of its own
    assert "shift_gap" not in elsewhere and "in_domain_accuracy" not in elsewhere


def test_history_has_one_record_for_each_evaluation() -> None:
    log = [
        {"loss": 1.0, "cross_entropy": 1.0, "accuracy": 0.5, "step": 10, "epoch": 0.5},
        {"loss": 0.5, "cross_entropy": 0.6, "accuracy": 0.7, "step": 20, "epoch": 1.0},
        {"eval_validation_mean_accuracy": 0.6, "eval_validation_loss": 0.8, "step": 20, "epoch": 1.0},
        {"eval_test_mean_accuracy": 0.4, "eval_test_runtime": 3.0, "step": 20, "epoch": 1.0},
        {"eval_test_worst_group": 0.1, "eval_test_worst_macro_f1": 0.2, "step": 20, "epoch": 1.0},
        {"eval_test_a_macro_f1": 0.3, "eval_test_macro_f1": 0.4, "step": 20, "epoch": 1.0},
        {"train_runtime": 9.0, "step": 20, "epoch": 1.0},
    ]
    (record,) = history(log)
    assert record == pytest.approx(
        {
            "step": 20,
            "epoch": 1.0,
            "train_loss": 0.75,
            "train_cross_entropy": 0.8,
            "train_accuracy": 0.6,
            "validation_mean_accuracy": 0.6,
            "validation_loss": 0.8,
            "test_mean_accuracy": 0.4,
            "test_worst_group": 0.1,
            "test_worst_macro_f1": 0.2,
        }
    )


def test_results_survive_the_file_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    file = save_results({"method": "erm", "seed": 1}, tmp_path)
    assert load_results(tmp_path) == {"method": "erm", "seed": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    file.write_bytes(file.read_bytes()[:10])
    with pytest.raises(ValueError, match=r"results\.json is damaged"):
        load_results(tmp_path)


def test_a_result_that_is_not_a_number_is_never_written(tmp_path: Path) -> None:
    save_results({"accuracy": float("nan"), "losses": [float("inf"), 1.0]}, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == {"accuracy": None, "losses": [None, 1.0]}


def test_labels_that_are_floats_are_measured_by_their_squared_error() -> None:
    predictions, targets = LOGITS[:, :1], np.array([1.0, 0.0, 2.0, -1.0, 5.0], dtype=np.float32)
    report = environment_report(predictions, targets, ENVIRONMENTS, ["a", "b", "c"])
    errors = {"a": {"squared_error": 0.5, "rmse": 0.5**0.5, "mae": 0.5, "r2": -1.0}}
    errors["c"] = {"squared_error": 2 / 3, "rmse": (2 / 3) ** 0.5, "mae": 2 / 3, "r2": 8 / 9}
    for name, count in (("a", 2), ("c", 3)):
        assert report[name] == pytest.approx({**errors[name], "count": count})
    results = summarize(report, report, report)
    assert results["mean_squared_error"] == results["train_squared_error"] == pytest.approx(7 / 12)
    assert results["worst_rmse"] == pytest.approx((2 / 3) ** 0.5)
    assert not any("accuracy" in name for name in results)
    prediction = EvalPrediction(predictions=predictions, label_ids=(targets, ENVIRONMENTS))
    metrics = EnvironmentMetrics(["a", "b", "c"])(prediction)
    own = {f"{name}_{measure}": value for name, entry in errors.items() for measure, value in entry.items()}
    over = {"mean_squared_error": 7 / 12, "worst_squared_error": 2 / 3, "worst_mae": 2 / 3, "worst_r2": -1.0}
    for measure in ("rmse", "mae", "r2"):
        over[f"mean_{measure}"] = (own[f"a_{measure}"] + own[f"c_{measure}"]) / 2
    assert metrics == pytest.approx({**own, **over, "worst_rmse": (2 / 3) ** 0.5})
