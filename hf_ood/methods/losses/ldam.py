"""Margins that are wider for rarer classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from torch import Tensor

from ...options import Search, option
from .base import along
from .class_weights import (
    ClassWeighted,
    class_counts,
    class_weights_option,
    effective_beta_option,
    unprepared,
)
from .closed_forms import at_least_float32, class_shares, sample_losses, sample_residuals


@dataclass
class LDAM(ClassWeighted):
    """Cross-entropy after a margin `m_y` was taken off the true class's logit: `m_k` in proportion to
    `n_k^(-1/4)`, `max_margin` for the rarest class.

    Reference: Cao et al. 2019, arXiv:1906.07413. The authors multiply by `scale=30` the logits of a last
    layer whose weights and features have unit length; the logits of other networks have a scale of their own,
    so the default is 1. Their schedule, class weights by effective numbers in the last part of the training,
    is a second stage with `class_weights: effective`. The counts take `prepare`; a class
    without a sample has no say.

    Requirements:
        Classes, each sample of a single one (not with mixing).

    Relations:
        Without margins it is `CrossEntropy`. `LogitAdjusted` shifts all logits, whichever the true class.

    Examples:
        >>> import torch
        >>> from hf_ood import LDAM
        >>> labels = torch.tensor([0] * 16 + [1])
        >>> loss = LDAM(max_margin=0.5).prepare(labels, num_labels=2)
        >>> loss.margins.tolist()  # 16 times as many samples, half the margin
        [0.25, 0.5]
    """

    name: ClassVar[str] = "ldam"
    equation: ClassVar[str] = (
        r"\ell = -w_y \log \operatorname{softmax}(s (z - m_y e_y))_y, \quad "
        r"m_k = m \left( \frac{n_{\min}}{n_k} \right)^{1/4}"
    )
    citation: ClassVar[str] = """\
@inproceedings{cao2019learning,
  title = {Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss},
  author = {Cao, Kaidi and Wei, Colin and Gaidon, Adrien and Arechiga, Nikos and Ma, Tengyu},
  booktitle = {Advances in Neural Information Processing Systems},
  note = {arXiv:1906.07413},
  year = {2019}
}"""
    takes_shares: ClassVar[bool] = False

    max_margin: float = option(
        0.5,
        "Margin of the rarest class (authors' code: 0.5).",
        search=Search(0.1, 0.8, "SubpopBench", log=True),
    )
    scale: float = option(
        1.0,
        "What logits are multiplied by after the margin (authors' code: 30, of cosines; SubpopBench: 30).",
        search=Search(1.0, 30.0, "ours up to SubpopBench's 10 or 30", log=True),
    )
    class_weights: str | Sequence[float] = class_weights_option()
    effective_beta: float = effective_beta_option()
    factors: Tensor | None = field(default=None, init=False, repr=False, compare=False)
    margins: Tensor | None = field(default=None, init=False, repr=False, compare=False)
    """The margin of each class, float64 [C], once `prepare` knows it."""

    def __post_init__(self) -> None:
        for name in ("max_margin", "scale"):
            if getattr(self, name) <= 0:
                raise ValueError(f"loss.{name} must be positive, not {getattr(self, name):g}.")
        super().__post_init__()

    @property
    def counts_classes(self) -> bool:
        return True

    def prepare(self, labels: Tensor, num_labels: int) -> Self:
        weighted = super().prepare(labels, num_labels)
        counts = class_counts(labels, num_labels)
        rarest = counts[counts > 0].min()
        prepared = replace(self)
        prepared.factors = weighted.factors
        prepared.margins = self.max_margin * (rarest / counts.clamp_min(1)).clamp_max(1).pow(0.25)
        return prepared

    def unweighted(self, logits: Tensor, labels: Tensor) -> Tensor:
        return sample_losses(self._with_margins(logits, labels), labels)

    def unweighted_residuals(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.scale * sample_residuals(self._with_margins(logits, labels), labels)

    def unweighted_slopes(self, logits: Tensor, labels: Tensor) -> Tensor:
        return along(self.unweighted_residuals(logits, labels), at_least_float32(logits))

    def _with_margins(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.margins is None:
            raise unprepared("ldam needs the classes' sizes in the training labels")
        if labels.dim() == 2:
            raise ValueError("ldam takes samples of a single class, not shares of several: leave mixing out.")
        logits = at_least_float32(logits)
        return self.scale * (logits - class_shares(labels, logits) * self.margins.to(logits))
