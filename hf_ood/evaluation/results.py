"""What a run leaves behind in `results.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..data.splits import IN_DOMAIN
from ..data.targets import CLASSIFICATION
from ..files import replace_text
from ..json_files import json_text, read_object
from ..local_paths import without_local_paths
from .measures import measure_of
from .metrics import (
    EnvironmentReport,
    headline,
    is_regression,
    mean_accuracy,
    mean_measure,
    over,
    task_of_report,
    worst_accuracy,
)
from .modules.environment_report.environment_measures import summarize_environments

RESULTS_FILE = "results.json"
TRAINED = ("cross_entropy", "binary_cross_entropy", "squared_error")  # of samples, in the training's log
LOCAL = ("dataset", "config", "model", "command", "hyperparameters")  # what may name files of this machine
PACKAGES = ("hf_ood", "torch", "transformers", "datasets", "accelerate", "numpy")


def summarize(
    train: EnvironmentReport,
    validation: EnvironmentReport,
    test: EnvironmentReport,
    in_domain_test: EnvironmentReport | None = None,
) -> dict[str, Any]:
    """Per-environment entries and their summary.

    Training environments are reported on their held-out samples (split `validation`) and, where the data have
    such rows, on their own test rows (split `in_domain_test`, written `in_domain_test/<name>`); test
    environments on the test split, a name in both is written `test/<name>` there. Mean and worst accuracy are
    over test environments, and so is `summary`, the mean, worst and gap (best to worst) of every measure;
    `train_accuracy` is the mean over training environments on the samples trained on; `gap` is the
    difference. `shift_gap` is that of `in_domain_accuracy`, the mean over training environments on samples
    that were not trained on: their test rows or, without any, their validation samples (`in_domain_split`).
    A regression has `mean_`, `worst_` and `train_rmse`, `mean_squared_error` and `train_squared_error` in
    place of accuracies; several labels a sample have `mean_`, `worst_` and `train_macro_f1`, None where it
    exists nowhere.
    """
    environments = {name: {**entry, "split": "validation"} for name, entry in validation.items()}
    for name, entry in (in_domain_test or {}).items():
        environments[f"{IN_DOMAIN}/{name}"] = {**entry, "split": IN_DOMAIN}
    for name, entry in test.items():
        environments[f"test/{name}" if name in environments else name] = {**entry, "split": "test"}
    if task_of_report(test) != CLASSIFICATION:
        squared = is_regression(test)
        return {
            "environments": environments,
            **_headline_figures(train, test),
            **(
                {**mean_measure(test), "train_squared_error": over(train, "squared_error")["mean"]}
                if squared
                else {}
            ),
            "summary": summarize_environments(test),
        }
    train_accuracy, test_accuracy = mean_accuracy(train), mean_accuracy(test)
    return {
        "environments": environments,
        "mean_accuracy": test_accuracy,
        "worst_accuracy": worst_accuracy(test),
        "train_accuracy": train_accuracy,
        "gap": train_accuracy - test_accuracy,
        **_shift_gap(train, validation, in_domain_test or {}, test_accuracy),
        "summary": summarize_environments(test),
    }


def _headline_figures(train: EnvironmentReport, test: EnvironmentReport) -> dict[str, float | None]:
    measure = headline(test)
    tested = {f"{of}_{measure}": value for of, value in over(test, measure).items()}
    return {**tested, f"train_{measure}": over(train, measure)["mean"]}


def _shift_gap(
    train: EnvironmentReport,
    validation: EnvironmentReport,
    in_domain_test: EnvironmentReport,
    test_accuracy: float,
) -> dict[str, Any]:
    """How far accuracy falls from the training environments to the test environments, on samples alike in
    that none was trained on; empty where the training environments have none."""
    trained = {name: entry for name, entry in validation.items() if name in train}
    if not (in_domain_test or trained):
        return {}
    accuracy = mean_accuracy(in_domain_test or trained)
    return {
        "in_domain_accuracy": accuracy,
        "in_domain_split": IN_DOMAIN if in_domain_test else "validation",
        "shift_gap": accuracy - test_accuracy,
    }


OWN = ("accuracy", "loss", "worst_group", "rmse")  # what the history keeps of each environment
OWN_OF_SEVERAL = ("loss", "macro_f1")  # where samples have several labels


def history(log: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`Trainer`'s log as one record per evaluation: step, epoch, training means since the last, losses and
    accuracies, and the mean and worst of every measure over environments.

    `train_loss` is the objective, `train_cross_entropy` (or `train_squared_error`, ...) and `train_accuracy`
    are of the training batches as seen (augmented, challenged).
    """
    records: dict[int, dict[str, Any]] = {}
    seen: list[Mapping[str, Any]] = []
    for entry in log:
        if "loss" in entry:
            seen.append(entry)
        evaluated = {
            key.removeprefix("eval_"): value for key, value in entry.items() if key.startswith("eval_")
        }
        if not evaluated:
            continue
        record = records.setdefault(entry["step"], {"step": entry["step"], "epoch": entry["epoch"]})
        if seen:
            for measure in ("loss", *TRAINED, "accuracy"):
                if measure in seen[0]:
                    record[f"train_{measure}"] = sum(part[measure] for part in seen) / len(seen)
            seen = []
        own = OWN_OF_SEVERAL if any(key.endswith("_exact_match") for key in evaluated) else OWN
        record |= {key: value for key, value in evaluated.items() if _is_kept(key, own)}
    return list(records.values())


def _is_kept(metric: str, own: Sequence[str]) -> bool:
    """The `own` measures of each environment, and what is a mean or worst over environments: of
    thousands of environments the other measures would fill the file."""
    measure = measure_of(metric)
    if measure is None or measure in own:
        return measure is not None
    return metric.removesuffix(f"_{measure}").endswith(("mean", "worst"))


def versions() -> dict[str, str]:
    return {package: version(package) for package in PACKAGES}


def told(results: Mapping[str, Any]) -> dict[str, Any]:
    """Results as they may be told to others: local data, models and files without the way to them."""
    return {key: without_local_paths(value) if key in LOCAL else value for key, value in results.items()}


def save_results(results: Mapping[str, Any], folder: str | Path) -> Path:
    """Write `results.json`, without paths of this machine, in one move: it is either the old file or the
    whole new one."""
    path = Path(folder) / RESULTS_FILE
    replace_text(path, json_text(told(results), indent=2) + "\n")
    return path


def load_results(folder: str | Path) -> dict[str, Any]:
    """Read a run's `results.json`. Raises `ValueError` naming the file when it is damaged."""
    path = Path(folder) / RESULTS_FILE
    try:
        return read_object(path)
    except ValueError as error:
        raise ValueError(f"{error}; delete it and run again.") from error
