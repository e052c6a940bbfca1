"""Meta-learning for domain generalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ...options import Search, option
from .base import Direction, Gradient, Slope, Update, Window, mean_gradient


@dataclass
class MLDG(Update):
    """Learn on some environments so that it also helps on the held-out others, drawn afresh in every step.

    Reference: Li et al. 2018, arXiv:1710.03463, algorithm 1, first order: `grad F(w) + beta * grad G(w')`, F
    the mean risk of the environments kept, G that of the `held_out` ones, w' the weights after an inner step
    on F (DomainBed takes one for each kept environment apart). As there the inner step is the first one of a
    fresh Adam at the trainer's learning rate: every weight moves by it. At least one environment is kept
    (DomainBed holds out 2, and of two environments learns nothing). With fewer than two in the batch it is
    ERM.

    Requirements:
        Two environments in the training data, better three; the objective `ERM` or `SD`.

    Relations:
        To first order in the inner step it follows inner products of gradients, as `Fish` does.

    Examples:
        >>> from hf_ood import MLDG, LinearConfig, LinearForImageClassification, OODConfig, OODTrainer
        >>> from hf_ood.data import linear_unit_test_tensors
        >>> data = linear_unit_test_tensors("example_2", samples=100)
        >>> model = LinearForImageClassification(LinearConfig(num_features=10))
        >>> args = OODConfig("run", max_steps=3, save_strategy="no", use_cpu=True, disable_tqdm=True)
        >>> trainer = OODTrainer(model, args, update=MLDG(beta=1.0), train_dataset=data["train"])
        >>> result = trainer.train()
        {'train_runtime': ...}
        >>> result.global_step
        3
    """

    name: ClassVar[str] = "mldg"
    equation: ClassVar[str] = (
        r"F(\theta) + \beta \, G(\theta - \alpha \nabla F(\theta)), \quad F, G \text{ the mean risks of the "
        r"environments kept and held out}"
    )
    citation: ClassVar[str] = """\
@inproceedings{li2018learning,
  title = {Learning to Generalize: Meta-Learning for Domain Generalization},
  author = {Li, Da and Yang, Yongxin and Song, Yi-Zhe and Hospedales, Timothy M.},
  booktitle = {AAAI Conference on Artificial Intelligence},
  note = {arXiv:1710.03463},
  year = {2018}
}"""
    by_environment: ClassVar[bool] = True
    min_environments: ClassVar[int] = 2

    beta: float = option(
        1.0,
        "Weight of the held-out environments' risk (DomainBed: 1).",
        search=Search(0.1, 10.0, "DomainBed", log=True),
    )
    held_out: int = option(
        1,
        "Environments held out in a step (DomainBed: 2; its sweeps: 1 or 2).",
        search=Search(1, 2, "DomainBed"),
    )

    def __post_init__(self) -> None:
        if self.held_out < 1:
            raise ValueError(f"mldg.held_out must be at least 1, not {self.held_out}.")

    def __call__(self, window: Window) -> Direction:
        present = window.environments
        order = torch.randperm(len(present), generator=window.generator).tolist()
        shuffled = [present[place] for place in order]
        kept = max(len(shuffled) - self.held_out, 1)
        train = _mean_slope(window, shuffled[:kept])
        if kept == len(shuffled):
            return Direction(train.loss, train.gradient, {})
        start = [parameter.detach().clone() for parameter in window.parameters]
        with torch.no_grad():
            for parameter, gradient in zip(window.parameters, train.gradient, strict=True):
                parameter.sub_(window.learning_rate * gradient / (gradient.abs() + 1e-8))
        test = _mean_slope(window, shuffled[kept:])
        with torch.no_grad():
            for parameter, value in zip(window.parameters, start, strict=True):
                parameter.copy_(value)
        gradient_of_both: Gradient = [
            kept_part + self.beta * held_part
            for kept_part, held_part in zip(train.gradient, test.gradient, strict=True)
        ]
        loss = train.loss + self.beta * test.loss
        return Direction(loss, gradient_of_both, {"risk": train.loss, "held_out_risk": test.loss})


def _mean_slope(window: Window, environments: list[int]) -> Slope:
    """The mean over some environments where the weights are."""
    slopes = [window.slope(environment) for environment in environments]
    loss = torch.stack([slope.loss for slope in slopes]).mean()
    return Slope(loss, mean_gradient([slope.gradient for slope in slopes]))
