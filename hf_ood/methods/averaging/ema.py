"""Exponential moving average of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...options import Search, option
from .base import Averaging, copied, move


@dataclass
class EMA(Averaging):
    """The exponential moving average of the weights after every optimizer step.

    Reference: Polyak & Juditsky 1992, in the exponential form that Tarvainen & Valpola 2017,
    arXiv:1703.01780, brought to networks. Evaluations and checkpoints are of the average.

    Requirements:
        None. Networks divided by FSDP are refused.

    Relations:
        `SWA` and `SWAD` are means over one part of the training, this one forgets gradually and is there at
        every evaluation.

    Examples:
        >>> import torch
        >>> from hf_ood import EMA
        >>> average = EMA(decay=0.9, warmup=False)
        >>> for step, weight in enumerate([0.0, 1.0, 1.0], start=1):
        ...     average.update({"w": torch.tensor(weight)}, step, max_steps=3)
        >>> round(average.final["w"].item(), 3)
        0.19
    """

    name: ClassVar[str] = "ema"
    equation: ClassVar[str] = r"\bar\theta_t = \beta \, \bar\theta_{t-1} + (1 - \beta) \, \theta_t"
    citation: ClassVar[str] = """\
@inproceedings{tarvainen2017mean,
  title = {Mean teachers are better role models: Weight-averaged consistency targets improve
           semi-supervised deep learning results},
  author = {Tarvainen, Antti and Valpola, Harri},
  booktitle = {Advances in Neural Information Processing Systems},
  note = {arXiv:1703.01780},
  year = {2017}
}"""

    decay: float = option(
        0.999,
        "Share of the past in the average (Tarvainen & Valpola: 0.999).",
        search=Search(0.99, 0.999, "Tarvainen & Valpola: early and late in training"),
    )
    warmup: bool = option(
        True,
        "Let the decay rise to its value as (1 + t) / (10 + t) over steps t, as TensorFlow's averages: the "
        "start is forgotten.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.decay < 1:
            raise ValueError(f"ema.decay must lie in 0..1, without 1, not {self.decay}.")

    def update(self, weights: Mapping[str, Tensor], step: int, max_steps: int) -> None:
        if self.average:
            rising = (1 + self.count) / (10 + self.count)
            move(self.average, weights, 1 - (min(self.decay, rising) if self.warmup else self.decay))
        else:
            self.average = copied(weights)
        self.count += 1
