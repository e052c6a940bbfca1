"""The lowest of a classifier's accuracies over environments, as an `evaluate` module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from .environment_inputs import checked_batch, collected_environments, environment_ids

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
    environments: the environment of each sample: ids, other numbers, or names.
Returns:
    worst_environment_accuracy: the lowest accuracy, between 0 and 1.
    worst_environment: its environment, as it was given; the first of several.
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
            features=datasets.Features({**labels, "environments": datasets.Value("string")}),
            reference_urls=["https://arxiv.org/abs/1911.08731"],
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
        found = super().compute(**inputs)
        if isinstance(found, ValueError):
            raise found
        return found

    def _compute(
        self,
        predictions: Sequence[int],
        references: Sequence[int],
        environments: Sequence[str],
        **others: Any,  # evaluate.combine hands every module all inputs
    ) -> dict[str, Any] | ValueError:
        try:
            values = collected_environments(environments)
        except ValueError as error:  # returned: what was collected is let go only when this function returns
            return error
        ids, _ = environment_ids(values)
        accuracies = np.bincount(ids, np.equal(predictions, references)) / np.bincount(ids)
        lowest = accuracies.argmin()
        return {
            "worst_environment_accuracy": accuracies[lowest].item(),
            "worst_environment": sorted(set(values))[lowest],
        }
