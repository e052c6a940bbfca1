"""Domain-adversarial training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...options import Search, option
from .base import Objective, Outputs, Sums, features_of, labels_of
from .discriminator import Discriminator, ReverseGradient, rising_strength
from .functional import environment_means, environment_sums, mean_over_present, sample_losses
from .weighting import SAMPLES, check_weighting, weighted_mean

SCHEDULES = ("rising", "constant")


@dataclass
class DANN(Objective):
    """The mean loss `+ mean_e D_e`, D_e the risk of a discriminator that guesses e from features; it
    descends, and through the reversed gradient the features ascend, `weight` times a strength that rises over
    the training.

    Reference: Ganin et al. 2016, arXiv:1505.07818. Size of the discriminator, weight and learning rates are
    DomainBed's, which uses Adam with betas of 0.5 and 0.9 (`--adam_beta1`, `--adam_beta2`) and no decay of
    the discriminator's weights, as here. Both players move in every step, as in the paper; with
    `discriminator_steps` they take turns, as in DomainBed, and the player that rests has no gradient, so its
    moments do not carry it on. The mean loss is over samples, as in the paper and in DomainBed, or with
    `weighting="environments"` over environments of their risks.

    `gradient_penalty` weighs the squared norm of the gradient that a sample's guess has in its features, mean
    over samples, as DomainBed's `grad_penalty`: it is part of what the discriminator descends and, reversed,
    the features ascend.

    Requirements:
        Two environments in the training data and a model that ends in a linear layer. A discriminator trains
        beside the network; networks divided by FSDP are refused.

    Relations:
        `CDANN` hides the environment within each class, `CORAL` and `MMD` align features without a second
        network and without its instability.

    Examples:
        >>> import torch
        >>> from hf_ood import DANN
        >>> from hf_ood.methods.objectives import Outputs
        >>> objective = DANN(width=8, schedule="constant")
        >>> objective.build(feature_size=2, num_labels=2, present=torch.tensor([True, True]))
        >>> features = torch.randn(6, 2, requires_grad=True)
        >>> where = torch.tensor([0, 1] * 3)
        >>> outputs = Outputs(features, torch.tensor([0, 1] * 3), where, 2, features)
        >>> loss, parts = objective.loss(objective.sums(outputs), step=0)
        >>> loss.backward()  # into the features, reversed, and into the discriminator
        >>> all(parameter.grad is not None for parameter in objective.parameters())
        True
    """

    name: ClassVar[str] = "dann"
    equation: ClassVar[str] = (
        r"\frac{1}{n} \sum_i \ell_i - \lambda \min_d \frac{1}{E} \sum_e "
        r"\operatorname{mean}_{i \in e} \left( -\log d_e(z_i) \right)"
    )
    citation: ClassVar[str] = """\
@article{ganin2016domain,
  title = {Domain-Adversarial Training of Neural Networks},
  author = {Ganin, Yaroslav and Ustinova, Evgeniya and Ajakan, Hana and Germain, Pascal
            and Larochelle, Hugo and Laviolette, Fran{\\c{c}}ois and Marchand, Mario and Lempitsky, Victor},
  journal = {Journal of Machine Learning Research},
  volume = {17},
  note = {arXiv:1505.07818},
  year = {2016}
}"""
    linear: ClassVar[bool] = True
    needs_features: ClassVar[bool] = True
    moves_features: ClassVar[bool] = True
    min_environments: ClassVar[int] = 2
    conditional: ClassVar[bool] = False
    """Whether the discriminator knows a sample's class."""

    weight: float = option(
        1.0,
        "Weight of the reversed gradient at full strength (DomainBed: 1).",
        search=Search(0.01, 100.0, "DomainBed", log=True),
    )
    schedule: str = option(
        "rising",
        "Strength of the reversal over the training's progress p: rising (2 / (1 + exp(-10 p)) - 1, as the "
        "paper) | constant (1, as DomainBed).",
    )
    width: int = option(
        256, "Width of the discriminator (DomainBed: 256).", search=Search(64, 1024, "DomainBed", log=True)
    )
    depth: int = option(
        3, "Linear layers of the discriminator, at least 2 (DomainBed: 3).", search=Search(3, 5, "DomainBed")
    )
    dropout: float = option(
        0.0,
        "Dropout in the discriminator (DomainBed: 0).",
        search=Search(0.0, 0.5, "DomainBed: 0, 0.1 or 0.5"),
    )
    learning_rate_factor: float = option(
        1.0,
        "The discriminator's learning rate, in multiples of the network's (DomainBed: 1).",
        search=Search(0.1, 10.0, "ours; DomainBed draws both rates apart, from two decades", log=True),
    )
    discriminator_steps: int = option(
        0,
        "Steps of the discriminator alone before each of the network alone, all counted (DomainBed: 1); 0: "
        "both move in every step.",
        search=Search(0, 7, "DomainBed: 1 to 7; 0 is ours"),
    )

    gradient_penalty: float = option(
        0.0,
        "Weight of the squared norm of the gradient of a sample's discriminator loss in its features "
        "(DomainBed: 0).",
        search=Search(0.0, 10.0, "DomainBed: 0.01 to 10, in the logarithm; 0 is its default"),
    )
    weighting: str = option(
        SAMPLES,
        "What weighs the same in the classifier's mean loss: samples (paper, DomainBed) | environments.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weighting(f"{self.name}.weighting", self.weighting)
        if self.discriminator_steps < 0:
            raise ValueError(
                f"{self.name}.discriminator_steps must be 0 or more, not {self.discriminator_steps}."
            )
        if self.schedule not in SCHEDULES:
            raise ValueError(
                f"{self.name}.schedule must be one of {', '.join(SCHEDULES)}, not {self.schedule!r}."
            )
        if self.depth < 2:
            raise ValueError(f"{self.name}.depth must be at least 2, not {self.depth}.")
        self.discriminator: Discriminator | None = None

    def build(self, feature_size: int, num_labels: int, present: Tensor) -> None:
        self.discriminator = Discriminator(
            feature_size,
            present,
            width=self.width,
            depth=self.depth,
            dropout=self.dropout,
            num_labels=num_labels if self.conditional else None,
        ).to(present.device)

    def parameters(self) -> list[nn.Parameter]:
        return [] if self.discriminator is None else list(self.discriminator.parameters())

    def learning_rate(self, main: float) -> float:
        return self.learning_rate_factor * main

    def players(self, step: int) -> tuple[bool, bool]:
        if not self.discriminator_steps:
            return True, True
        network = step % (self.discriminator_steps + 1) == self.discriminator_steps
        return network, not network

    def strength(self) -> float:
        """What the gradient of the discriminator's risk in the features is multiplied by, reversed."""
        return self.weight * (rising_strength(self.progress) if self.schedule == "rising" else 1.0)

    def seen_features(self, outputs: Outputs) -> Tensor:
        """The features [B, D] as the discriminator sees them: their gradient comes back reversed.

        Where nothing is to come back they require gradients too, for the gradient penalty.
        """
        features = features_of(outputs)
        if features.requires_grad and torch.is_grad_enabled():
            return ReverseGradient.apply(features, self.strength())
        return features.detach().requires_grad_()

    def discriminator_losses(self, outputs: Outputs, seen: Tensor) -> Tensor:
        """Cross-entropy of each sample's environment, guessed from the `seen_features` [B, D] -> [B].

        Raises `RuntimeError` before `build`.
        """
        if self.discriminator is None:
            raise RuntimeError(
                f"{self.name} has no discriminator yet: call build(feature_size, num_labels, present)."
            )
        labels = labels_of(outputs) if self.conditional else None
        return sample_losses(self.discriminator(seen, labels), outputs.environments)

    def sums(self, outputs: Outputs) -> Sums:
        seen = self.seen_features(outputs)
        where = (outputs.environments, outputs.num_environments)
        if not self.gradient_penalty:
            losses = self.discriminator_losses(outputs, seen)
            return super().sums(outputs) | self.discriminator_sums(outputs, losses)
        with torch.enable_grad():
            losses = self.discriminator_losses(outputs, seen)
            (gradients,) = torch.autograd.grad(losses.sum(), seen, create_graph=True)
        norms = {"gradient_norms": environment_sums(gradients.square().sum(1), *where)}
        return super().sums(outputs) | self.discriminator_sums(outputs, losses) | norms

    def discriminator_sums(self, outputs: Outputs, losses: Tensor) -> Sums:
        """What the samples' discriminator losses [B] add up to."""
        return {"discriminator": environment_sums(losses, outputs.environments, outputs.num_environments)}

    def discriminator_risk(self, totals: Sums) -> Tensor:
        """Mean over environments of the discriminator's risk in each -> []."""
        return mean_over_present(environment_means(totals["discriminator"], totals["count"]), totals["count"])

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        discriminator = self.discriminator_risk(totals)
        loss = weighted_mean(totals, "loss", self.weighting) + discriminator
        parts = {"discriminator_loss": discriminator}
        if self.gradient_penalty:
            norm = weighted_mean(totals, "gradient_norms", SAMPLES)
            loss, parts = loss + self.gradient_penalty * norm, {**parts, "discriminator_gradient": norm}
        return loss, parts

    def state_dict(self) -> dict[str, Tensor]:
        return {} if self.discriminator is None else self.discriminator.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        if self.discriminator is not None:
            self.discriminator.load_state_dict(state)
