"""The objectives as functions of totals: weights, warm-up, scaling, state."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hf_ood.objectives import (
    CDANN,
    CORAL,
    DANN,
    EQRM,
    ERM,
    IBERM,
    IBIRM,
    IRM,
    MMD,
    OBJECTIVES,
    SD,
    CVaR,
    Fishr,
    GroupDRO,
    Objective,
    Outputs,
    SupCon,
    VREx,
)
from hf_ood.objectives import functional as F_ood


def make_objective(name: str, outputs: Outputs) -> Objective:
    """With its own network, if it has one: the same whatever the number of absent environments."""
    objective = OBJECTIVES[name]()
    present = torch.bincount(outputs.environments, minlength=outputs.num_environments) > 0
    torch.manual_seed(0)
    objective.build(4, 2, present)
    for parameter in objective.parameters():
        parameter.data = torch.arange(parameter.numel()).double().sin().view_as(parameter)
    return objective


def make_outputs() -> Outputs:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(30, 2, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 2, (30,), generator=generator)
    features = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    return Outputs(logits, labels, torch.arange(30) % 3, 3, features)


def test_erm_is_the_mean_risk() -> None:
    outputs = make_outputs()
    loss, _ = ERM().loss(ERM().sums(outputs), step=0)
    torch.testing.assert_close(loss, F_ood.environment_risks(*outputs[:4]).mean())


def test_irm_adds_the_weighted_penalty_and_divides_by_the_weight() -> None:
    outputs = make_outputs()
    risk = F_ood.environment_risks(*outputs[:4]).mean()
    penalty = F_ood.irm_penalty(*outputs[:4])
    irm = IRM(penalty_weight=50.0, warmup_steps=10, warmup_penalty_weight=1.0)
    totals = irm.sums(outputs)
    torch.testing.assert_close(irm.loss(totals, step=9)[0], risk + penalty)
    torch.testing.assert_close(irm.loss(totals, step=10)[0], (risk + 50 * penalty) / 50)
    other = IRM(penalty_weight=50.0, warmup_steps=10, divisor=4.0)
    torch.testing.assert_close(other.loss(totals, step=9)[0], risk + penalty)
    torch.testing.assert_close(other.loss(totals, step=10)[0], (risk + 50 * penalty) / 4)


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
    risks = F_ood.environment_risks(*outputs[:4])[:3]
    expected = (risks.mean() + 4 * risks.var(unbiased=False)) / 4
    torch.testing.assert_close(vrex.loss(vrex.sums(outputs), step=0)[0], expected)


PENALTIES = {
    "ib_erm": (IBERM, lambda o: F_ood.information_bottleneck_penalty(o.features, *o[2:4])),
    "sd": (SD, lambda o: F_ood.spectral_decoupling_penalty(o.logits)),
    "coral": (CORAL, lambda o: F_ood.coral_penalty(o.features, *o[2:4])),
    "mmd": (MMD, lambda o: F_ood.mmd_penalty(o.features, *o[2:4])),
    "fishr": (Fishr, lambda o: F_ood.fishr_penalty(o.logits, o.features, *o[1:4])),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_on_sums_is_the_penalty_on_samples(name: str) -> None:
    outputs = make_outputs()
    cls, penalty = PENALTIES[name]
    objective = cls(penalty_weight=7.0, warmup_steps=3, divisor=1.0)
    risk = F_ood.environment_risks(*outputs[:4]).mean()
    totals = objective.sums(outputs)
    torch.testing.assert_close(objective.loss(totals, step=3)[0], risk + 7 * penalty(outputs))
    early = objective.warmup_penalty_weight
    torch.testing.assert_close(objective.loss(totals, step=2)[0], risk + early * penalty(outputs))


def test_ib_irm_has_both_penalties_after_the_warmup() -> None:
    outputs = make_outputs()
    both = IBIRM(penalty_weight=5.0, bottleneck_weight=2.0, warmup_steps=3)
    irm = IRM(penalty_weight=5.0, warmup_steps=3)
    totals = both.sums(outputs)
    variance = F_ood.information_bottleneck_penalty(outputs.features, *outputs[2:4])
    torch.testing.assert_close(both.loss(totals, 2)[0], irm.loss(totals, 2)[0])
    torch.testing.assert_close(both.loss(totals, 3)[0], irm.loss(totals, 3)[0] + 2 * variance / 5)


def test_cvar_and_eqrm_are_functions_of_present_risks() -> None:
    outputs = make_outputs()._replace(num_environments=6)
    risks = F_ood.environment_risks(*outputs[:4])[:3]
    totals = CVaR().sums(outputs)
    worst_first = risks.sort(descending=True).values
    torch.testing.assert_close(
        CVaR(share=0.5).loss(totals, 0)[0], (worst_first[0] + worst_first[1] / 2) / 1.5
    )
    torch.testing.assert_close(CVaR(share=1.0).loss(totals, 0)[0], risks.mean())
    torch.testing.assert_close(CVaR(share=0.1).loss(totals, 0)[0], risks.max())
    eqrm = EQRM(quantile=0.6, burn_in_steps=2, reset_optimizer=True)
    torch.testing.assert_close(eqrm.loss(totals, 1)[0], risks.mean())
    torch.testing.assert_close(eqrm.loss(totals, 2)[0], F_ood.risk_quantile(risks, 0.6))
    assert [step for step in range(5) if eqrm.resets_optimizer(step)] == [2]


def test_group_dro_moves_weight_to_the_worst_and_none_to_the_absent() -> None:
    outputs = make_outputs()._replace(num_environments=4)
    dro = GroupDRO(step_size=1.0)
    totals = dro.sums(outputs)
    risks = F_ood.environment_risks(*outputs[:4])[:3]
    for step in range(2):
        dro.update(totals, step)
    grown = (2 * risks).exp()
    expected = 0.75 * grown / grown.sum()
    assert dro.weights is not None
    torch.testing.assert_close(dro.weights, torch.cat([expected, expected.new_tensor([0.25])]))
    torch.testing.assert_close(dro.loss(totals, 1)[0], (grown * risks).sum() / grown.sum())


def moved(outputs: Outputs, number: int) -> Outputs:
    generator = torch.Generator().manual_seed(number)
    return outputs._replace(logits=torch.randn(30, 2, generator=generator, dtype=torch.float64))


def test_fishr_penalises_smoothed_variances_with_slope_one_in_the_present() -> None:
    fishr, plain = Fishr(ema=0.9), Fishr(ema=0.0)
    batches = [moved(make_outputs(), number) for number in range(3)]
    variances = []
    for step, batch in enumerate(batches):
        fishr.update(fishr.sums(batch), step)
        plain.update(plain.sums(batch), step)
        variances.append(plain.smoothed)
    expected = 0.9 * (0.9 * variances[0] + 0.1 * variances[1]) + 0.1 * variances[2]
    torch.testing.assert_close(fishr.smoothed, expected)
    squares = (expected - expected.mean(0)).square().mean()
    totals = fishr.sums(batches[2])
    leaf = totals["squared_gradients"].requires_grad_()
    penalty = fishr.penalty(totals)
    torch.testing.assert_close(penalty, squares)
    slope = 2 * (expected - expected.mean(0)) / expected.numel() / 10  # 10 samples in each environment
    torch.testing.assert_close(torch.autograd.grad(penalty, leaf)[0], slope)


def test_fishr_starts_an_average_when_an_environment_first_appears_and_keeps_it_while_absent() -> None:
    outputs = make_outputs()._replace(num_environments=4)
    alone = outputs._replace(environments=torch.full((30,), 3))
    fishr = Fishr(ema=0.5)
    fishr.update(fishr.sums(outputs), 0)
    before = fishr.smoothed
    fishr.update(fishr.sums(alone), 1)
    assert before is not None and fishr.smoothed is not None
    torch.testing.assert_close(fishr.smoothed[:3], before[:3])
    fresh = Fishr()
    fresh.update(fresh.sums(alone), 0)
    assert fresh.smoothed is not None
    torch.testing.assert_close(fishr.smoothed[3], fresh.smoothed[3])


@pytest.mark.parametrize("cls", [GroupDRO, Fishr])
def test_state_survives_saving(cls: type[Objective]) -> None:
    first, second = cls(), cls()
    outputs = make_outputs()
    first.update(first.sums(outputs), 0)
    second.load_state_dict(first.state_dict())
    for step, objective in enumerate((first, second)):
        objective.update(objective.sums(moved(outputs, 1)), 1)
        assert step or objective.state_dict()
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value)
    assert cls().state_dict() == {}


def test_options_out_of_range_are_refused() -> None:
    for cls, options in (
        (CVaR, {"share": 0.0}),
        (EQRM, {"quantile": 1.0}),
        (Fishr, {"ema": 1.0}),
        (SupCon, {"temperature": 0.0}),
        (DANN, {"depth": 1}),
        (CDANN, {"schedule": "falling"}),
    ):
        with pytest.raises(ValueError, match=f"{cls.name}.{next(iter(options))}"):
            cls(**options)


@pytest.mark.parametrize("name", [name for name, cls in OBJECTIVES.items() if cls.needs_features])
def test_missing_features_are_named(name: str) -> None:
    objective = OBJECTIVES[name]()
    with pytest.raises(ValueError, match="features"):
        objective.sums(make_outputs()._replace(features=None))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_absent_environment_is_left_out(name: str) -> None:
    found = []
    for number in (3, 7):
        outputs = make_outputs()._replace(num_environments=number)
        objective = make_objective(name, outputs)
        totals = objective.sums(outputs)
        objective.update(totals, 9999)
        found.append(objective.loss(totals, step=9999)[0])
    torch.testing.assert_close(found[1], found[0])
