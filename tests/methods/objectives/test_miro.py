"""MIRO against its equation written out sample by sample in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hf_ood.methods.objectives import MIRO, Outputs
from hf_ood.methods.objectives import functional as F_ood


def make_outputs(environments: list[int], number: int) -> Outputs:
    generator = torch.Generator().manual_seed(0)
    size = len(environments)
    logits, features, start = (
        torch.randn(size, width, generator=generator, dtype=torch.float64, requires_grad=True)
        for width in (2, 5, 5)
    )
    labels = torch.randint(0, 2, (size,), generator=generator)
    where = torch.tensor(environments)
    return Outputs(logits, labels, where, number, features, start_features=start.detach())


def built(objective: MIRO) -> Tensor:
    objective.build(5, 2, torch.ones(3, dtype=torch.bool))
    (raw,) = objective.parameters()
    raw.data = torch.linspace(-2, 2, 5, dtype=torch.float64)
    return raw


@pytest.mark.parametrize(
    ("environments", "number"), [([0, 1, 2] * 4, 3), ([0] * 7 + [1, 1, 3], 4), ([1, 1, 1], 3)]
)
def test_value_and_gradients_are_those_of_the_loop(environments: list[int], number: int) -> None:
    objective, outputs = MIRO(weight=0.7), make_outputs(environments, number)
    raw = built(objective)
    loss, parts = objective.loss(objective.sums(outputs), 0)
    assert outputs.labels is not None and outputs.features is not None and outputs.start_features is not None
    penalty = torch.zeros((), dtype=torch.float64)
    for own, start in zip(outputs.features, outputs.start_features, strict=True):
        for channel in range(5):
            variance = (1 + raw[channel].exp()).log() + 1e-5
            penalty = penalty + ((own[channel] - start[channel]) ** 2 / variance + variance.log()) / 2
    penalty = penalty / (5 * len(environments))
    expected = F_ood.sample_losses(outputs.logits, outputs.labels).mean() + 0.7 * penalty
    torch.testing.assert_close(parts["miro_penalty"], penalty, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    moved = (outputs.logits, outputs.features, raw)
    ours, theirs = torch.autograd.grad(loss, moved), torch.autograd.grad(expected, moved)
    for found, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_the_term_is_a_normal_log_likelihood_but_for_a_constant() -> None:
    objective, outputs = MIRO(), make_outputs([0] * 6, 1)
    built(objective)
    _, parts = objective.loss(objective.sums(outputs), 0)
    assert outputs.features is not None
    normal = torch.distributions.Normal(outputs.features, objective.variances().sqrt())
    likelihood = normal.log_prob(outputs.start_features).mean()
    torch.testing.assert_close(parts["miro_penalty"], -likelihood - math.log(2 * math.pi) / 2)


@pytest.mark.parametrize("variance", [2e-5, 0.1, 1.0, 50.0])
def test_variances_begin_at_what_was_asked(variance: float) -> None:
    objective = MIRO(initial_variance=variance)
    objective.build(4, 2, torch.ones(2, dtype=torch.bool))
    torch.testing.assert_close(objective.variances(), torch.full((4,), variance), rtol=1e-4, atol=0)
    assert objective.learning_rate(0.5) == 5.0


def test_state_is_the_variances_and_goes_on_in_the_same_parameter() -> None:
    first, second = MIRO(), MIRO()
    raw, other = built(first), built(second)
    raw.data += 1
    assert MIRO().state_dict() == {} and first.state_dict().keys() == {"raw_variance"}
    second.load_state_dict(first.state_dict())
    assert second.parameters()[0] is other and torch.equal(other, raw)


def test_what_is_missing_or_out_of_range_is_named() -> None:
    objective = MIRO()
    with pytest.raises(RuntimeError, match="call build"):
        objective.variances()
    built(objective)
    features = torch.zeros(2, 5)
    where = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="start_features"):
        objective.sums(Outputs(torch.zeros(2, 2), where, where, 1, features))
    for options, message in (
        ({"initial_variance": 0.0}, "miro.initial_variance must be above 1e-05, not 0"),
        ({"weight": -1.0}, "miro.weight must be 0 or more, not -1"),
    ):
        with pytest.raises(ValueError, match=message):
            MIRO(**options)
