"""What an evaluation computes from predictions: the library's measures by environment, and the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from transformers import EvalPrediction

from ..evaluation import EnvironmentMetrics

ComputeMetrics = Callable[[EvalPrediction], dict[str, Any]]


class EnvironmentPrediction(EvalPrediction):
    """What a `compute_metrics` gets: the labels are `label_ids`, as everywhere.

    Its samples' environments are `environments`, int [N], named by `environment_names`.
    """

    def __init__(self, *args: Any, environments: np.ndarray, environment_names: Sequence[str], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.environments, self.environment_names = environments, list(environment_names)


def labels_alone(label_ids: Any) -> Any:
    """Label ids as they were gathered, (labels, ..., environments), without the environments."""
    labels = label_ids[:-1]
    return labels[0] if len(labels) == 1 else tuple(labels)


def all_metrics(
    prediction: EvalPrediction,
    environment_names: Sequence[str],
    compute_metrics: ComputeMetrics | None,
    shown: Any,
) -> dict[str, Any]:
    """The library's measures of each environment and, beside or in place of them, what `compute_metrics`
    gives for the predictions `shown`."""
    metrics: dict[str, Any] = EnvironmentMetrics(environment_names)(prediction)
    if compute_metrics is not None:
        own = EnvironmentPrediction(
            shown,
            labels_alone(prediction.label_ids),
            inputs=prediction.inputs,
            losses=prediction.losses,
            environments=prediction.label_ids[-1],
            environment_names=environment_names,
        )
        metrics |= compute_metrics(own)
    return metrics
