"""Conditional value at risk over samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...options import Search, option
from .base import Objective, Outputs, Sums
from .weighting import SAMPLES, weighted_mean


@dataclass
class SampleCVaR(Objective):
    """The mean loss of the worst `share` of the samples, those above a threshold that follows it.

    References: Rockafellar & Uryasev 2000; of samples in deep learning, Levy et al. 2020, arXiv:2010.05893.
    `eta` is their dual variable: after every step it moves by `step_size` times the slope of the objective in
    it, up while more than the share lies above, else down. A batch need not hold the worst samples, so the
    threshold remembers; and given it the objective is a sum over samples, exact in any layout.

    Requirements:
        None: it looks at no environments. Labels that are right, since wrong ones are worst.

    Relations:
        `CVaR` is the same over environments. `Focal` fades fitted samples out smoothly, JTT repeats those
        that a first model got wrong. `share=1` is `ERM`.

    Examples:
        >>> import torch
        >>> from hf_ood import SampleCVaR
        >>> from hf_ood.methods.objectives import Outputs
        >>> logits = torch.zeros(4, 2)
        >>> losses = torch.tensor([0.1, 0.2, 0.6, 1.0])
        >>> outputs = Outputs(logits, None, torch.zeros(4).long(), 1, given_losses=losses)
        >>> objective = SampleCVaR(share=0.5, initial_threshold=0.2)
        >>> loss, parts = objective.loss(objective.sums(outputs), step=0)  # the worse two
        >>> round(loss.item(), 3), parts["worst_share"].item()
        (0.8, 0.5)
    """

    name: ClassVar[str] = "sample_cvar"
    equation: ClassVar[str] = r"\min_\eta \; \eta + \frac{1}{\alpha n} \sum_i \max(\ell_i - \eta, 0)"
    citation: ClassVar[str] = """\
@inproceedings{levy2020large,
  title = {Large-Scale Methods for Distributionally Robust Optimization},
  author = {Levy, Daniel and Carmon, Yair and Duchi, John C. and Sidford, Aaron},
  booktitle = {Advances in Neural Information Processing Systems},
  note = {arXiv:2010.05893},
  year = {2020}
}"""

    share: float = option(
        0.1,
        "Share of the samples, the worst ones, that count (SubpopBench: 0.1; 1: ERM).",
        search=Search(0.01, 1.0, "SubpopBench", log=True),
    )
    step_size: float = option(
        0.01,
        "What the threshold moves per step, times its slope (ours).",
        search=Search(1e-3, 0.1, "ours", log=True),
    )
    initial_threshold: float = option(0.0, "The threshold in the first step: every loss lies above 0.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise ValueError(f"sample_cvar.share must lie in 0..1, without 0, not {self.share}.")
        if self.step_size <= 0:
            raise ValueError(f"sample_cvar.step_size must be positive, not {self.step_size:g}.")
        self._forget()

    def start(self, total_steps: int) -> None:
        super().start(total_steps)
        self._forget()

    def _forget(self) -> None:
        self.threshold = torch.tensor(self.initial_threshold)
        self._used: Tensor | None = None  # in the step that `_used_at` is the progress of
        self._used_at = 0.0

    def sums(self, outputs: Outputs) -> Sums:
        losses = outputs.losses
        # What a step's update has moved holds from the next step on: its samples may be seen once more.
        again = self._used is not None and self._used_at == self.progress
        eta = (self._used if again and self._used is not None else self.threshold).to(losses)
        return outputs.added_up(
            loss=losses,
            threshold=eta.expand_as(losses),
            excess=(losses - eta).clamp_min(0),
            exceeding=(losses > eta).to(losses),
        )

    def update(self, totals: Sums, step: int) -> None:
        slope = 1 - weighted_mean(totals, "exceeding", SAMPLES) / self.share
        self._used, self._used_at = weighted_mean(totals, "threshold", SAMPLES), self.progress
        self.threshold = self._used - self.step_size * slope

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        eta = weighted_mean(totals, "threshold", SAMPLES)
        loss = eta + weighted_mean(totals, "excess", SAMPLES) / self.share
        worst = weighted_mean(totals, "exceeding", SAMPLES)
        return loss, {"risk": weighted_mean(totals, "loss", SAMPLES), "threshold": eta, "worst_share": worst}

    def state_dict(self) -> dict[str, Tensor]:
        return {"threshold": self.threshold}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.threshold, self._used = state["threshold"].clone(), None
