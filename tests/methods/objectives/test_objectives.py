"""The objectives as functions of totals: weights, warm-up, scaling, state."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_ood.methods.losses import CrossEntropy, SampleLoss
from hf_ood.methods.objectives import (
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
from hf_ood.methods.objectives import functional as F_ood
from hf_ood.methods.objectives.penalty import PenaltyObjective
from hf_ood.methods.objectives.steps import resolve_steps

STEPS = 10_000  # of the training that the objectives are in


def make_objective(name: str, outputs: Outputs, **options: Any) -> Objective:
    """With its own network, if it has one: the same whatever the number of absent environments."""
    objective = OBJECTIVES[name](**options)
    present = torch.bincount(outputs.environments, minlength=outputs.num_environments) > 0
    torch.manual_seed(0)
    objective.group_shares = shares_of(outputs)
    objective.build(4, 2, present)
    for parameter in objective.parameters():
        parameter.data = torch.arange(parameter.numel()).double().sin().view_as(parameter)
    objective.start(STEPS)
    return objective


def shares_of(outputs: Outputs) -> Tensor:
    """Unequal shares of classes in the environments that are there, [E, C]."""
    counts = torch.arange(1, 1 + 2 * outputs.num_environments, dtype=torch.float64).view(-1, 2)
    present = torch.bincount(outputs.environments, minlength=outputs.num_environments) > 0
    counts = counts * present[:, None]
    return counts / counts.sum()


def make_outputs() -> Outputs:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(30, 2, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 2, (30,), generator=generator)
    features = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    start = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    weight = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    head = partial(F.linear, weight=weight)
    return Outputs(logits, labels, torch.arange(30) % 3, 3, features, start_features=start, head=head)


def batch(outputs: Outputs) -> tuple[Tensor, Tensor, Tensor, int]:
    """What the functions of `functional` take first."""
    assert outputs.labels is not None
    return outputs.logits, outputs.labels, outputs.environments, outputs.num_environments


def test_erm_is_the_mean_over_samples_or_over_environments() -> None:
    ragged = replace(make_outputs(), environments=torch.tensor([0] * 20 + [1] * 9 + [3]), num_environments=4)
    for weighting, expected in (
        ("samples", F_ood.sample_losses(*batch(ragged)[:2]).mean()),
        ("environments", F_ood.environment_risks(*batch(ragged))[[0, 1, 3]].mean()),
    ):
        erm = ERM(weighting=weighting)
        torch.testing.assert_close(erm.loss(erm.sums(ragged), step=0)[0], expected)
    assert ERM() == ERM(weighting="samples")


WEIGHTED = [name for name, cls in OBJECTIVES.items() if "weighting" in cls.__dataclass_fields__]


@pytest.mark.parametrize("name", WEIGHTED)
def test_what_weighs_the_same_is_a_choice(name: str) -> None:
    """By how much the two losses differ is by how much the two means of the losses do (SD: of its sums)."""
    assert WEIGHTED == ["erm", "sd", "fishr", "dann", "cdann"]
    ragged = replace(make_outputs(), environments=torch.tensor([0] * 20 + [1] * 9 + [2]))
    found = {}
    for weighting in ("samples", "environments"):
        objective = make_objective(name, ragged, weighting=weighting)
        found[weighting] = objective.loss(objective.sums(ragged), 0)[0]
    values = F_ood.sample_losses(*batch(ragged)[:2])
    if name == "sd":
        values = values + 0.1 * ragged.logits.square().mean(1)
    by_environment = torch.stack([values[:20].mean(), values[20:29].mean(), values[29]]).mean()
    torch.testing.assert_close(found["environments"] - found["samples"], by_environment - values.mean())
    with pytest.raises(
        ValueError, match=f"{name}.weighting must be one of samples, environments, not 'rows'"
    ):
        OBJECTIVES[name](weighting="rows")


def test_irm_adds_the_weighted_penalty_and_divides_by_the_weight() -> None:
    outputs = make_outputs()
    risk = F_ood.environment_risks(*batch(outputs)).mean()
    penalty = F_ood.irm_penalty(*batch(outputs))
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
    outputs = replace(make_outputs(), num_environments=5)
    vrex = VREx(penalty_weight=4.0, warmup_steps=0)
    risks = F_ood.environment_risks(*batch(outputs))[:3]
    expected = (risks.mean() + 4 * risks.var(unbiased=False)) / 4
    torch.testing.assert_close(vrex.loss(vrex.sums(outputs), step=0)[0], expected)


PENALTIES = {
    "ib_erm": (IBERM, lambda o: F_ood.information_bottleneck_penalty(o.features, *batch(o)[2:])),
    "sd": (SD, lambda o: F_ood.spectral_decoupling_penalty(o.logits)),
    "coral": (CORAL, lambda o: F_ood.coral_penalty(o.features, *batch(o)[2:])),
    "mmd": (MMD, lambda o: F_ood.mmd_penalty(o.features, *batch(o)[2:])),
    "fishr": (Fishr, lambda o: F_ood.fishr_penalty(o.logits, o.features, *batch(o)[1:])),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_on_sums_is_the_penalty_on_samples(name: str) -> None:
    outputs = make_outputs()
    cls, penalty = PENALTIES[name]
    options: dict[str, Any] = {"kernel": "exact"} if name == "mmd" else {}
    objective = cls(penalty_weight=7.0, warmup_steps=3, divisor=1.0, **options)
    risk = F_ood.environment_risks(*batch(outputs)).mean()
    totals = objective.sums(outputs)
    torch.testing.assert_close(objective.loss(totals, step=3)[0], risk + 7 * penalty(outputs))
    assert cls().divisor == 1.0
    early = objective.warmup_penalty_weight
    torch.testing.assert_close(objective.loss(totals, step=2)[0], risk + early * penalty(outputs))


def test_ib_irm_has_both_penalties_after_the_warmup() -> None:
    outputs = make_outputs()
    both = IBIRM(penalty_weight=5.0, bottleneck_weight=2.0, warmup_steps=3, bottleneck_warmup_steps=3)
    irm = IRM(penalty_weight=5.0, warmup_steps=3)
    totals = both.sums(outputs)
    variance = F_ood.information_bottleneck_penalty(outputs.features, *batch(outputs)[2:])
    torch.testing.assert_close(both.loss(totals, 2)[0], irm.loss(totals, 2)[0])
    torch.testing.assert_close(both.loss(totals, 3)[0], irm.loss(totals, 3)[0] + 2 * variance / 5)
    early, late = (replace(both, bottleneck_warmup_steps=steps, reset_optimizer=True) for steps in (2, 5))
    torch.testing.assert_close(early.loss(totals, 2)[0], irm.loss(totals, 2)[0] + 2 * variance)
    torch.testing.assert_close(late.loss(totals, 4)[0], irm.loss(totals, 4)[0])
    torch.testing.assert_close(late.loss(totals, 5)[0], irm.loss(totals, 5)[0] + 2 * variance / 5)
    assert [step for step in range(8) if late.resets_optimizer(step)] == [3, 5]


def test_cvar_and_eqrm_are_functions_of_present_risks() -> None:
    outputs = replace(make_outputs(), num_environments=6)
    risks = F_ood.environment_risks(*batch(outputs))[:3]
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
    outputs = replace(make_outputs(), num_environments=4)
    dro = GroupDRO(step_size=1.0)
    totals = dro.sums(outputs)
    risks = F_ood.environment_risks(*batch(outputs))[:3]
    for step in range(2):
        dro.update(totals, step)
    grown = (2 * risks).exp()
    expected = 0.75 * grown / grown.sum()
    assert dro.weights is not None
    torch.testing.assert_close(dro.weights, torch.cat([expected, expected.new_tensor([0.25])]))
    torch.testing.assert_close(dro.loss(totals, 1)[0], (grown * risks).sum() / grown.sum())


def moved(outputs: Outputs, number: int) -> Outputs:
    generator = torch.Generator().manual_seed(number)
    return replace(outputs, logits=torch.randn(30, 2, generator=generator, dtype=torch.float64))


def test_fishr_penalises_smoothed_variances_with_domainbeds_slope_in_the_present() -> None:
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
    torch.testing.assert_close(torch.autograd.grad(penalty, leaf)[0], slope / (1 - 0.9))


def test_fishr_starts_an_average_when_an_environment_first_appears_and_keeps_it_while_absent() -> None:
    outputs = replace(make_outputs(), num_environments=4)
    alone = replace(outputs, environments=torch.full((30,), 3))
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


def test_fishrs_weight_means_what_it_means_in_domainbed() -> None:
    """Its average of variances that stay the same grows from zero to 1 / (1 - ema) times them; its gradient
    in a step's variances then is ours, from our first step on."""
    ema, now = 0.95, torch.rand(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    theirs, leaf = torch.zeros_like(now), now.clone().requires_grad_()
    for _ in range(1000):
        theirs = (ema * theirs.detach() * (1 - ema) + (1 - ema) * leaf) / (1 - ema)
    (theirs - theirs.mean(0)).square().mean().backward()
    fishr = Fishr(ema=ema)
    # One residual in each environment, one feature: the sums decide the variances.
    totals = {"count": torch.ones(3, dtype=torch.float64), "gradients": torch.zeros(3, 1, 4).double()}
    ours = now.view(3, 1, 4).clone().requires_grad_()
    totals["squared_gradients"] = ours
    fishr.update({name: total.detach() for name, total in totals.items()}, 0)
    fishr.penalty(totals).backward()
    torch.testing.assert_close(ours.grad.flatten(1), leaf.grad)


@pytest.mark.parametrize("cls", [GroupDRO, Fishr])
def test_a_new_training_forgets_the_one_before(cls: type[Objective]) -> None:
    objective, outputs = cls(), make_outputs()
    objective.progress = 0.5
    objective.update(objective.sums(outputs), 0)
    assert objective.state_dict()
    objective.start(100)
    assert objective.state_dict() == {} and objective.progress == 0.0 and objective.total_steps == 100


def test_and_keeps_the_networks_that_were_built() -> None:
    dann = make_objective("dann", make_outputs())
    before = [parameter.clone() for parameter in dann.parameters()]
    dann.start(3)
    assert all(torch.equal(*pair) for pair in zip(dann.parameters(), before, strict=True))


WARMUPS = [(name, warmup) for name, cls in OBJECTIVES.items() for warmup in cls.warmups]


@pytest.mark.parametrize(
    ("value", "total", "expected"),
    [
        (0.1, 5000, 500),
        (0.29, 100, 29),
        (0.1, 9, 0),
        (0.9, 1, 0),
        (0, 7, 0),
        (1, 7, 1),
        (500, 501, 500),
        (3.0, 9, 3),
    ],
)
def test_a_warmup_below_one_is_a_share_of_the_training(value: float, total: int, expected: int) -> None:
    assert resolve_steps(value, total) == expected


@pytest.mark.parametrize(("name", "warmup"), WARMUPS)
def test_a_warmup_begins_and_ends(name: str, warmup: str) -> None:
    others: dict[str, Any] = dict.fromkeys(OBJECTIVES[name].warmups, 0)
    if issubclass(OBJECTIVES[name], PenaltyObjective):
        others["penalty_weight"] = 3.0  # another one than during the warm-up
    if name == "mmd":
        others["kernel"] = "exact"  # nothing to build
    with pytest.raises(
        ValueError, match=rf"{name}\.{warmup} is 20 steps, and the training has 20: .*below 1"
    ):
        OBJECTIVES[name](**{**others, warmup: 20}).start(20)
    with pytest.raises(ValueError, match=rf"{name}\.{warmup} must be 0 or more, not -1"):
        OBJECTIVES[name](**{warmup: -1})
    share = OBJECTIVES[name](**{**others, warmup: 0.25})
    outputs = make_outputs()
    if not share.parameters():
        with pytest.raises(
            ValueError, match=rf"{name}\.{warmup} is 0\.25, a share .* call start\(total_steps\)"
        ):
            share.loss(share.sums(outputs), 0)
    share.start(20)
    steps = OBJECTIVES[name](**{**others, warmup: 5})
    never = OBJECTIVES[name](**others)
    totals = share.sums(outputs)
    for step in (0, 4, 5, 19):
        expected = steps.loss(totals, step)[0]
        torch.testing.assert_close(share.loss(totals, step)[0], expected)
        assert torch.equal(expected, never.loss(totals, step)[0]) == (step >= 5)


def losses_under(loss: SampleLoss, name: str, outputs: Outputs) -> Tensor:
    objective = make_objective(name, outputs)
    totals = objective.sums(replace(outputs, loss=loss))
    objective.update({key: total.detach() for key, total in totals.items()}, STEPS - 1)
    return objective.loss(totals, STEPS - 1)[0]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_smoothing_and_weights_reach_every_objective(name: str) -> None:
    outputs = make_outputs()
    weighted = CrossEntropy(class_weights=[1, 5]).prepare(outputs.labels, 2)
    found = [losses_under(loss, name, outputs) for loss in (CrossEntropy(), CrossEntropy(0.2), weighted)]
    assert len({round(value.item(), 9) for value in found}) == 3


@pytest.mark.parametrize("name", [name for name, cls in OBJECTIVES.items() if not cls.needs_head])
def test_given_losses_are_as_good_as_a_loss(name: str) -> None:
    """And need no labels, but where the method compares classes."""
    outputs, loss = make_outputs(), CrossEntropy(0.2)
    logits = outputs.logits.clone().requires_grad_()
    needs_labels = OBJECTIVES[name].needs_classes or name == "reweighting"
    given = replace(
        outputs,
        logits=logits,
        labels=outputs.labels if needs_labels else None,
        given_losses=loss(logits, outputs.labels),
    )
    torch.testing.assert_close(
        losses_under(CrossEntropy(), name, given), losses_under(loss, name, outputs), rtol=1e-9, atol=1e-12
    )
    if needs_labels:
        with pytest.raises(ValueError, match="needs labels"):
            losses_under(loss, name, replace(given, labels=None))


def test_slopes_of_given_losses_are_differentiable_and_lost_graphs_are_explained() -> None:
    outputs = make_outputs()
    logits = outputs.logits.clone().requires_grad_()
    given = replace(
        outputs, logits=logits, labels=None, given_losses=F_ood.sample_losses(logits, outputs.labels)
    )
    with torch.no_grad():
        assert not replace(given).slopes.requires_grad
    direct = replace(outputs, logits=logits)
    for ours, theirs in ((given.slopes, direct.slopes), (given.residuals, direct.residuals)):
        gradients = [
            torch.autograd.grad(v.square().sum(), logits, retain_graph=True)[0] for v in (ours, theirs)
        ]
        torch.testing.assert_close(*gradients)
    for lost in (
        given.given_losses.detach(),
        F_ood.sample_losses(logits.detach().requires_grad_(), outputs.labels),
    ):
        with pytest.raises(ValueError, match="compute the losses from these very logits"):
            _ = replace(given, given_losses=lost).slopes


def test_the_unbiased_irm_penalty_is_the_mean_over_pairs_of_samples() -> None:
    outputs = replace(make_outputs(), environments=torch.tensor([0] * 20 + [1] * 9 + [3]), num_environments=4)
    slopes = F_ood.sample_slopes(*batch(outputs)[:2])
    means = []
    for own in (slopes[:20], slopes[20:29]):  # the third environment has one sample, which makes no pair
        products = [own[i] * own[j] for i in range(len(own)) for j in range(len(own)) if i != j]
        means.append(torch.stack(products).mean())
    irm = IRM(penalty_weight=3.0, warmup_steps=0, divisor=1.0, estimator="unbiased")
    risk = F_ood.environment_risks(*batch(outputs))[[0, 1, 3]].mean()
    loss, parts = irm.loss(irm.sums(outputs), 0)
    torch.testing.assert_close(loss, risk + 3 * torch.stack(means).mean())
    torch.testing.assert_close(parts["irm_penalty"], torch.stack(means).mean())
    with pytest.raises(ValueError, match=r"irm\.estimator must be one of squared, unbiased, not 'best'"):
        IRM(estimator="best")


def test_irms_estimators_are_biased_and_unbiased() -> None:
    """On average over batches of 4 drawn from 30 samples, whose own slope is the truth."""
    outputs = replace(make_outputs(), environments=torch.zeros(30, dtype=torch.long), num_environments=1)
    generator = torch.Generator().manual_seed(0)
    slopes = F_ood.sample_slopes(*batch(outputs)[:2])
    draws = torch.randint(0, 30, (400_000, 4), generator=generator)
    truth, variance = slopes.mean().square(), slopes.var(unbiased=False)
    found = {}
    for name in ("squared", "unbiased"):
        irm = IRM(estimator=name)
        own = slopes[draws]
        totals = {
            "count": torch.full((len(draws),), 4.0, dtype=torch.float64),
            "slope": own.sum(1),
            "squared_slope": own.square().sum(1),
        }
        found[name] = irm.penalty(totals)
    tolerance = float(variance / 4 / 20)  # a twentieth of the bias
    assert found["unbiased"] == pytest.approx(float(truth), abs=tolerance)
    assert found["squared"] == pytest.approx(float(truth + variance / 4), abs=tolerance)


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
        objective.sums(replace(make_outputs(), features=None))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_absent_environment_is_left_out(name: str) -> None:
    found = []
    for number in (3, 7):
        outputs = replace(make_outputs(), num_environments=number)
        objective = make_objective(name, outputs)
        totals = objective.sums(outputs)
        objective.update(totals, STEPS - 1)
        found.append(objective.loss(totals, step=STEPS - 1)[0])
    torch.testing.assert_close(found[1], found[0])
