"""Gradient matching between environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...options import Search, option
from .base import Direction, Update, Window


@dataclass
class Fish(Update):
    """One optimizer step on each environment in turn, in random order, then a part of the way they led.

    Reference: Shi et al. 2022, arXiv:2104.09937, algorithm 1: in expectation this follows the inner products
    of the environments' gradients. The inner steps are the trainer's optimizer's, at its learning rate; its
    moments go on from step to step and are saved with the checkpoint (DomainBed's inner Adam does so, its
    checkpoints do not hold it). The loss that is logged is the mean of those met on the way.

    Requirements:
        Two environments in the training data; the objective `ERM` or `SD`.

    Relations:
        `IGA` penalises differences of the environments' gradients exactly, this follows their inner products
        to first order. `MLDG` also takes a step on some environments, and asks what it does to the others.

    Examples:
        >>> from hf_ood import Fish, LinearConfig, LinearForImageClassification, OODConfig, OODTrainer
        >>> from hf_ood.data import linear_unit_test_tensors
        >>> data = linear_unit_test_tensors("example_2", samples=100)
        >>> model = LinearForImageClassification(LinearConfig(num_features=10))
        >>> args = OODConfig("run", max_steps=3, save_strategy="no", use_cpu=True, disable_tqdm=True)
        >>> trainer = OODTrainer(model, args, update=Fish(meta_lr=0.5), train_dataset=data["train"])
        >>> result = trainer.train()
        {'train_runtime': ...}
        >>> result.global_step
        3
    """

    name: ClassVar[str] = "fish"
    equation: ClassVar[str] = (
        r"\tilde\theta \leftarrow \tilde\theta - \alpha \nabla R_e(\tilde\theta) \;\text{for each } e, \quad "
        r"\theta \leftarrow \theta + \epsilon (\tilde\theta - \theta)"
    )
    citation: ClassVar[str] = """\
@inproceedings{shi2022gradient,
  title = {Gradient Matching for Domain Generalization},
  author = {Shi, Yuge and Seely, Jeffrey and Torr, Philip H. S. and Siddharth, N. and Hannun, Awni
            and Usunier, Nicolas and Synnaeve, Gabriel},
  booktitle = {International Conference on Learning Representations},
  note = {arXiv:2104.09937},
  year = {2022}
}"""
    by_environment: ClassVar[bool] = True
    min_environments: ClassVar[int] = 2

    meta_lr: float = option(
        0.5,
        "Part of the way of the inner steps that is taken (DomainBed: 0.5; the authors' code divides its "
        "own by the number of inner steps).",
        search=Search(0.05, 0.5, "DomainBed: 0.05, 0.1 or 0.5", log=True),
    )

    def __post_init__(self) -> None:
        if not 0 < self.meta_lr <= 1:
            raise ValueError(f"fish.meta_lr must lie in 0..1, without 0, not {self.meta_lr}.")
        self._starts: list[tuple[nn.Parameter, Tensor]] = []

    def __call__(self, window: Window) -> Direction:
        self._starts = [(parameter, parameter.detach().clone()) for parameter in window.parameters]
        present = window.environments
        order = torch.randperm(len(present), generator=window.generator).tolist()
        losses = []
        for place in order[:-1]:
            slope = window.slope(present[place])
            window.optimizer_step(slope.gradient)
            losses.append(slope.loss)
        last = window.slope(present[order[-1]])  # the trainer makes the last inner step
        return Direction(torch.stack([*losses, last.loss]).mean(), last.gradient, {})

    @torch.no_grad()
    def after_step(self) -> None:
        for parameter, start in self._starts:
            parameter.copy_(start.lerp(parameter, self.meta_lr))
        self._starts = []
