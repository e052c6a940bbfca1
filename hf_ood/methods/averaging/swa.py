"""Stochastic weight averaging."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...options import Search, option
from .base import Averaging, copied, move


@dataclass
class SWA(Averaging):
    """The mean of the weights over the last part of the training.

    Reference: Izmailov et al. 2018, arXiv:1803.05407; the learning rate is the trainer's (constant by
    default, as theirs is in the end). Statistics of BatchNorm are averaged along, where the paper measures
    them again. The mean of the whole last part is what the training ends with, so no checkpoint is chosen.

    Requirements:
        None. Networks divided by FSDP are refused.

    Relations:
        `SWAD` chooses the part of the training by the validation loss, `EMA` forgets gradually. `interpolate`
        (WiSE-FT) averages two networks, the one before fine-tuning and the one after.

    Examples:
        >>> import torch
        >>> from hf_ood import SWA
        >>> average = SWA(start=0.5)
        >>> for step, weight in enumerate([0.0, 1.0, 2.0, 4.0], start=1):
        ...     average.update({"w": torch.tensor(weight)}, step, max_steps=4)
        >>> average.final["w"].item()  # the mean of 2 and 4
        3.0
    """

    name: ClassVar[str] = "swa"
    equation: ClassVar[str] = r"\bar\theta = \frac{1}{n} \sum_{k=0}^{n-1} \theta_{t_0 + k c}"
    citation: ClassVar[str] = """\
@inproceedings{izmailov2018averaging,
  title = {Averaging Weights Leads to Wider Optima and Better Generalization},
  author = {Izmailov, Pavel and Podoprikhin, Dmitrii and Garipov, Timur and Vetrov, Dmitry and
            Wilson, Andrew Gordon},
  booktitle = {Conference on Uncertainty in Artificial Intelligence},
  note = {arXiv:1803.05407},
  year = {2018}
}"""
    selection: ClassVar[str] = "mean of weights (swa)"

    start: float = option(
        0.75,
        "Share of the training after which weights are averaged (paper: 0.75).",
        search=Search(0.5, 0.9, "ours"),
    )
    every: int = option(1, "Optimizer steps from one averaged weight to the next (paper: those of an epoch).")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.start < 1:
            raise ValueError(f"swa.start must lie in 0..1, without 1, not {self.start}.")
        if self.every < 1:
            raise ValueError(f"swa.every must be at least 1, not {self.every}.")

    def update(self, weights: Mapping[str, Tensor], step: int, max_steps: int) -> None:
        since_start = step - 1 - int(self.start * max_steps)
        if since_start < 0 or since_start % self.every:
            return
        self.count += 1
        if self.average:
            move(self.average, weights, 1 / self.count)
        else:
            self.average = copied(weights)
