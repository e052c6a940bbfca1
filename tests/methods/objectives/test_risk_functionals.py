"""Functions of the risks against independent formulas in float64."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from hf_ood.methods.objectives import functional as F_ood

NUMBERS = [1, 2, 3, 4, 7]


def make_risks(number: int) -> Tensor:
    generator = torch.Generator().manual_seed(number)
    return torch.rand(number, generator=generator, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("number", NUMBERS)
def test_group_dro_weights_are_exponentiated_gradients(number: int) -> None:
    risks, weights = make_risks(number).detach(), torch.rand(number, dtype=torch.float64)
    grown = [w * math.exp(0.3 * r) for w, r in zip(weights.tolist(), risks.tolist(), strict=True)]
    expected = torch.tensor([g / sum(grown) for g in grown], dtype=torch.float64)
    torch.testing.assert_close(F_ood.group_dro_weights(weights, risks, 0.3), expected)


def test_group_dro_weights_survive_huge_risks_and_keep_nought() -> None:
    weights = F_ood.group_dro_weights(torch.tensor([0.5, 0.5, 0.0]), torch.tensor([1e6, 0.0, 2e6]), 1.0)
    assert weights.tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("number", NUMBERS)
def test_cvar_is_the_worst_admissible_weighting(number: int, share: float) -> None:
    risks = make_risks(number)
    cap = min(1.0, 1 / (share * number))
    # A linear function is largest at a corner: as many environments as possible at the cap, one the rest.
    corners = []
    full = min(int(1 / cap + 1e-9), number)
    for order in itertools.permutations(range(number), min(full + 1, number)):
        weights = torch.zeros(number, dtype=torch.float64)
        weights[list(order[:full])] = cap
        weights[order[-1]] += 1 - weights.sum()
        corners.append(weights)
    values = torch.stack(corners) @ risks
    ours = F_ood.conditional_value_at_risk(risks, share)
    torch.testing.assert_close(ours, values.max())
    (gradient,) = torch.autograd.grad(ours, risks)
    torch.testing.assert_close(gradient, corners[int(values.argmax())])


def smoothed_quantile(risks: list[float], quantile: float) -> float:
    """Bisection in Python floats."""
    mean, number = sum(risks) / len(risks), len(risks)
    deviation = math.sqrt(sum((r - mean) ** 2 for r in risks) / (number - 1))
    width = 1.06 * deviation * number ** (-1 / 5)
    low, high = min(risks) - 20 * width, max(risks) + 20 * width
    for _ in range(200):
        middle = (low + high) / 2
        below = sum(0.5 * (1 + math.erf((middle - r) / width / math.sqrt(2))) for r in risks) / number
        low, high = (middle, high) if below < quantile else (low, middle)
    return low


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.75, 0.99])
@pytest.mark.parametrize("number", NUMBERS[1:])
def test_the_risk_quantile_is_that_of_the_kernel_density(number: int, quantile: float) -> None:
    risks = make_risks(number)
    ours = F_ood.risk_quantile(risks, quantile)
    assert ours.item() == pytest.approx(smoothed_quantile(risks.tolist(), quantile), rel=1e-8)
    (gradient,) = torch.autograd.grad(ours, risks)
    step = 1e-5
    for environment in range(number):
        up, down = risks.tolist(), risks.tolist()
        up[environment] += step
        down[environment] -= step
        slope = (smoothed_quantile(up, quantile) - smoothed_quantile(down, quantile)) / (2 * step)
        assert gradient[environment].item() == pytest.approx(slope, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("risks", [[0.7], [0.7, 0.7, 0.7], [0.0, 0.0]])
def test_the_quantile_of_equal_risks_is_that_risk(risks: list[float]) -> None:
    values = torch.tensor(risks, requires_grad=True)
    quantile = F_ood.risk_quantile(values, 0.75)
    assert quantile.item() == pytest.approx(risks[0], abs=1e-5)
    (gradient,) = torch.autograd.grad(quantile, values)
    torch.testing.assert_close(gradient, torch.full_like(values, 1 / len(risks)), rtol=1e-2, atol=1e-2)


def test_spectral_decoupling_is_the_mean_squared_logit() -> None:
    logits = torch.randn(7, 3, dtype=torch.float64)
    expected = sum(value**2 for row in logits.tolist() for value in row) / 21
    assert F_ood.spectral_decoupling_penalty(logits).item() == pytest.approx(expected)
