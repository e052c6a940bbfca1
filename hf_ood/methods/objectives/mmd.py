"""Maximum mean discrepancy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...options import Search, option
from .base import Outputs, Sums, features_of
from .fourier import GAMMAS, fourier_features, mean_pair_distance, orthogonal_frequencies
from .functional import environment_sums, mmd_penalty
from .penalty import PenaltyObjective

FEATURES, EXACT = KERNELS = ("features", "exact")


@dataclass
class MMD(PenaltyObjective):
    """`mean_e R_e + weight * mean over pairs of MMD^2(features of e, features of f)`.

    References: Gretton et al. 2012; over environments, Li et al. 2018, "Domain generalization with
    adversarial feature learning", here without its adversary; the weight is DomainBed's. By default a kernel
    is the inner product of random Fourier features, drawn once (Rahimi & Recht 2007; orthogonal: Yu et al.
    2016, arXiv:1610.09072): a discrepancy is then a distance between means, exact in any layout of a step, at
    a cost linear in the batch. `kernel="exact"` is DomainBed's, which compares every sample with every other,
    so no accumulation and one process.

    Kernels that are narrow against the distances of samples are noise to random features, though nothing to
    exact ones, so the features' widths grow with the number D of features: of 512 features that vary by 0.5
    their gradient has a cosine of 0.99 with that of pairs under the same kernels; with DomainBed's seven
    widths and 256 independent frequencies it has one of 0.00.

    Requirements:
        Two environments in the training data, and a model that ends in a linear layer.

    Relations:
        `CORAL` compares second moments alone. `DANN` replaces the fixed kernels by a trained discriminator.
        `RDM` compares distributions of losses.

    Examples:
        >>> import torch
        >>> from hf_ood.methods.objectives.functional import mmd_penalty
        >>> where = torch.tensor([0, 0, 1, 1])
        >>> together = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
        >>> apart = torch.tensor([[0.0], [1.0], [5.0], [6.0]])
        >>> [round(mmd_penalty(x, where, 2, gammas=[1.0]).item(), 3) for x in (together, apart)]
        [0.0, 1.368]
    """

    name: ClassVar[str] = "mmd"
    equation: ClassVar[str] = (
        r"\frac{1}{E} \sum_e R_e + \lambda \, \frac{2}{E (E - 1)} \sum_{e < f} \operatorname{MMD}^2(z_e, z_f)"
    )
    citation: ClassVar[str] = """\
@inproceedings{li2018domain,
  title = {Domain Generalization with Adversarial Feature Learning},
  author = {Li, Haoliang and Pan, Sinno Jialin and Wang, Shiqi and Kot, Alex C.},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2018}
}"""
    needs_features: ClassVar[bool] = True
    moves_features: ClassVar[bool] = True

    penalty_weight: float = option(
        1.0, "Weight of the discrepancy (DomainBed: 1).", search=Search(0.1, 10.0, "DomainBed", log=True)
    )
    warmup_steps: float = option(
        0.0, "Optimizer steps before the penalty gets its weight; below 1, a share of the training's."
    )
    gammas: list[float] = option(
        list(GAMMAS), "Of exact kernels: the inverse squared widths that are added up (DomainBed: these)."
    )
    scaled_gammas: list[float] = option(
        [0.1, 1.0],
        "Of kernels by features: the inverse squared widths that are added up, each divided by the number of "
        "features (ours).",
    )
    kernel: str = option(
        FEATURES,
        "features (random Fourier features, in any layout of a step) | exact (pairs of samples, as in "
        "DomainBed; one process, no accumulation).",
    )
    blocks: int = option(2, "Frequencies of the Fourier features, in multiples of the features (ours).")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel not in KERNELS:
            raise ValueError(f"mmd.kernel must be one of {', '.join(KERNELS)}, not {self.kernel!r}.")
        if self.blocks < 1:
            raise ValueError(f"mmd.blocks must be at least 1, not {self.blocks}.")
        self.drawn: Tensor | None = None  # [D, M]

    @property
    def additive(self) -> bool:  # type: ignore[override]
        return self.kernel == FEATURES

    def build(self, feature_size: int, num_labels: int, present: Tensor) -> None:
        if self.kernel == FEATURES:
            self.drawn = orthogonal_frequencies(feature_size, self.blocks).to(present.device)

    def sums(self, outputs: Outputs) -> Sums:
        where = (outputs.environments, outputs.num_environments)
        features = features_of(outputs)
        if self.kernel == EXACT:
            return super().sums(outputs) | {"mmd": mmd_penalty(features, *where, self.gammas)}
        if self.drawn is None:
            raise RuntimeError("mmd has drawn no frequencies: call build(feature_size, num_labels, present).")
        gammas = [gamma / len(self.drawn) for gamma in self.scaled_gammas]
        waves = fourier_features(features, self.drawn, gammas)
        return super().sums(outputs) | {"waves": environment_sums(waves, *where)}

    def penalty(self, totals: Sums) -> Tensor:
        if self.kernel == EXACT:
            return totals["mmd"]
        return mean_pair_distance(totals["waves"], totals["count"])

    def state_dict(self) -> dict[str, Tensor]:
        return {} if self.drawn is None else {"frequencies": self.drawn}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.drawn = state.get("frequencies", self.drawn)
