"""Distributions that are compared through sums, against loops over pairs and samples in float64."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch import Tensor

from hf_ood import MMD, RDM, CausIRL
from hf_ood.methods.objectives import Outputs
from hf_ood.methods.objectives import functional as F_ood
from hf_ood.methods.objectives.fourier import GAMMAS, fourier_features, normal_quantiles

COUNTS = [[20, 9, 1], [5, 0, 17], [12, 12, 12, 12], [8, 3]]


def make_outputs(counts: list[int]) -> Outputs:
    generator = torch.Generator().manual_seed(sum(counts))
    where = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    where = where[torch.randperm(len(where), generator=generator)]
    features = torch.randn(len(where), 4, generator=generator, dtype=torch.float64)
    features = (features + 0.3 * where[:, None]).requires_grad_()
    logits = features @ torch.randn(4, 2, generator=generator, dtype=torch.float64)
    return Outputs(
        logits, torch.randint(0, 2, (len(where),), generator=generator), where, len(counts), features
    )


def rows(outputs: Outputs) -> list[Tensor]:
    found = [(outputs.environments == e).nonzero()[:, 0] for e in range(outputs.num_environments)]
    return [own for own in found if len(own)]


def pairwise(values: Tensor, one: Tensor, two: Tensor) -> Tensor:
    """Mean of RDM's kernels over pairs."""
    distances = (values[one][:, None] - values[two][None]).square().sum(-1)
    return torch.stack([torch.exp(-gamma * distances) for gamma in GAMMAS[:5]]).sum(0).mean()


def discrepancy(values: Tensor, one: Tensor, two: Tensor) -> Tensor:
    return pairwise(values, one, one) + pairwise(values, two, two) - 2 * pairwise(values, one, two)


def test_inner_products_of_fourier_features_are_kernels() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(12, 5, generator=generator, dtype=torch.float64)
    frequencies = torch.randn(5, 40_000, generator=generator, dtype=torch.float64)
    distances = torch.cdist(points, points).square()
    for gamma in (0.01, 0.3, 5.0):
        found = fourier_features(points, frequencies, [gamma])
        torch.testing.assert_close(found @ found.T, torch.exp(-gamma * distances), rtol=0, atol=0.02)
    several = fourier_features(points, frequencies, [0.01, 0.3])
    expected = torch.exp(-0.01 * distances) + torch.exp(-0.3 * distances)
    torch.testing.assert_close(several @ several.T, expected, rtol=0, atol=0.04)


@pytest.mark.parametrize("gamma", GAMMAS[:5])
def test_quantiles_serve_numbers_as_frequencies(gamma: float) -> None:
    numbers = torch.linspace(0, 3, 31, dtype=torch.float64)[:, None]
    found = fourier_features(numbers, normal_quantiles(64), [gamma])
    kernel = torch.exp(-gamma * torch.cdist(numbers, numbers).square())
    torch.testing.assert_close(found @ found.T, kernel, rtol=0, atol=0.05)


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_mmd_by_features_is_the_mean_distance_of_means(counts: list[int]) -> None:
    outputs = make_outputs(counts)
    assert outputs.features is not None
    objective = MMD(blocks=3)
    objective.build(4, 2, torch.ones(len(counts), dtype=torch.bool))
    assert objective.drawn is not None
    waves = fourier_features(outputs.features, objective.drawn, [0.1 / 4, 1 / 4])
    means = [waves[own].mean(0) for own in rows(outputs)]
    expected = torch.stack([(a - b).square().sum() for a, b in combinations(means, 2)]).mean()
    found = objective.penalty(objective.sums(outputs))
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(v, outputs.features, retain_graph=True)[0] for v in (found, expected))
    torch.testing.assert_close(ours, theirs)


def test_its_gradient_is_that_of_pairs() -> None:
    """Of 64 features that vary by 0.5, as those of a network; not so with DomainBed's narrow kernels."""
    generator = torch.Generator().manual_seed(0)
    where = torch.arange(90) % 3
    features = 0.5 * torch.randn(90, 64, generator=generator, dtype=torch.float64) + 0.1 * where[:, None]
    features = features.relu().requires_grad_()
    outputs = Outputs(torch.zeros(90, 2), torch.zeros(90).long(), where, 3, features)
    torch.manual_seed(0)
    objective = MMD()
    objective.build(64, 2, torch.ones(3, dtype=torch.bool))
    found = objective.penalty(objective.sums(outputs))
    exact = F_ood.mmd_penalty(features, where, 3, [0.1 / 64, 1 / 64])
    assert found.item() == pytest.approx(exact.item(), rel=0.05)
    ours, theirs = (torch.autograd.grad(value, features)[0].flatten() for value in (found, exact))
    assert torch.nn.functional.cosine_similarity(ours, theirs, dim=0) > 0.97
    assert ours.norm() == pytest.approx(theirs.norm().item(), rel=0.1)


def test_mmd_says_what_it_needs_and_keeps_its_frequencies() -> None:
    outputs = make_outputs([8, 3])
    with pytest.raises(RuntimeError, match="has drawn no frequencies: call build"):
        MMD().sums(outputs)
    with pytest.raises(ValueError, match="must be one of features, exact, not 'pairs'"):
        MMD(kernel="pairs")
    assert MMD().additive and not MMD(kernel="exact").additive
    first, second = MMD(), MMD()
    for objective in (first, second):
        objective.build(4, 2, torch.ones(2, dtype=torch.bool))
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(*(o.penalty(o.sums(outputs)) for o in (first, second)))


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_rdm_matches_the_worst_environment_with_all(counts: list[int]) -> None:
    outputs = make_outputs(counts)
    losses, everyone = outputs.losses, torch.arange(sum(counts))
    worst = max(rows(outputs), key=lambda own: losses[own].mean().item())
    risk = torch.stack([losses[own].mean() for own in rows(outputs)]).mean()
    spread = losses.var() + (losses[worst].var() if len(worst) > 1 else 0)
    exact = discrepancy(losses[:, None], worst, everyone)
    objective = RDM(penalty_weight=3.0, variance_weight=0.5, warmup_steps=2, divisor=1.0)
    objective.start(10)
    totals = objective.sums(outputs)
    loss, parts = objective.loss(totals, step=2)
    assert parts["rdm_penalty"].item() == pytest.approx(exact.item(), rel=0.03)
    ours, theirs = (
        torch.autograd.grad(v, losses, retain_graph=True)[0] for v in (parts["rdm_penalty"], exact)
    )
    assert torch.nn.functional.cosine_similarity(ours, theirs, dim=0) > 0.99
    torch.testing.assert_close(loss, risk + 3 * parts["rdm_penalty"] + 0.5 * spread)
    torch.testing.assert_close(objective.loss(totals, step=1)[0], risk)
    moments = RDM(match="moments", penalty_weight=3.0, variance_weight=0.0, warmup_steps=0)
    one, all_of_them = losses[worst], losses
    expected = (one.mean() - all_of_them.mean()) ** 2
    expected = expected + (one.var(correction=0) - all_of_them.var(correction=0)) ** 2
    torch.testing.assert_close(moments.loss(moments.sums(outputs), 0)[0], risk + 3 * expected)


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("whole", [False, True])
def test_causirl_compares_two_mixtures(
    counts: list[int], whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With shares of 0 and 1, two sets of samples; with others, every sample on both sides."""
    outputs = make_outputs(counts)
    assert outputs.features is not None
    objective = CausIRL()
    totals = objective.sums(outputs)
    if whole:
        halves = (torch.arange(len(counts)) % 3 == 0).double()
        monkeypatch.setattr(objective, "shares", lambda totals: halves)
    shares = objective.shares(totals)
    moments = []
    for side in (shares, 1 - shares):
        weights = side[outputs.environments]
        count = weights.sum()
        mean = sum(w * z for w, z in zip(weights, outputs.features, strict=True)) / count
        spread = [w * torch.outer(z - mean, z - mean) for w, z in zip(weights, outputs.features, strict=True)]
        moments.append((mean, torch.stack(spread).sum(0) / count))
    (mean_a, covariance_a), (mean_b, covariance_b) = moments
    expected = (mean_a - mean_b).square().mean() + (covariance_a - covariance_b).square().mean()
    torch.testing.assert_close(objective.penalty(totals), expected)
    if whole:
        first = outputs.features[halves[outputs.environments] == 1]
        torch.testing.assert_close(covariance_a, torch.cov(first.T, correction=0))


def test_causirls_shares_are_new_in_every_step_and_follow_risks_not_names() -> None:
    outputs = make_outputs([12, 12, 12, 12])
    objective = CausIRL()
    torch.manual_seed(5)
    objective.build(4, 2, torch.ones(4, dtype=torch.bool))
    drawn = []
    for step in range(50):
        objective.loss(objective.sums(outputs), step)
        drawn.append(objective.shares(objective.sums(outputs)))
    shares = torch.stack(drawn)
    assert len(shares[:, 0].unique()) == 50 and 0.3 < shares.mean() < 0.7
    renaming = torch.tensor([2, 0, 3, 1])
    renamed = replace(outputs, environments=renaming[outputs.environments])
    torch.testing.assert_close(objective.shares(objective.sums(renamed))[renaming], drawn[-1])
    other = CausIRL()
    other.load_state_dict(objective.state_dict())
    torch.testing.assert_close(*(o.loss(o.sums(outputs), 7)[0] for o in (objective, other)))
