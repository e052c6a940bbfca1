"""Gaussian kernels as inner products: their discrepancies become distances between means."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .functional import at_least_float32, environment_means, squared_deviations

GAMMAS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1e3)  # DomainBed's


def fourier_features(values: Tensor, frequencies: Tensor, gammas: Sequence[float] = GAMMAS) -> Tensor:
    """`values` [B, D] -> [B, 2 G M], whose inner products are about `sum_g exp(-g ||x - y||^2)`.

    `frequencies` [D, M]: M standard normal vectors, which serve every gamma, times `sqrt(2 gamma)`. Source:
    Rahimi & Recht 2007, "Random Features for Large-Scale Kernel Machines".
    """
    values = at_least_float32(values)
    angles = values @ frequencies.to(values)
    widths = torch.tensor(gammas, dtype=values.dtype, device=values.device).mul(2).sqrt()
    angles = (angles[:, None] * widths[:, None]).flatten(1)
    return torch.cat([angles.cos(), angles.sin()], dim=1) / frequencies.shape[1] ** 0.5


def orthogonal_frequencies(size: int, blocks: int) -> Tensor:
    """Random frequencies for vectors of `size` D -> [D, blocks D], from torch's global generator.

    Within a block they are orthogonal, each as long as a standard normal vector: their error is much below
    that of independent ones. Source: Yu et al. 2016, arXiv:1610.09072.
    """
    found = []
    for _ in range(blocks):
        directions, _ = torch.linalg.qr(torch.randn(size, size))
        found.append(directions * torch.randn(size, size).norm(dim=0))
    return torch.cat(found, dim=1)


def normal_quantiles(number: int) -> Tensor:
    """The middles of `number` equally probable parts of the positive half of the normal distribution, float32
    [1, number].

    For values [B, 1] they are better frequencies than random ones, and always the same; negative ones would
    give the same features.
    """
    parts = (torch.arange(number, dtype=torch.float64) + 0.5) / number
    return torch.special.ndtri((1 + parts) / 2).float()[None]


def mean_pair_distance(sums: Tensor, counts: Tensor) -> Tensor:
    """Squared distance between the environments' means of `sums` [E, K], mean over pairs -> []."""
    pairs = ((counts > 0).sum() - 1).clamp_min(1)
    return squared_deviations(environment_means(sums, counts), counts).sum() * 2 / pairs
