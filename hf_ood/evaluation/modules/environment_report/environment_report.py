"""Accuracy (also by group), F1, calibration and likelihood in each environment, as an `evaluate` module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from .environment_inputs import (
    checked_batch,
    collected_environments,
    environment_ids,
    probability_rows,
    require_same_length,
)
from .environment_measures import MIN_COUNT, by_name, environment_measures, summarize_environments

_DESCRIPTION = """\
Accuracy, balanced accuracy, the worst group's accuracy, macro-F1, expected calibration error and negative
log-likelihood of each environment (domain, hospital, camera ...), with their mean, worst and gap over the
environments."""

_CITATION = """\
@inproceedings{guo2017calibration,
  title = {On Calibration of Modern Neural Networks},
  author = {Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.},
  booktitle = {International Conference on Machine Learning},
  year = {2017}
}"""

_INPUTS = """\
Args:
    predictions: predicted class ids.
    references: true class ids.
    environments: the environment of each sample: ids, other numbers, or names.
    probabilities: each sample's class probabilities; optional. With it come `loss` and `ece`.
    environment_names: the names of the ids 0, 1, ..., all different; optional.
    min_count: environments with fewer samples are listed in `small_environments` (default 30).
Returns:
    environments: {name: {accuracy, balanced_accuracy, macro_f1, worst_group, loss, ece, count}}; a group is a
        class in an environment.
    mean, worst, gap: the same measures over environments, all of which weigh the same; gap is best to worst.
    count, small_environments.
Example:
    >>> report = evaluate.load("environment_report")
    >>> report.compute(predictions=[0, 1], references=[0, 0], environments=["a", "b"])["worst"]["accuracy"]
    0.0"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _INPUTS)
class EnvironmentReport(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        labels = {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
        if self.config_name == "probabilities":  # collected batch by batch with `add_batch`
            labels["probabilities"] = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({**labels, "environments": datasets.Value("string")}),
            reference_urls=["https://arxiv.org/abs/1706.04599"],
        )

    def add_batch(self, *, predictions: Any = None, references: Any = None, **others: Any) -> None:
        """Collect samples. Raises `ValueError` for what cannot be taken as it is."""
        batch = {"predictions": predictions, "references": references, **others}
        super().add_batch(**checked_batch(batch))

    def add(self, *, prediction: Any = None, reference: Any = None, **others: Any) -> None:
        """Collect one sample. Raises as `add_batch`."""
        self.add_batch(
            predictions=[prediction],
            references=[reference],
            **{name: [value] for name, value in others.items()},
        )

    def compute(self, **inputs: Any) -> dict[str, Any] | None:
        """Measure the samples given here, or those collected before. Raises as `add_batch`."""
        report = super().compute(**inputs)
        if isinstance(report, ValueError):
            raise report
        return report

    def _compute(self, **inputs: Any) -> dict[str, Any] | ValueError:
        try:
            return _report(**inputs)
        except ValueError as error:  # returned: what was collected is let go only when this function returns
            return error


def _report(
    predictions: Sequence[int],
    references: Sequence[int],
    environments: Sequence[str],
    probabilities: Any = None,
    environment_names: Sequence[str] | None = None,
    min_count: int = MIN_COUNT,
) -> dict[str, Any]:
    ids, names = environment_ids(collected_environments(environments), environment_names)
    logs = None
    if probabilities is not None:
        require_same_length({"rows of probabilities": probabilities, "predictions": predictions})
        with np.errstate(divide="ignore"):
            logs = np.log(probability_rows(probabilities, references, predictions))
    measures = environment_measures(np.asarray(predictions), np.asarray(references), ids, len(names), logs)
    return {"environments": (report := by_name(measures, names)), **summarize_environments(report, min_count)}
