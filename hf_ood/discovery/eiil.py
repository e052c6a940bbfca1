"""EIIL: the two environments between which a reference model is least invariant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..methods.losses import loss_for
from ..options import option
from .base import EnvironmentInference, Reference


@dataclass
class EIIL(EnvironmentInference):
    """Environment inference for invariant learning: split the samples so that the IRM penalty of a fixed
    reference model is largest.

    The reference should lean on the shortcut, as plain ERM does: the environments then are where the shortcut
    holds and where it fails. Source: Creager, Jacobsen & Zemel 2021, arXiv:2010.07249.

    Requirements:
        A reference model that leans on the shortcut, such as a briefly trained ERM model, and its logits on
        the training samples.

    Relations:
        Its environments are made for `IRM`, and serve every other method that compares environments.
        `KMeansEnvironments` looks at features and needs no shortcut in the predictions; `RandomEnvironments`
        is the control.

    Examples:
        >>> import torch
        >>> from hf_ood import EIIL
        >>> from hf_ood.discovery import Reference
        >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
        >>> labels = torch.tensor([0, 1, 1, 0])  # the second and the fourth guess are wrong
        >>> EIIL(steps=0).infer(Reference(logits, labels), seed=0).tolist()
        [0, 1, 0, 1]
    """

    steps: int = option(10_000, "Adam steps on the assignment (paper's code: 10000); 0: the exact maximum.")
    learning_rate: float = option(0.001, "Adam's learning rate (paper's code: 0.001).")

    name: ClassVar[str] = "eiil"
    equation: ClassVar[str] = (
        r"\max_{q \in [0, 1]^N} \frac{1}{2} \left[ \left( \frac{1}{N} \sum_i q_i s_i \right)^2 + "
        r"\left( \frac{1}{N} \sum_i (1 - q_i) s_i \right)^2 \right], \quad "
        r"s_i = \left. \frac{d \ell(w \cdot f(x_i), y_i)}{d w} \right|_{w = 1}"
    )
    citation: ClassVar[str] = """\
@inproceedings{creager2021environment,
  title = {Environment Inference for Invariant Learning},
  author = {Creager, Elliot and Jacobsen, J{\\"o}rn-Henrik and Zemel, Richard},
  booktitle = {International Conference on Machine Learning},
  note = {arXiv:2010.07249},
  year = {2021}
}"""

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"eiil.steps must be 0 or more, not {self.steps}.")

    @property
    def number(self) -> int:
        return 2

    def infer(self, reference: Reference, seed: int) -> Tensor:
        """Environment 1: the samples whose loss falls when the logits shrink; in it the reference fails."""
        loss = loss_for(reference.labels, reference.logits.shape[1])
        slopes = loss.slopes(reference.logits.detach(), reference.labels)
        if self.steps == 0:
            return (slopes > 0).long()
        start = torch.randn(len(slopes), generator=torch.Generator().manual_seed(seed))
        found = maximise(slopes, start.to(slopes), self.steps, self.learning_rate) > 0
        # The objective does not tell the two environments apart: they are put in order.
        swapped = (slopes * found).sum() < (slopes * ~found).sum()
        return (found ^ swapped).long()


def eiil_penalty(slopes: Tensor, assignment: Tensor) -> Tensor:
    """IRM's penalty under a soft assignment, mean over the two environments -> [].

    `slopes` [N]: each sample's `functional.sample_slopes`; `assignment` [N]: its share, 0..1, in the first
    environment. As in the paper, an environment's slope is a sum over all N samples divided by N:
    `((mean_i q_i s_i)^2 + (mean_i (1 - q_i) s_i)^2) / 2`.

    It is convex in the assignment, so hard assignments maximise it; the best of them is `q_i = [s_i > 0]`, or
    its opposite, which is worth the same.
    """
    first = (assignment * slopes).mean()
    return (first.square() + (slopes.mean() - first).square()) / 2


def maximise(slopes: Tensor, scores: Tensor, steps: int, learning_rate: float) -> Tensor:
    """Adam ascent of `eiil_penalty` in the assignment `sigmoid(scores)`, from `scores` [N] -> new scores."""
    scores = scores.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([scores], lr=learning_rate, maximize=True)
    with torch.enable_grad():
        for _ in range(steps):
            optimizer.zero_grad()
            eiil_penalty(slopes, scores.sigmoid()).backward()
            optimizer.step()
    return scores.detach()
