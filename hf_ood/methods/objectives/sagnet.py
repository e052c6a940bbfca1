"""Style-agnostic networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...options import Search, option
from .base import Objective, Outputs, Sums, features_of, head_of, labels_of
from .functional import at_least_float32, sample_losses
from .weighting import SAMPLES, weighted_mean

LEAST_VARIANCE = 1e-5  # DomainBed


@dataclass
class SagNet(Objective):
    """The mean loss of features in mixed styles, `+ min_s` the mean loss of a second classifier s that sees
    a sample's style on another one's content, `+ weight *` how far s is from guessing: the network descends
    the first and the last, s the second.

    Style is the mean and variance of a feature vector over its channels, content what is left when both are
    taken out. The network's classifier sees the content of sample i in a style between its own and that of a
    random partner, so styles do not help it; s, a linear layer, sees the style of i on its partner's content,
    and the features are to leave it with the same probability for every class. Evaluation changes nothing.

    Reference: Nam et al. 2021, arXiv:1910.11645, in DomainBed's form for features that are vectors (the
    paper's styles are those of the maps of a ResNet's third stage, of which a copy of the later stages is the
    second classifier). Weight and search are DomainBed's. There the three parts take three optimizer steps;
    here all move in one.

    Requirements:
        A model that ends in a linear layer which gives the logits, and two classes or more. A classifier
        trains beside the network; networks divided by FSDP are refused. Partners come from the same
        micro-batch, so another layout of the batch draws others; for those drawn, the loss is exact.

    Relations:
        `MixStyle` mixes styles of maps and has no second classifier; `DANN` hides the environment from one,
        this the class from one that sees styles alone.

    Examples:
        >>> import torch
        >>> from hf_ood.methods.objectives.sagnet import exchange_content, standardized
        >>> features = torch.tensor([[1.0, 2.0, 3.0], [60.0, 50.0, 40.0]])
        >>> exchanged = exchange_content(features, partners=torch.tensor([1, 0]))
        >>> exchanged.round().tolist()  # its own mean and spread, the other's order
        [[3.0, 2.0, 1.0], [40.0, 50.0, 60.0]]
    """

    name: ClassVar[str] = "sagnet"
    equation: ClassVar[str] = (
        r"\frac{1}{n} \sum_i \ell(h(\tilde z_i), y_i) + \min_s \frac{1}{n} \sum_i \ell(s(\bar z_i), y_i) "
        r"- \lambda \frac{1}{n C} \sum_i \sum_c \log \operatorname{softmax}_c s(\bar z_i), \quad "
        r"\tilde z_i = \sigma_{ij} \frac{z_i - \mu_i}{\sigma_i} + \mu_{ij}, \; "
        r"\bar z_i = \sigma_i \frac{z_j - \mu_j}{\sigma_j} + \mu_i"
    )
    citation: ClassVar[str] = """\
@inproceedings{nam2021reducing,
  title = {Reducing Domain Gap by Reducing Style Bias},
  author = {Nam, Hyeonseob and Lee, HyunJae and Park, Jongchan and Yoon, Wonjun and Yoo, Donggeun},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  note = {arXiv:1910.11645},
  year = {2021}
}"""
    linear: ClassVar[bool] = True
    needs_features: ClassVar[bool] = True
    needs_head: ClassVar[bool] = True
    needs_classes: ClassVar[bool] = True

    weight: float = option(
        0.1,
        "Weight of the features' part against the second classifier (paper, DomainBed: 0.1).",
        search=Search(0.01, 10.0, "DomainBed", log=True),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight < 0:
            raise ValueError(f"{self.name}.weight must be 0 or more, not {self.weight:g}.")
        self.style_classifier: nn.Linear | None = None

    def build(self, feature_size: int, num_labels: int, present: Tensor) -> None:
        if num_labels < 2:
            raise ValueError(
                f"{self.name} hides classes from a second classifier, and this model has {num_labels} "
                "output: give it one for each class, or use another method."
            )
        self.style_classifier = nn.Linear(feature_size, num_labels).to(present.device)

    def parameters(self) -> list[nn.Parameter]:
        return [] if self.style_classifier is None else list(self.style_classifier.parameters())

    def partners(self, number: int, device: torch.device) -> Tensor:
        """Each sample's partner, int64 [number]: a random order of the micro-batch."""
        return torch.randperm(number, device=device)

    def sums(self, outputs: Outputs) -> Sums:
        """Raises `RuntimeError` before `build`, `ValueError` for losses that were given."""
        if outputs.given_losses is not None:
            raise ValueError(
                f"{self.name} has the loss of other logits than the network's, so losses of these cannot be "
                "given: use loss= (a SampleLoss) instead."
            )
        features, labels = at_least_float32(features_of(outputs)), labels_of(outputs)
        if self.style_classifier is None:
            raise RuntimeError(
                f"{self.name} has no second classifier yet: call build(feature_size, num_labels, present)."
            )
        shares = torch.rand(len(features), 1, device=features.device).to(features)
        restyled = mix_styles(features, self.partners(len(features), features.device), shares)
        styles = exchange_content(features, self.partners(len(features), features.device))
        weight, bias = (own.to(features) for own in self.parameters())
        losses = outputs.loss(at_least_float32(head_of(outputs)(restyled)), labels)
        style_losses = sample_losses(F.linear(styles.detach(), weight, bias), labels)
        guesses = F.linear(styles, weight.detach(), bias.detach())
        return outputs.added_up(loss=losses, style=style_losses, adversary=-guesses.log_softmax(1).mean(1))

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        risk, style, adversary = (
            weighted_mean(totals, name, SAMPLES) for name in ("loss", "style", "adversary")
        )
        parts = {"style_loss": style, "style_adversary": adversary}
        return risk + style + self.weight * adversary, parts

    def state_dict(self) -> dict[str, Tensor]:
        return {} if self.style_classifier is None else self.style_classifier.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        if self.style_classifier is not None:
            self.style_classifier.load_state_dict(state)


def standardized(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors [B, D] -> their content [B, D], of mean 0 and variance 1 over channels, and their style: that
    mean and variance, [B, 1] each."""
    mean = features.mean(1, keepdim=True)
    centred = features - mean
    # On a CPU torch.var_mean takes longer.
    variance = centred.square().sum(1, keepdim=True) / (features.shape[1] - 1)
    return centred / (variance + LEAST_VARIANCE).sqrt(), mean, variance


def mix_styles(features: Tensor, partners: Tensor, shares: Tensor) -> Tensor:
    """Vectors [B, D] in styles of which `shares` [B, 1] are their own, the rest their `partners'` (int64
    [B]) -> [B, D]."""
    content, mean, variance = standardized(features)
    mean = shares * mean + (1 - shares) * mean[partners]
    variance = shares * variance + (1 - shares) * variance[partners]
    return content * (variance + LEAST_VARIANCE).sqrt() + mean


def exchange_content(features: Tensor, partners: Tensor) -> Tensor:
    """Vectors [B, D] with the content of their `partners` (int64 [B]), through which no gradient goes, in
    their own style -> [B, D]."""
    content, mean, variance = standardized(features)
    return content[partners].detach() * (variance + LEAST_VARIANCE).sqrt() + mean
