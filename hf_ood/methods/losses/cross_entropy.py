"""Cross-entropy, with smoothed labels and weighted classes; squared error where labels are targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from ...options import Search, option
from .class_weights import NONE, ClassWeighted, class_weights_option, effective_beta_option
from .closed_forms import (
    are_targets,
    at_least_float32,
    class_shares,
    sample_losses,
    sample_residuals,
    sample_slopes,
)


@dataclass
class CrossEntropy(ClassWeighted):
    """`-w_y sum_k s_k log softmax(z)_k` with s the smoothed label; of a regression the squared error.

    Smoothing moves `label_smoothing` of a label's share to all classes evenly (Szegedy et al. 2016,
    arXiv:1512.00567). Weights belong to samples, by their class; a mixed sample has the mean of its classes'
    weights. They are scaled to mean 1 over the training samples, so that risks keep their scale, which takes
    `prepare`. Raises `ValueError` for options out of range, for weights that were not prepared, and where
    either meets a regression.

    Requirements:
        None: without options it is the loss of classes, and the squared error of numbers.

    Relations:
        `Focal` weighs samples by how well they are fitted. `LogitAdjusted` and `LDAM` shift logits by the
        classes' sizes, which still acts where every sample is fitted and weights no longer do.

    Examples:
        >>> import torch
        >>> from hf_ood import CrossEntropy
        >>> labels = torch.tensor([0, 0, 0, 1])
        >>> loss = CrossEntropy(class_weights="balanced").prepare(labels, num_labels=2)
        >>> [round(value, 3) for value in loss(torch.zeros(4, 2), labels).tolist()]  # log 2, weighted
        [0.462, 0.462, 0.462, 1.386]
    """

    name: ClassVar[str] = "cross_entropy"
    equation: ClassVar[str] = (
        r"\ell = -w_y \sum_k s_k \log \operatorname{softmax}(z)_k, \quad "
        r"s_k = (1 - \epsilon) [k = y] + \frac{\epsilon}{C}"
    )
    citation: ClassVar[str] = """\
@inproceedings{szegedy2016rethinking,
  title = {Rethinking the Inception Architecture for Computer Vision},
  author = {Szegedy, Christian and Vanhoucke, Vincent and Ioffe, Sergey and Shlens, Jon
            and Wojna, Zbigniew},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  note = {arXiv:1512.00567},
  year = {2016}
}"""
    regression: ClassVar[bool | None] = None

    label_smoothing: float = option(
        0.0,
        "Share of every label that all classes divide evenly (0: none).",
        search=Search(0.0, 0.2, "ours; the paper has 0.1"),
    )
    class_weights: str | Sequence[float] = class_weights_option()
    effective_beta: float = effective_beta_option()
    factors: Tensor | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"loss.label_smoothing must lie in 0..1, without 1, not {self.label_smoothing}.")
        super().__post_init__()

    @property
    def is_plain(self) -> bool:
        """Whether it is cross-entropy alone."""
        return not self.label_smoothing and self.class_weights == NONE

    def unweighted(self, logits: Tensor, labels: Tensor) -> Tensor:
        return sample_losses(logits, self._smoothed(logits, labels))

    def unweighted_residuals(self, logits: Tensor, labels: Tensor) -> Tensor:
        return sample_residuals(logits, self._smoothed(logits, labels))

    def unweighted_slopes(self, logits: Tensor, labels: Tensor) -> Tensor:
        return sample_slopes(logits, self._smoothed(logits, labels))

    def _smoothed(self, logits: Tensor, labels: Tensor) -> Tensor:
        self.refuse_targets(labels)
        if not self.label_smoothing:
            return labels
        shares = class_shares(labels, at_least_float32(logits))
        return (1 - self.label_smoothing) * shares + self.label_smoothing / shares.shape[1]

    def refuse_targets(self, labels: Tensor) -> None:
        if not self.is_plain and are_targets(labels):
            raise ValueError(
                "Labels are numbers, a regression's: loss.label_smoothing and loss.class_weights are about "
                "classes. Leave them out."
            )
