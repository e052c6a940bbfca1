"""The squared error near the target, the absolute one beyond."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from ...options import Search, option
from .base import SampleLoss, along
from .closed_forms import at_least_float32


@dataclass
class Huber(SampleLoss):
    """`(z - y)^2 / 2` up to an error of `delta`, `delta (|z - y| - delta / 2)` beyond.

    Reference: Huber 1964, "Robust Estimation of a Location Parameter". The residual is the error itself, cut
    off at `delta`.

    Requirements:
        Targets that are numbers (`--task regression`); `delta` is in their unit.

    Relations:
        With a large `delta` half of `SquaredError`, with a small one `delta` times the absolute error, whose
        minimiser is the median.

    Examples:
        >>> import torch
        >>> from hf_ood import Huber
        >>> Huber(delta=1.0)(torch.tensor([[1.0], [4.0]]), torch.tensor([0.0, 1.0])).tolist()
        [0.5, 2.5]
    """

    name: ClassVar[str] = "huber"
    equation: ClassVar[str] = (
        r"\ell = \begin{cases} \frac{1}{2} (z - y)^2 & |z - y| \le \delta \\ "
        r"\delta \left( |z - y| - \frac{\delta}{2} \right) & \text{otherwise} \end{cases}"
    )
    citation: ClassVar[str] = """\
@article{huber1964robust,
  title = {Robust Estimation of a Location Parameter},
  author = {Huber, Peter J.},
  journal = {Annals of Mathematical Statistics},
  volume = {35},
  year = {1964}
}"""
    regression: ClassVar[bool | None] = True

    delta: float = option(
        1.0,
        "Errors above this count by their size, in the targets' unit (torch: 1; Huber: 1.345 deviations of "
        "the noise).",
        search=Search(0.1, 10.0, "ours", log=True),
    )

    def __post_init__(self) -> None:
        if self.delta <= 0:
            raise ValueError(f"loss.delta must be positive, not {self.delta:g}.")

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        predicted = at_least_float32(logits)[:, 0]
        return F.huber_loss(predicted, labels.to(predicted), reduction="none", delta=self.delta)

    def residuals(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = at_least_float32(logits)
        return (logits - labels.to(logits)[:, None]).clamp(-self.delta, self.delta)

    def slopes(self, logits: Tensor, labels: Tensor) -> Tensor:
        return along(self.residuals(logits, labels), at_least_float32(logits))
