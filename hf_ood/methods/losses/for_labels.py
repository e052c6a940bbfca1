"""The loss that fits a training's labels."""

from __future__ import annotations

from torch import Tensor

from .base import SampleLoss
from .binary_cross_entropy import BinaryCrossEntropy
from .closed_forms import are_targets
from .cross_entropy import CrossEntropy


def loss_for(
    labels: Tensor, num_labels: int, loss: SampleLoss | None = None, label_smoothing: float = 0.0
) -> SampleLoss:
    """`loss`, prepared for all labels of a training; without one the usual of such labels.

    `labels`: int64 [N] of classes, float [N] of a regression, or float [N, L] of 0 and 1, whose loss is
    `BinaryCrossEntropy`; that of the others is `CrossEntropy`. Raises `ValueError` for a loss of other
    labels, and as its `prepare` does.
    """
    several = labels.dim() == 2
    if several and label_smoothing:
        raise ValueError(
            "label_smoothing_factor moves shares between classes, and every label of several stands for "
            "itself: leave it out."
        )
    if loss is None:
        loss = BinaryCrossEntropy() if several else CrossEntropy(label_smoothing=label_smoothing)
    if loss.multi_label != several:
        have = f"{labels.shape[1]} labels a sample" if several else "one label a sample"
        way = (
            "leave it and its options out, or give one that says multi_label = True"
            if several
            else "give another loss, or labels [N, L]"
        )
        raise ValueError(f"{loss.name} is not the loss of these data, which have {have}: {way}.")
    if loss.regression is not None and not several and loss.regression != are_targets(labels):
        have, way = ("classes", "cross_entropy") if loss.regression else ("numbers", "squared_error or huber")
        raise ValueError(f"{loss.name} is not the loss of these data, whose labels are {have}: give {way}.")
    return loss.prepare(labels, num_labels)
