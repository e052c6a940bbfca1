"""Inter-environmental gradient alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ...options import Search, option
from .base import Direction, Update, Window, environment_slopes, mean_gradient


@dataclass
class IGA(Update):
    """`mean_e R_e + weight * mean_e ||g_e - mean g||^2`, g_e the gradient of R_e in all weights.

    Reference: Koyama & Yamaguchi 2020, arXiv:2008.01883: the penalty is the trace of the gradients' variance
    over environments. Its gradient is exact, `2 mean_e H_e (g_e - mean g)`, from one Hessian-vector product
    an environment: two passes over the batch, the second differentiated twice. (The mean's own part drops
    out, the deviations sum to 0.) The weight is DomainBed's, whose penalty is a sum over environments, not
    a mean. Attention kernels that cannot be differentiated twice raise PyTorch's error; load the model with
    attn_implementation="eager".

    Requirements:
        Two environments in the training data; the objective `ERM` or `SD`; a network that can be
        differentiated twice, so no `torch.compile`.

    Relations:
        `Fishr` compares variances of gradients, in the head alone and in closed form. `Fish` is the
        first-order way to gradients that agree.

    Examples:
        >>> from hf_ood import IGA, LinearConfig, LinearForImageClassification, OODConfig, OODTrainer
        >>> from hf_ood.data import linear_unit_test_tensors
        >>> data = linear_unit_test_tensors("example_2", samples=100)
        >>> model = LinearForImageClassification(LinearConfig(num_features=10))
        >>> args = OODConfig("run", max_steps=3, save_strategy="no", use_cpu=True, disable_tqdm=True)
        >>> trainer = OODTrainer(model, args, update=IGA(penalty_weight=100.0), train_dataset=data["train"])
        >>> result = trainer.train()
        {'train_runtime': ...}
        >>> result.global_step
        3
    """

    name: ClassVar[str] = "iga"
    equation: ClassVar[str] = (
        r"\frac{1}{E} \sum_e R_e + \lambda \, \frac{1}{E} \sum_e \left\lVert \nabla R_e "
        r"- \tfrac{1}{E} \sum_f \nabla R_f \right\rVert^2"
    )
    citation: ClassVar[str] = """\
@misc{koyama2020out,
  title = {When is Invariance Useful in an Out-of-Distribution Generalization Problem?},
  author = {Koyama, Masanori and Yamaguchi, Shoichiro},
  note = {arXiv:2008.01883},
  year = {2020}
}"""
    by_environment: ClassVar[bool] = True
    differentiates_gradients: ClassVar[bool] = True
    min_environments: ClassVar[int] = 2

    penalty_weight: float = option(
        1000.0,
        "Weight of the gradients' variance (DomainBed: 1000, of a sum over environments).",
        search=Search(10.0, 1e5, "DomainBed", log=True),
    )

    def __call__(self, window: Window) -> Direction:
        losses, gradients = environment_slopes(window)
        risk, total = losses.mean(), mean_gradient(gradients)
        deviations = [
            [part - mean for part, mean in zip(gradient, total, strict=True)] for gradient in gradients
        ]
        number = len(deviations)
        penalty = torch.stack([part.square().sum() for own in deviations for part in own]).sum() / number
        for environment, deviation in zip(window.environments, deviations, strict=True):
            bent = window.curvature(environment, deviation)
            total = [
                part + self.penalty_weight * 2 / number * bend for part, bend in zip(total, bent, strict=True)
            ]
        return Direction(risk + self.penalty_weight * penalty, total, {"risk": risk, "iga_penalty": penalty})
