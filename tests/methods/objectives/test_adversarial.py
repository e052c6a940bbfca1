"""DANN and CDANN against their equations written out in float64, by plain autograd without a reversal."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_ood.methods.objectives import CDANN, DANN, Outputs
from hf_ood.methods.objectives.discriminator import Discriminator, rising_strength

SIZE = 4


def make_outputs(environments: list[int], num_environments: int) -> Outputs:
    generator = torch.Generator().manual_seed(1)
    number = len(environments)
    features = torch.randn(number, SIZE, generator=generator, dtype=torch.float64).requires_grad_()
    head = torch.randn(SIZE, 3, generator=generator, dtype=torch.float64)
    labels = torch.arange(number) % 7 % 3  # classes of different sizes
    return Outputs(features @ head, labels, torch.tensor(environments), num_environments, features)


def built(objective: DANN, outputs: Outputs) -> Discriminator:
    """A discriminator with weights at random everywhere."""
    present = torch.bincount(outputs.environments, minlength=outputs.num_environments) > 0
    objective.build(SIZE, 3, present)
    discriminator = objective.discriminator
    assert discriminator is not None
    generator = torch.Generator().manual_seed(2)
    for parameter in discriminator.double().parameters():
        nn.init.normal_(parameter, generator=generator)
    return discriminator


def guesses(discriminator: Discriminator, outputs: Outputs) -> Iterator[tuple[int, int, Tensor, Tensor]]:
    """One sample at a time, over the environments that are there only: its class, its environment, the loss
    of its guess, and what of it the discriminator sees."""
    assert outputs.features is not None and outputs.labels is not None
    seen = outputs.environments.unique().tolist()
    for row, (label, environment) in enumerate(
        zip(outputs.labels.tolist(), outputs.environments.tolist(), strict=True)
    ):
        sample = hidden = outputs.features[row]
        if discriminator.classes is not None:
            hidden = hidden + discriminator.classes.weight[label]
        for layer in discriminator.hidden:
            if isinstance(layer, nn.Linear):
                hidden = (layer.weight @ hidden + layer.bias).clamp_min(0)
        scores = discriminator.last.weight[seen] @ hidden + discriminator.last.bias[seen]
        yield label, environment, -scores.log_softmax(0)[seen.index(environment)], sample


def risk_of_guessing(discriminator: Discriminator, outputs: Outputs, by_class: bool) -> Tensor:
    losses: dict[int, list[Tensor]] = {}
    for label, environment, loss, _ in guesses(discriminator, outputs):
        losses.setdefault(label if by_class else environment, []).append(loss)
    return torch.stack([torch.stack(group).mean() for group in losses.values()]).mean()


def mean_squared_gradient(discriminator: Discriminator, outputs: Outputs) -> Tensor:
    found = [
        torch.autograd.grad(loss, sample, create_graph=True)[0].square().sum()
        for _, _, loss, sample in guesses(discriminator, outputs)
    ]
    return torch.stack(found).mean()


@pytest.mark.parametrize(
    ("environments", "number"),
    [([0, 1, 2] * 6, 3), ([0] * 5 + [1] * 9 + [2], 3), ([0] * 6 + [3] * 5, 5)],
    ids=["equal", "ragged", "absent"],
)
@pytest.mark.parametrize(
    "objective",
    [
        DANN(weight=2.5, depth=2, width=8),
        CDANN(weight=0.7, width=8),
        CDANN(class_balanced=False, width=8),
        DANN(weight=2.5, width=8, gradient_penalty=0.4),
        CDANN(weight=0.7, width=8, gradient_penalty=0.4),
    ],
    ids=["dann", "cdann", "cdann by environment", "dann + gradient", "cdann + gradient"],
)
def test_features_ascend_what_the_discriminator_descends(
    objective: DANN, environments: list[int], number: int
) -> None:
    objective.progress = 0.3
    outputs = make_outputs(environments, number)
    discriminator = built(objective, outputs)
    loss, parts = objective.loss(objective.sums(outputs), step=0)
    risk = F.cross_entropy(outputs.logits, outputs.labels)
    by_class = isinstance(objective, CDANN) and objective.class_balanced
    guessing = risk_of_guessing(discriminator, outputs, by_class)
    torch.testing.assert_close(parts["discriminator_loss"], guessing)
    if objective.gradient_penalty:
        norm = mean_squared_gradient(discriminator, outputs)
        torch.testing.assert_close(parts["discriminator_gradient"], norm)
        guessing = guessing + objective.gradient_penalty * norm
    torch.testing.assert_close(loss, risk + guessing)
    strength = objective.weight * (2 / (1 + math.exp(-3.0)) - 1)
    own = objective.parameters()
    found = torch.autograd.grad(loss, [outputs.features, *own], retain_graph=True, materialize_grads=True)
    assert outputs.features is not None
    expected = torch.autograd.grad(risk - strength * guessing, outputs.features, retain_graph=True)
    expected += torch.autograd.grad(guessing, own, materialize_grads=True)
    for gradient, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, theirs, rtol=1e-9, atol=1e-12)


def test_the_strength_rises_from_nought_to_one() -> None:
    assert rising_strength(0.0) == 0.0
    assert rising_strength(0.1) == pytest.approx(math.tanh(0.5))
    assert rising_strength(1.0) == pytest.approx(1.0, abs=1e-4)
    dann = DANN(weight=3.0)
    dann.progress = 0.1
    assert dann.strength() == pytest.approx(3 * math.tanh(0.5))
    assert DANN(weight=3.0, schedule="constant").strength() == 3.0


def test_a_new_discriminator_knows_nothing_and_has_the_asked_size() -> None:
    cdann = CDANN(width=16, depth=4, dropout=0.2)
    cdann.build(SIZE, 3, torch.tensor([True, False, True]))
    discriminator = cdann.discriminator
    assert discriminator is not None
    probabilities = discriminator(torch.randn(5, SIZE), torch.arange(5) % 3).softmax(1)
    torch.testing.assert_close(probabilities, torch.tensor([0.5, 0.0, 0.5]).expand(5, 3))
    shapes = [tuple(m.weight.shape) for m in discriminator.modules() if isinstance(m, nn.Linear)]
    assert shapes == [(16, SIZE), (16, 16), (16, 16), (3, 16)]
    assert [m.p for m in discriminator.modules() if isinstance(m, nn.Dropout)] == [0.2] * 3


def test_the_discriminators_weights_are_the_objectives_state() -> None:
    outputs = make_outputs([0, 1] * 5, 2)
    first, second = CDANN(width=8), CDANN(width=8)
    assert first.state_dict() == {} and first.parameters() == []
    built(first, outputs)
    second.build(SIZE, 3, torch.ones(2, dtype=torch.bool))
    assert second.discriminator is not None
    second.discriminator.double()
    second.load_state_dict(first.state_dict())
    sums = first.sums(outputs)
    for name, total in second.sums(outputs).items():
        assert torch.equal(total, sums[name])


@pytest.mark.parametrize("cls", [DANN, CDANN])
def test_the_gradient_penalty_is_known_without_a_graph(cls: type[DANN]) -> None:
    outputs, objective = make_outputs([0, 1] * 5, 2), cls(width=8, gradient_penalty=1.0)
    built(objective, outputs)
    with torch.no_grad():
        without = objective.sums(outputs)
    for name, total in objective.sums(outputs).items():
        torch.testing.assert_close(without[name], total)


def test_an_objective_without_its_network_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"cdann .* build\("):
        CDANN().sums(make_outputs([0, 1], 2))
