"""Every equation against an independent, straightforward formula in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_ood.methods.objectives import functional as F_ood

RAGGED = [[40], [30, 10], [5, 1, 17], [7, 0, 9], [4, 4, 4, 4, 4], [1, 2, 3, 4, 5, 6, 0]]


def make_batch(counts: list[int], classes: int = 3) -> tuple[Tensor, Tensor, Tensor, int]:
    generator = torch.Generator().manual_seed(sum(counts))
    environments = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    environments = environments[torch.randperm(len(environments), generator=generator)]
    logits = torch.randn(len(environments), classes, generator=generator, dtype=torch.float64) * 2
    labels = torch.randint(0, classes, (len(environments),), generator=generator)
    return logits.requires_grad_(), labels, environments, len(counts)


def slope_by_autograd(logits: Tensor, labels: Tensor) -> Tensor:
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(F.cross_entropy(logits * scale, labels), scale, create_graph=True)
    return slope


def same_value_and_gradient(ours: Tensor, theirs: Tensor, logits: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    (our_gradient,) = torch.autograd.grad(ours, logits, retain_graph=True)
    (their_gradient,) = torch.autograd.grad(theirs, logits)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("counts", RAGGED, ids=str)
def test_environment_risks_are_the_mean_losses(counts: list[int]) -> None:
    logits, labels, environments, number = make_batch(counts)
    risks = F_ood.environment_risks(logits, labels, environments, number)
    for environment, count in enumerate(counts):
        rows = environments == environment
        expected = (
            F.cross_entropy(logits[rows], labels[rows]) if count else torch.zeros((), dtype=torch.float64)
        )
        torch.testing.assert_close(risks[environment], expected)


@pytest.mark.parametrize("counts", RAGGED, ids=str)
def test_irm_penalty_is_the_autograd_penalty(counts: list[int]) -> None:
    logits, labels, environments, number = make_batch(counts)
    present = [environment for environment, count in enumerate(counts) if count]
    squares = [
        slope_by_autograd(logits[environments == e], labels[environments == e]).square() for e in present
    ]
    ours = F_ood.irm_penalty(logits, labels, environments, number)
    same_value_and_gradient(ours, torch.stack(squares).mean(), logits)


@pytest.mark.parametrize("counts", RAGGED, ids=str)
def test_irm_slopes_are_the_autograd_slopes(counts: list[int]) -> None:
    logits, labels, environments, number = make_batch(counts)
    slopes = F_ood.irm_slopes(logits, labels, environments, number)
    for environment, count in enumerate(counts):
        rows = environments == environment
        expected = (
            slope_by_autograd(logits[rows], labels[rows]) if count else torch.zeros((), dtype=torch.float64)
        )
        torch.testing.assert_close(slopes[environment], expected)


def test_irm_penalty_works_without_a_graph() -> None:
    logits, labels, environments, number = make_batch([5, 6])
    with torch.no_grad():
        assert F_ood.irm_penalty(logits, labels, environments, number) > 0


def test_irm_with_two_classes_is_the_papers_binary_penalty() -> None:
    logits, labels, environments, number = make_batch([20, 30], classes=2)
    margin = logits[:, 1] - logits[:, 0]
    expected = []
    for environment in range(number):
        scale = torch.ones((), dtype=torch.float64, requires_grad=True)
        rows = environments == environment
        loss = F.binary_cross_entropy_with_logits(margin[rows] * scale, labels[rows].double())
        expected.append(torch.autograd.grad(loss, scale, create_graph=True)[0].square())
    same_value_and_gradient(
        F_ood.irm_penalty(logits, labels, environments, number), torch.stack(expected).mean(), logits
    )


def test_vrex_penalty_is_the_population_variance() -> None:
    risks = torch.tensor([0.3, 0.9, 1.1], dtype=torch.float64)
    torch.testing.assert_close(F_ood.vrex_penalty(risks), risks.var(unbiased=False))
    assert F_ood.vrex_penalty(risks[:1]) == 0


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits, labels, environments, number = make_batch([500, 3])
    with torch.no_grad():
        risks = F_ood.environment_risks(logits.bfloat16(), labels, environments, number)
    assert risks.dtype == torch.float32
    torch.testing.assert_close(
        risks.double(),
        F_ood.environment_risks(logits, labels, environments, number).detach(),
        rtol=0.02,
        atol=0.02,
    )


def test_renaming_environments_changes_nothing_else() -> None:
    logits, labels, environments, number = make_batch([5, 9, 13])
    renaming = torch.tensor([2, 0, 1])
    before = F_ood.environment_risks(logits, labels, environments, number)
    after = F_ood.environment_risks(logits, labels, renaming[environments], number)
    torch.testing.assert_close(after[renaming], before)


@pytest.mark.parametrize("counts", RAGGED, ids=str)
def test_squared_errors_take_the_place_of_cross_entropies(counts: list[int]) -> None:
    """Labels that are floats: risks, IRM's slopes and Fishr's gradients are those of the squared error."""
    logits, _, environments, number = make_batch(counts, classes=1)
    targets = torch.randn(len(logits), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    errors = (logits[:, 0] * scale - targets).square()
    risks = [errors[environments == e].mean() for e, count in enumerate(counts) if count]
    slopes = [torch.autograd.grad(risk, scale, create_graph=True)[0] for risk in risks]
    present = torch.tensor(counts) > 0
    found = F_ood.environment_risks(logits, targets, environments, number)[present]
    torch.testing.assert_close(found, torch.stack(risks))
    ours = F_ood.irm_penalty(logits, targets, environments, number)
    same_value_and_gradient(ours, torch.stack(slopes).square().mean(), logits)
    residuals, _ = F_ood.head_gradient_factors(logits, logits, targets)
    (gradient,) = torch.autograd.grad(F_ood.sample_losses(logits, targets).sum(), logits)
    torch.testing.assert_close(residuals, gradient)


def test_shares_of_classes_are_as_good_as_labels() -> None:
    """Of a mixed sample: the weighted mean of what its two labels give; with a share of 1: that of the label.

    The weighted mean holds where the label enters linearly: losses, slopes and the head's gradients.
    """
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    features = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    one, other = torch.randint(0, 4, (2, 6), generator=generator)
    share = torch.rand(6, 1, generator=generator, dtype=torch.float64)
    mixed = share * F.one_hot(one, 4) + (1 - share) * F.one_hot(other, 4)
    for function in (F_ood.sample_losses, F_ood.sample_slopes):
        expected = share[:, 0] * function(logits, one) + (1 - share[:, 0]) * function(logits, other)
        torch.testing.assert_close(function(logits, mixed), expected)
        hard = F.one_hot(one, 4).float()
        torch.testing.assert_close(function(logits, hard), function(logits, one))
    gradients = [F_ood.head_gradient_factors(logits, features, labels)[0] for labels in (mixed, one, other)]
    torch.testing.assert_close(gradients[0], share * gradients[1] + (1 - share) * gradients[2])
    assert torch.equal(F_ood.largest_class(one), one)
    assert torch.equal(F_ood.largest_class(mixed), torch.where(share[:, 0] >= 0.5, one, other))
