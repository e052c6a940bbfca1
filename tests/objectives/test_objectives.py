"""The objectives as functions of totals: weights, warm-up, scaling, state."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hf_ood.objectives import ERM, IRM, Outputs, VREx
from hf_ood.objectives import functional as F_ood


def make_outputs() -> Outputs:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(30, 2, generator=generator, dtype=torch.float64)
    return Outputs(logits, torch.randint(0, 2, (30,), generator=generator), torch.arange(30) % 3, 3)


def test_erm_is_the_mean_risk() -> None:
    outputs = make_outputs()
    loss, _ = ERM().loss(ERM().sums(outputs), step=0)
    torch.testing.assert_close(loss, F_ood.environment_risks(*outputs).mean())


def test_irm_adds_the_weighted_penalty_and_divides_by_the_weight() -> None:
    outputs = make_outputs()
    risk = F_ood.environment_risks(*outputs).mean()
    penalty = F_ood.irm_penalty(*outputs)
    irm = IRM(penalty_weight=50.0, warmup_steps=10, warmup_penalty_weight=1.0)
    totals = irm.sums(outputs)
    torch.testing.assert_close(irm.loss(totals, step=9)[0], risk + penalty)
    torch.testing.assert_close(irm.loss(totals, step=10)[0], (risk + 50 * penalty) / 50)
    plain = IRM(penalty_weight=50.0, warmup_steps=0, divide_by_weight=False)
    torch.testing.assert_close(plain.loss(totals, step=0)[0], risk + 50 * penalty)


def test_irm_l2_is_scaled_with_the_loss() -> None:
    parameters = [nn.Parameter(torch.full((2,), 3.0))]
    irm = IRM(l2=0.1, penalty_weight=10.0, warmup_steps=5)
    torch.testing.assert_close(irm.parameter_penalty(parameters, step=0), torch.tensor(1.8))
    torch.testing.assert_close(irm.parameter_penalty(parameters, step=5), torch.tensor(0.18))
    assert IRM().parameter_penalty(parameters, step=0) is None


def test_irm_resets_the_optimizer_once_when_the_warmup_ends() -> None:
    irm = IRM(reset_optimizer=True, warmup_steps=3)
    assert [step for step in range(8) if irm.resets_optimizer(step)] == [3]
    assert not any(IRM(warmup_steps=3).resets_optimizer(step) for step in range(8))


def test_vrex_adds_the_variance_of_present_environments() -> None:
    outputs = make_outputs()._replace(num_environments=5)
    vrex = VREx(penalty_weight=4.0, warmup_steps=0)
    risks = F_ood.environment_risks(*outputs)[:3]
    expected = (risks.mean() + 4 * risks.var(unbiased=False)) / 4
    torch.testing.assert_close(vrex.loss(vrex.sums(outputs), step=0)[0], expected)


@pytest.mark.parametrize(
    "objective", [ERM(), IRM(warmup_steps=0), VREx(warmup_steps=0)], ids=lambda o: o.name
)
def test_an_absent_environment_is_left_out(objective: ERM | IRM | VREx) -> None:
    outputs = make_outputs()
    with_absent = outputs._replace(num_environments=7)
    alone = objective.loss(objective.sums(outputs), step=0)[0]
    torch.testing.assert_close(objective.loss(objective.sums(with_absent), step=0)[0], alone)
