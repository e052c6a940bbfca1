"""Beta moving average of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...options import Search, option
from .base import Averaging, Weights, copied, move


@dataclass
class BMA(Averaging):
    """The mean of the weights over the whole training, the starting ones included, weighted by a Beta
    distribution.

    Reference: Shu et al. 2023, arXiv:2302.00864 (CLIPood's Beta moving average, with their code's default).
    With the default the start and the end count most: the average stays near a pretrained network and takes
    part of what was learned. It is what the training ends with, so no checkpoint is chosen. How much a step
    counts depends on how many there are, so a training that is stopped early ends with less of its end.

    Requirements:
        Pretrained weights, which are what the start stands for. Networks divided by FSDP are refused.

    Relations:
        `interpolate` (WiSE-FT) has the start and the end alone. With `beta` 1 all steps count the same, as in
        `SWA` from the start.

    Examples:
        >>> import torch
        >>> from hf_ood import BMA
        >>> average = BMA(beta=1.0)
        >>> average.begin({"w": torch.tensor(0.0)})
        >>> for step, weight in enumerate([1.0, 2.0], start=1):
        ...     average.update({"w": torch.tensor(weight)}, step, max_steps=2)
        >>> average.final["w"].item()  # the mean of 0, 1 and 2
        1.0
    """

    name: ClassVar[str] = "bma"
    equation: ClassVar[str] = (
        r"\bar\theta = \frac{\sum_{t=0}^{T} \alpha_t \theta_t}{\sum_{t=0}^{T} \alpha_t}, \quad "
        r"\alpha_t = \left[ \tau_t (1 - \tau_t) \right]^{\beta - 1}, \; \tau_t = \frac{t + 0.5}{T + 1}"
    )
    citation: ClassVar[str] = """\
@inproceedings{shu2023clipood,
  title = {{CLIPood}: Generalizing {CLIP} to Out-of-Distributions},
  author = {Shu, Yang and Guo, Xingzhuo and Wu, Jialong and Wang, Ximei and Wang, Jianmin and
            Long, Mingsheng},
  booktitle = {International Conference on Machine Learning},
  note = {arXiv:2302.00864},
  year = {2023}
}"""
    selection: ClassVar[str] = "mean of weights from the start on, by a Beta distribution (bma)"

    beta: float = option(
        0.5,
        "Both parameters of the distribution (paper's code: 0.5): below 1 start and end count most, at 1 all "
        "steps the same.",
        search=Search(0.2, 1.0, "ours"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.beta < float("inf"):
            raise ValueError(f"bma.beta must lie above 0, not at {self.beta}.")

    def reset(self) -> None:
        super().reset()
        self.start: Weights = {}  # until the first step
        self.total = 0.0  # of what the weights in the average count

    def begin(self, weights: Mapping[str, Tensor]) -> None:
        self.start = copied(weights)

    def update(self, weights: Mapping[str, Tensor], step: int, max_steps: int) -> None:
        if not self.average:
            if not self.start:
                raise ValueError("bma averages the starting weights too: call begin with them first.")
            self.average, self.start = self.start, {}
            self.total = self._counts(0, max_steps)
        counts = self._counts(step, max_steps)
        self.total += counts
        move(self.average, weights, counts / self.total)
        self.count += 1

    def _counts(self, step: int, max_steps: int) -> float:
        """The density at a step, but for a factor that all share."""
        place = (step + 0.5) / (max_steps + 1)
        return (place * (1 - place)) ** (self.beta - 1)

    def state_dict(self) -> dict[str, Tensor]:
        return {**super().state_dict(), "total": torch.tensor(self.total, dtype=torch.float64)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        self.total, self.start = float(state["total"]), {}
