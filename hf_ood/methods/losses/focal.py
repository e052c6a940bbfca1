"""Cross-entropy that looks away from what is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from ...options import Search, option
from .base import along
from .class_weights import ClassWeighted, class_weights_option, effective_beta_option
from .closed_forms import at_least_float32, class_shares


@dataclass
class Focal(ClassWeighted):
    """`-(1 - p_y)^gamma log p_y`: the more probable a sample's class, the less the sample counts.

    Reference: Lin et al. 2017, arXiv:1708.02002, equation 5, of a softmax. The balance between classes that
    the paper calls alpha is `class_weights`. A mixed sample's loss is the mean over its classes, by their
    shares. Residuals and slopes have closed forms.

    Requirements:
        Classes. A gamma below 2 has no second derivative at a probability of 1, where penalties on slopes
        look away too.

    Relations:
        `gamma=0` is `CrossEntropy`. `SampleCVaR` leaves fitted samples out altogether, JTT chooses once which
        samples count more. Like them it attends to wrong labels.

    Examples:
        >>> import torch
        >>> from hf_ood import CrossEntropy, Focal
        >>> logits, labels = torch.tensor([[3.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 0])
        >>> shares = Focal(gamma=2.0)(logits, labels) / CrossEntropy()(logits, labels)  # (1 - p)^2
        >>> [round(share, 4) for share in shares.tolist()]
        [0.0022, 0.25]
    """

    name: ClassVar[str] = "focal"
    equation: ClassVar[str] = r"\ell = -w_y (1 - p_y)^\gamma \log p_y, \quad p = \operatorname{softmax}(z)"
    citation: ClassVar[str] = """\
@inproceedings{lin2017focal,
  title = {Focal Loss for Dense Object Detection},
  author = {Lin, Tsung-Yi and Goyal, Priya and Girshick, Ross and He, Kaiming and Doll{\\'a}r, Piotr},
  booktitle = {IEEE International Conference on Computer Vision},
  note = {arXiv:1708.02002},
  year = {2017}
}"""

    gamma: float = option(
        2.0,
        "How fast fitted samples fade (paper: 2).",
        search=Search(0.5, 5.0, "SubpopBench", log=True),
    )
    class_weights: str | Sequence[float] = class_weights_option()
    effective_beta: float = effective_beta_option()
    factors: Tensor | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.gamma < 0:
            raise ValueError(f"loss.gamma must be 0 or more, not {self.gamma:g}.")
        super().__post_init__()

    def unweighted(self, logits: Tensor, labels: Tensor) -> Tensor:
        self.refuse_targets(labels)
        log_p, rest = _log_probabilities(logits)
        return -(class_shares(labels, log_p) * rest**self.gamma * log_p).sum(1)

    def unweighted_residuals(self, logits: Tensor, labels: Tensor) -> Tensor:
        """`a - p sum_k a_k` with `a_k = y_k (1 - p_k)^gamma (gamma p_k log p_k / (1 - p_k) - 1)`."""
        self.refuse_targets(labels)
        log_p, rest = _log_probabilities(logits)
        pull = class_shares(labels, log_p) * rest**self.gamma
        pull = pull * (self.gamma * log_p.exp() * log_p / rest - 1)
        return pull - log_p.exp() * pull.sum(1, keepdim=True)

    def unweighted_slopes(self, logits: Tensor, labels: Tensor) -> Tensor:
        return along(self.unweighted_residuals(logits, labels), at_least_float32(logits))


def _log_probabilities(logits: Tensor) -> tuple[Tensor, Tensor]:
    """`log p` and `1 - p`, which stays above 0, [B, C] each."""
    log_p = at_least_float32(logits).log_softmax(1)
    return log_p, (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).eps)
