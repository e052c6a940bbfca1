"""Mixing the style of feature maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...options import Search, option
from .base import FeatureTransform, Head


def style(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over a map's cells: [B, C, H, W] -> [B, C, 1, 1] twice."""
    variance, mean = torch.var_mean(features, dim=(2, 3), keepdim=True)
    return mean, (variance + 1e-6).sqrt()


@dataclass
class MixStyle(FeatureTransform):
    """Gives every sample a style between its own and that of a random sample of the batch.

    Reference: Zhou et al. 2021, arXiv:2104.02008, in the variant that shuffles the whole batch. Style is the
    mean and deviation of each channel; no gradient passes through it. The paper acts after early layers,
    and advises against the last; here it acts where every feature transform does, between features and
    head, so on a LeNet after the second convolution, but on a deep network late, unless `feature_layer`
    names an early one. It needs maps [B, C, H, W] of more than one cell.

    Requirements:
        Feature maps [B, C, H, W] of more than one cell, so a convolutional network.

    Relations:
        `Mixup` and `LISA` mix inputs and labels, this mixes the statistics of features and keeps the labels.
        `RandomColor` varies the colours of the images themselves.

    Examples:
        >>> import torch
        >>> from hf_ood.methods.masking.mixstyle import restyle, style
        >>> bright, dark = torch.rand(2, 1, 4, 4) + torch.tensor([5.0, 0.0]).view(2, 1, 1, 1)
        >>> maps = torch.stack([bright, dark])
        >>> swapped = restyle(maps, partners=torch.tensor([1, 0]), shares=torch.zeros(2, 1, 1, 1))
        >>> bool(torch.allclose(style(swapped)[0], style(maps)[0].flip(0), atol=1e-4))
        True
    """

    name: ClassVar[str] = "mixstyle"
    equation: ClassVar[str] = (
        r"\tilde z_i = (\lambda \sigma_i + (1 - \lambda) \sigma_j) \frac{z_i - \mu_i}{\sigma_i} + "
        r"\lambda \mu_i + (1 - \lambda) \mu_j"
    )
    citation: ClassVar[str] = """\
@inproceedings{zhou2021domain,
  title = {Domain Generalization with {MixStyle}},
  author = {Zhou, Kaiyang and Yang, Yongxin and Qiao, Yu and Xiang, Tao},
  booktitle = {International Conference on Learning Representations},
  note = {arXiv:2104.02008},
  year = {2021}
}"""

    p: float = option(0.5, "Probability that a batch is mixed at all (paper: 0.5).")
    alpha: float = option(
        0.1,
        "Both parameters of the Beta distribution of the shares (paper: 0.1).",
        search=Search(0.1, 0.3, "the authors' two codes", log=True),
    )

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"mixstyle.p must lie in 0..1, not {self.p}.")
        if self.alpha <= 0:
            raise ValueError(f"mixstyle.alpha must be positive, not {self.alpha}.")

    def __call__(
        self, features: Tensor, head: Head, labels: Tensor | None, places: Tensor | None = None
    ) -> Tensor:
        if features.dim() != 4 or features[0, 0].numel() < 2:
            raise ValueError(
                "mixstyle mixes statistics of feature maps [B, C, H, W]; this model's features are "
                f"{list(features.shape)}. Use a convolutional model such as lenet, or leave mixstyle out."
            )
        if torch.rand(()) >= self.p:
            return features
        shares = torch.distributions.Beta(self.alpha, self.alpha).sample((len(features), 1, 1, 1))
        return restyle(features, torch.randperm(len(features), device=features.device), shares.to(features))


def restyle(features: Tensor, partners: Tensor, shares: Tensor) -> Tensor:
    """`features` [B, C, H, W] in styles of which `shares` [B, 1, 1, 1] are their own, the rest their
    `partners'` (int64 [B])."""
    mean, deviation = style(features.detach())
    mixed_mean = shares * mean + (1 - shares) * mean[partners]
    mixed_deviation = shares * deviation + (1 - shares) * deviation[partners]
    return (features - mean) / deviation * mixed_deviation + mixed_mean
