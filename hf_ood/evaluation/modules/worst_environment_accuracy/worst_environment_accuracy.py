"""The lowest of a classifier's accuracies over environments, as an `evaluate` module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

_DESCRIPTION = "Accuracy in the environment (domain, group, hospital, camera ...) in which it is lowest."

_CITATION = """\
@inproceedings{sagawa2020distributionally,
  title = {Distributionally Robust Neural Networks},
  author = {Sagawa, Shiori and Koh, Pang Wei and Hashimoto, Tatsunori B. and Liang, Percy},
  booktitle = {International Conference on Learning Representations},
  year = {2020}
}"""

_INPUTS = """\
Args:
    predictions: predicted class ids.
    references: true class ids.
    environments: the environment of each sample, ids or names.
Returns:
    worst_environment_accuracy: the lowest accuracy, between 0 and 1.
    worst_environment: the id or name of its environment.
Example:
    >>> worst = evaluate.load("worst_environment_accuracy")
    >>> worst.compute(predictions=[0, 1], references=[0, 0], environments=["a", "b"])
    {'worst_environment_accuracy': 0.0, 'worst_environment': 'b'}"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _INPUTS)
class WorstEnvironmentAccuracy(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        labels = {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=[
                datasets.Features({**labels, "environments": datasets.Value(kind)})
                for kind in ("int64", "string")
            ],
            reference_urls=["https://arxiv.org/abs/1911.08731"],
        )

    def _compute(
        self,
        predictions: Sequence[int],
        references: Sequence[int],
        environments: Sequence[int] | Sequence[str],
        **others: Any,  # evaluate.combine hands every module all inputs
    ) -> dict[str, Any]:
        present, ids = np.unique(environments, return_inverse=True)
        accuracies = np.bincount(ids, np.equal(predictions, references)) / np.bincount(ids)
        lowest = accuracies.argmin()
        return {
            "worst_environment_accuracy": accuracies[lowest].item(),
            "worst_environment": present[lowest].item(),
        }
