"""Sharpness-aware minimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ...options import Search, option
from .base import Direction, Update, Window


@dataclass
class SAM(Update):
    """The gradient at the worst weights nearby: `grad L(w + rho * g / ||g||)` with `g = grad L(w)`.

    Reference: Foret et al. 2021, arXiv:2010.01412, algorithm 1; L is the objective, whichever it is. A step
    costs two. The perturbation follows the gradient of the whole batch, not of each process's part of it as
    in the paper's code. What lives between steps (an objective's moving averages, batch statistics) moves
    at w only; dropout is the same at both points.

    Requirements:
        Any objective without networks of its own. A step costs two; networks divided by FSDP are refused.

    Relations:
        `SWA` and `SWAD` look for flat minima by averaging weights, at no cost. It goes with any objective,
        also with environments: `vrex+sam`.

    Examples:
        >>> from hf_ood import SAM, LinearConfig, LinearForImageClassification, OODConfig, OODTrainer
        >>> from hf_ood.data import linear_unit_test_tensors
        >>> data = linear_unit_test_tensors("example_2", samples=100)
        >>> model = LinearForImageClassification(LinearConfig(num_features=10))
        >>> args = OODConfig("run", max_steps=3, save_strategy="no", use_cpu=True, disable_tqdm=True)
        >>> trainer = OODTrainer(model, args, update=SAM(rho=0.05), train_dataset=data["train"])
        >>> result = trainer.train()
        {'train_runtime': ...}
        >>> result.global_step
        3
    """

    name: ClassVar[str] = "sam"
    equation: ClassVar[str] = (
        r"\min_\theta \max_{\lVert \epsilon \rVert \le \rho} L(\theta + \epsilon), \quad "
        r"\epsilon \approx \rho \, \nabla L(\theta) / \lVert \nabla L(\theta) \rVert"
    )
    citation: ClassVar[str] = """\
@inproceedings{foret2021sharpness,
  title = {Sharpness-Aware Minimization for Efficiently Improving Generalization},
  author = {Foret, Pierre and Kleiner, Ariel and Mobahi, Hossein and Neyshabur, Behnam},
  booktitle = {International Conference on Learning Representations},
  note = {arXiv:2010.01412},
  year = {2021}
}"""

    rho: float = option(
        0.05,
        "How far away the worst weights are sought (paper: 0.05).",
        search=Search(0.01, 0.1, "SWAD's code: 0.01, 0.02, 0.05 or 0.1", log=True),
    )

    def __post_init__(self) -> None:
        if not self.rho >= 0:
            raise ValueError(f"sam.rho must not be negative, but is {self.rho}.")

    def __call__(self, window: Window) -> Direction:
        here = window.slope()
        norm = torch.stack([gradient.norm() for gradient in here.gradient]).norm()
        start = [parameter.detach().clone() for parameter in window.parameters]
        with torch.no_grad():
            for parameter, gradient in zip(window.parameters, here.gradient, strict=True):
                parameter.add_(gradient * (self.rho / (norm + 1e-12)))
        there = window.slope()
        with torch.no_grad():
            for parameter, value in zip(window.parameters, start, strict=True):
                parameter.copy_(value)
        return Direction(here.loss, there.gradient, {"sharpness": there.loss - here.loss})
