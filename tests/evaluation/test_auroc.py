"""AUROC of each environment, as scikit-learn computes it on that environment alone."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score
from transformers import EvalPrediction

from hf_ood.evaluation import EnvironmentMetrics, environment_report, summarize_environments
from hf_ood.evaluation.auroc import MOST_GROUPS, auroc, auroc_is_defined
from hf_ood.evaluation.metrics import log_softmax

NAMES = ["a", "nobody", "b", "c"]


def samples(classes: int) -> dict[str, np.ndarray]:
    """Environment c has one class only."""
    rng = np.random.default_rng(classes)
    environments = rng.choice([0, 2, 3], 300)
    labels = rng.integers(0, classes, 300)
    labels[environments == 3] = 1
    logits = rng.normal(size=(300, classes)).round(1) + np.eye(classes)[labels]  # rounded: ties
    return {"logits": logits, "labels": labels, "environments": environments}


def trainer_metrics(data: dict[str, np.ndarray]) -> dict[str, float]:
    label_ids = data["labels"], data["environments"]
    return EnvironmentMetrics(NAMES)(EvalPrediction(data["logits"], label_ids))


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_every_environment_is_scikit_learns(classes: int) -> None:
    data = samples(classes)
    report = environment_report(**data, names=NAMES)
    for name in ("a", "b"):
        rows = data["environments"] == NAMES.index(name)
        labels, predictions = data["labels"][rows], data["logits"][rows].argmax(1)
        probabilities = np.exp(log_softmax(data["logits"][rows]))
        expected = (
            roc_auc_score(labels, probabilities[:, 1])
            if classes == 2
            else roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
        )
        assert report[name]["auroc"] == pytest.approx(expected)
        recalls = recall_score(labels, predictions, average=None, labels=range(classes))
        assert report[name]["balanced_accuracy"] == pytest.approx(
            balanced_accuracy_score(labels, predictions)
        )
        assert report[name]["worst_group"] == pytest.approx(recalls.min())
        assert report[name]["worst_group_label"] == str(recalls.argmin())


def test_classes_that_do_not_occur_do_not_count() -> None:
    data = samples(3)
    wider = {**data, "logits": np.concatenate([data["logits"], np.full((300, 1), -2.0)], axis=1)}
    rows = data["environments"] == 0
    labels, probabilities = data["labels"][rows], np.exp(log_softmax(wider["logits"][rows]))
    expected = np.mean([roc_auc_score(labels == label, probabilities[:, label]) for label in range(3)])
    assert environment_report(**wider, names=NAMES)["a"]["auroc"] == pytest.approx(expected)


@pytest.mark.parametrize("classes", [2, 5])
def test_with_one_class_there_is_none_and_the_summary_says_so(classes: int) -> None:
    data = samples(classes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = environment_report(**data, names=NAMES)
        metrics = EnvironmentMetrics(NAMES)(
            EvalPrediction(data["logits"], (data["labels"], data["environments"]))
        )
    assert "auroc" not in report["c"] and "c_auroc" not in metrics
    summary = summarize_environments(report)
    assert summary["undefined"] == {"auroc": ["c"]}
    both = [report[name]["auroc"] for name in ("a", "b")]
    assert summary["mean"]["auroc"] == metrics["mean_auroc"] == pytest.approx(np.mean(both))
    assert summary["worst"]["auroc"] == metrics["worst_auroc"] == min(both)


def test_with_too_many_groups_there_is_none() -> None:
    number = MOST_GROUPS // 2 + 1
    environments, labels = np.arange(2 * number) // 2, np.arange(2 * number) % 2
    logs = np.log(np.full((2 * number, 2), 0.5))
    assert np.isnan(auroc(logs, labels, environments, number)).all()
    assert (auroc(logs[2:], labels[2:], environments[2:] - 1, number - 1) == 0.5).all()


def test_with_too_many_samples_and_classes_there_is_none() -> None:
    labels = np.arange(10_000) % 101
    assert not auroc_is_defined(labels, 0 * labels, 1).any()
    assert auroc_is_defined(labels[:9_000], 0 * labels[:9_000], 1).all()


def test_logits_that_are_not_finite_are_left_to_who_says_so() -> None:
    data = samples(2)
    data["logits"][:] = np.nan
    with np.errstate(invalid="ignore"):
        assert np.isnan(environment_report(**data, names=NAMES)["a"]["loss"])


def test_the_metrics_over_all_samples_and_over_environments() -> None:
    data = samples(3)
    metrics = EnvironmentMetrics(NAMES)(
        EvalPrediction(data["logits"], (data["labels"], data["environments"]))
    )
    report = environment_report(**data, names=NAMES)
    together = environment_report(data["logits"], data["labels"], 0 * data["environments"], ["all"])["all"]
    for measure in ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "ece"):
        assert metrics[measure] == pytest.approx(together[measure])
    assert metrics["worst_loss"] == max(entry["loss"] for entry in report.values())
    assert metrics["worst_group"] == min(entry["worst_group"] for entry in report.values())
    assert metrics["b_macro_f1"] == report["b"]["macro_f1"]


def test_an_environment_that_is_called_as_one_class_collapsed() -> None:
    labels, environments = np.array([0, 1, 1, 1, 0, 1]), np.array([0, 0, 2, 2, 3, 3])
    logits = np.eye(2)[[1, 1, 1, 1, 0, 1]]
    report = environment_report(logits, labels, environments, NAMES, ["no", "yes"])
    assert {name: entry.get("collapsed_to") for name, entry in report.items()} == {
        "a": "yes",
        "b": None,  # has one class only
        "c": None,
    }
    assert report["a"]["worst_group_label"] == "no" and report["a"]["worst_group"] == 0
