"""Penalties on features, and Fishr's on gradients, against loops over environments and pairs in float64."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from test_functional import RAGGED, make_batch, same_value_and_gradient
from torch import Tensor, nn

from hf_ood.methods.objectives import functional as F_ood

SEVEN = [*RAGGED, [2, 3, 4, 5, 6, 7, 8]]
GAMMAS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1e3)


def make_features(counts: list[int], width: int = 5) -> tuple[Tensor, Tensor, int, list[Tensor]]:
    """Features, environments, E, and the rows of each environment that is present."""
    _, _, environments, number = make_batch(counts)
    generator = torch.Generator().manual_seed(width)
    features = torch.randn(len(environments), width, generator=generator, dtype=torch.float64)
    features = (features * 0.7 + environments[:, None] * 0.2).requires_grad_()
    rows = [(environments == e).nonzero().squeeze(1) for e, count in enumerate(counts) if count]
    return features, environments, number, rows


def mean_over_pairs(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean() if values else torch.zeros((), dtype=torch.float64)


@pytest.mark.parametrize("width", [5, 40], ids=lambda width: f"width {width}")
@pytest.mark.parametrize("counts", SEVEN, ids=str)
def test_environment_products_are_the_sums_of_outer_products(counts: list[int], width: int) -> None:
    features, environments, number, _ = make_features(counts, width)
    other = features.detach()[:, :3].cos()
    expected = torch.zeros(number, 3, width, dtype=torch.float64)
    for row, environment in enumerate(environments.tolist()):
        expected[environment] += torch.outer(other[row], features[row].detach())
    ours = F_ood.environment_products(other, features, environments, number)
    torch.testing.assert_close(ours.detach(), expected)


@pytest.mark.parametrize("counts", SEVEN, ids=str)
def test_coral_is_the_mean_over_pairs(counts: list[int]) -> None:
    features, environments, number, rows = make_features(counts)
    covariances = [
        torch.cov(features[r].T) if len(r) > 1 else torch.zeros(5, 5, dtype=torch.float64) for r in rows
    ]
    pairs = [(a - b).square().sum() / (4 * 5**2) for a, b in combinations(covariances, 2)]
    ours = F_ood.coral_penalty(features, environments, number)
    same_value_and_gradient(ours, mean_over_pairs(pairs) + 0 * features.sum(), features)


def kernel(a: Tensor, b: Tensor) -> Tensor:
    return sum(torch.exp(-gamma * (a - b).square().sum()) for gamma in GAMMAS)


def mean_kernel(features: Tensor, one: Tensor, two: Tensor) -> Tensor:
    return torch.stack([kernel(features[i], features[j]) for i in one for j in two]).mean()


@pytest.mark.parametrize(
    "counts", [[6], [5, 3], [4, 1, 5], [3, 0, 4], [2, 2, 2], [1, 2, 1, 2, 1, 2, 0]], ids=str
)
def test_mmd_is_the_mean_over_pairs(counts: list[int]) -> None:
    features, environments, number, rows = make_features(counts)
    pairs = [
        mean_kernel(features, a, a) + mean_kernel(features, b, b) - 2 * mean_kernel(features, a, b)
        for a, b in combinations(rows, 2)
    ]
    ours = F_ood.mmd_penalty(features, environments, number)
    same_value_and_gradient(ours, mean_over_pairs(pairs) + 0 * features.sum(), features)


def test_mmd_of_identical_samples_is_nought_in_float32() -> None:
    """Where distances come from a matrix product, it is 0.6 % of the kernel at its widest."""
    features = torch.randn(20, 64, generator=torch.Generator().manual_seed(0)) * 10
    twice = torch.cat([features, features])
    penalty = F_ood.mmd_penalty(twice, torch.arange(40) // 20, 2)
    assert penalty.abs() < 1e-6


@pytest.mark.parametrize("counts", SEVEN, ids=str)
def test_the_bottleneck_is_the_mean_variance(counts: list[int]) -> None:
    features, environments, number, rows = make_features(counts)
    expected = torch.stack([features[r].var(0, unbiased=False).mean() for r in rows]).mean()
    same_value_and_gradient(
        F_ood.information_bottleneck_penalty(features, environments, number), expected, features
    )


@pytest.mark.parametrize("counts", SEVEN, ids=str)
def test_fishr_is_the_variance_of_autograd_gradients(counts: list[int]) -> None:
    features, environments, number, rows = make_features(counts)
    _, labels, _, _ = make_batch(counts)
    torch.manual_seed(0)
    head = nn.Linear(5, 3, dtype=torch.float64)
    logits = head(features)
    gradients = []
    for row in range(len(features)):
        loss = F.cross_entropy(logits[row : row + 1], labels[row : row + 1])
        weight, bias = torch.autograd.grad(loss, [head.weight, head.bias], create_graph=True)
        gradients.append(torch.cat([weight.flatten(), bias]))
    stacked = torch.stack(gradients)
    variances = torch.stack([stacked[r].var(0, unbiased=False) for r in rows])
    expected = (variances - variances.mean(0)).square().mean()
    ours = F_ood.fishr_penalty(logits, features, labels, environments, number)
    torch.testing.assert_close(ours, expected)
    wanted = [features, head.weight]
    theirs = torch.autograd.grad(expected, wanted, retain_graph=True)
    for gradient, their_gradient in zip(torch.autograd.grad(ours, wanted), theirs, strict=True):
        torch.testing.assert_close(gradient, their_gradient, rtol=1e-9, atol=1e-12)


def test_penalties_of_half_precision_are_computed_in_float32() -> None:
    features, environments, number, _ = make_features([30, 20])
    half = features.detach().bfloat16()
    for penalty in (F_ood.coral_penalty, F_ood.mmd_penalty, F_ood.information_bottleneck_penalty):
        assert penalty(half, environments, number).dtype == torch.float32
