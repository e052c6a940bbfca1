"""Weights by sizes and the worst samples, against loops in float64, and what the sampler draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_dataset
from torch import Tensor

from hf_ood import (
    LeNetConfig,
    LeNetForImageClassification,
    OODConfig,
    OODTrainer,
    Reweighting,
    SampleCVaR,
)
from hf_ood.data import EnvironmentDataset, EnvironmentSampler
from hf_ood.data.sampler import drawn_shares
from hf_ood.engine import ExactStep
from hf_ood.methods.losses import CrossEntropy
from hf_ood.methods.objectives import Outputs

PLACES = torch.tensor([0] * 20 + [1] * 10 + [2] * 2)
LABELS = torch.tensor([0] * 16 + [1] * 4 + [0] * 2 + [1] * 8 + [1] * 2)  # class 0 is not in environment 2


def make_rows(repeats: Tensor | None = None) -> EnvironmentDataset:
    rows = EnvironmentDataset(
        torch.zeros(len(PLACES), 3, 28, 28, dtype=torch.uint8), LABELS, PLACES, ["a", "b"], ["x", "y", "z"]
    )
    return rows if repeats is None else rows.with_repeats(repeats)


def make_outputs() -> Outputs:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(len(PLACES), 2, generator=generator, dtype=torch.float64)
    return Outputs(logits.requires_grad_(), LABELS, PLACES, 3)


def kinds(by: str) -> list[tuple[int, int]]:
    """What each sample's size is that of."""
    pairs = zip(PLACES.tolist(), LABELS.tolist(), strict=True)
    return [{"class": (0, y), "environment": (e, 0), "group": (e, y)}[by] for e, y in pairs]


@pytest.mark.parametrize("power", [1.0, 0.5])
@pytest.mark.parametrize("by", ["class", "environment", "group"])
def test_reweighting_is_the_weighted_mean(by: str, power: float) -> None:
    outputs, own = make_outputs(), kinds(by)
    objective = Reweighting(by=by, power=power)
    objective.group_shares = drawn_shares(make_rows(), "natural")
    objective.build(0, 2, torch.ones(3, dtype=torch.bool))
    weights = torch.tensor([own.count(kind) ** -power for kind in own], dtype=torch.float64)
    expected = (weights * outputs.losses).sum() / weights.sum()
    found, parts = objective.loss(objective.sums(outputs), step=0)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(parts["risk"], outputs.losses.mean())
    shares = torch.nn.functional.one_hot(LABELS, 2).double()
    torch.testing.assert_close(objective.loss(objective.sums(replace(outputs, labels=shares)), 0)[0], found)


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("proportions", ["natural", "equal", "classes", "groups"])
def test_shares_are_those_of_what_the_sampler_draws(proportions: str, repeated: bool) -> None:
    repeats = torch.arange(len(PLACES)) % 3 + 1 if repeated else None
    rows = make_rows(repeats)
    sampler = EnvironmentSampler.of(rows, proportions, replacement=True)
    drawn = np.zeros((3, 2))
    for epoch in range(400):
        sampler.set_epoch(epoch)
        for row in sampler:
            drawn[PLACES[row], LABELS[row]] += 1
    np.testing.assert_allclose(drawn / drawn.sum(), drawn_shares(rows, proportions).numpy(), atol=0.02)


def test_classes_are_drawn_in_equal_parts() -> None:
    order = list(islice(EnvironmentSampler.of(make_rows(), "classes", step=8), 8))
    assert LABELS[order].sum() == 4
    sampler = EnvironmentSampler.of(make_rows(), "classes")
    assert len(set(sampler)) == 30  # 16 of each, of 18 and 14 samples


def make_trainer(folder: Path, objective: Reweighting, proportions: str) -> OODTrainer:
    args = OODConfig(
        str(folder),
        per_device_train_batch_size=12,
        environment_proportions=proportions,
        sample_with_replacement=True,
        max_steps=2,
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    model = LeNetForImageClassification(LeNetConfig())
    return OODTrainer(model, args, objective=objective, train_dataset=make_rows())


@pytest.mark.parametrize(("by", "proportions"), [("environment", "equal"), ("class", "classes")])
def test_weights_that_would_all_be_one_are_refused(by: str, proportions: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"the same share of every {by}, so all weights would be 1"):
        make_trainer(tmp_path, Reweighting(by=by), proportions)


def test_batches_of_equal_environments_leave_classes_to_be_weighted(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Reweighting(by="group"), "equal")
    weights = trainer.objective.weights()
    expected = torch.tensor([[1 / 0.8, 1 / 0.2], [1 / 0.2, 1 / 0.8], [0, 1]], dtype=torch.float64)
    torch.testing.assert_close(weights / weights[2, 1], expected)  # of z all samples are one class
    trainer.train()


def test_reweighting_says_what_it_lacks() -> None:
    with pytest.raises(ValueError, match="set group_shares"):
        Reweighting().weights()
    objective = Reweighting()
    objective.group_shares = torch.tensor([[0.4], [0.6]])
    with pytest.raises(ValueError, match="counts classes, and the data have none: set it to 'environment'"):
        objective.build(0, 1, torch.ones(2, dtype=torch.bool))
    for options, message in (({"by": "label"}, "must be one of class"), ({"power": 0.0}, "0 is erm")):
        with pytest.raises(ValueError, match=message):
            Reweighting(**options)


def test_the_threshold_descends_and_is_the_quantile_in_the_end() -> None:
    """On a fixed batch: the minimum over eta is the mean of the worst share, its minimiser the quantile."""
    losses = torch.rand(200, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    objective = SampleCVaR(share=0.25, step_size=0.01)
    objective.start(3000)
    for step in range(3000):
        objective.progress = step / 3000
        outputs = Outputs(torch.zeros(200, 2), None, torch.zeros(200).long(), 1, given_losses=losses)
        totals = objective.sums(outputs)
        eta = float(objective.threshold)
        value = eta + sum(max(loss - eta, 0) for loss in losses.tolist()) / (0.25 * 200)
        objective.update(totals, step)
        slope = 1 - sum(loss > eta for loss in losses.tolist()) / (0.25 * 200)
        assert float(objective.threshold) == pytest.approx(eta - 0.01 * slope)
        found, _ = objective.loss(totals, step)
        assert found.item() == pytest.approx(value)
    worst = losses.sort(descending=True).values[:50].mean()
    assert found.item() == pytest.approx(worst.item(), abs=2e-3)
    assert float(objective.threshold) == pytest.approx(losses.quantile(0.75).item(), abs=0.03)


def test_a_step_in_parts_has_one_threshold() -> None:
    """Seen twice, for the totals and for gradients, its samples meet the threshold of before the step."""
    model = torch.nn.Linear(3, 2, dtype=torch.float64)
    inputs = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels, places = torch.arange(12) % 2, torch.arange(12) % 3

    def forward(model: torch.nn.Module, batch: Mapping[str, Tensor]) -> Outputs:
        return Outputs(model(batch["x"]), batch["y"], batch["environment"], 3, loss=CrossEntropy())

    found = []
    for size in (12, 4):
        objective = SampleCVaR(share=0.3, step_size=0.5, initial_threshold=0.6)
        objective.start(3)
        exact = ExactStep(objective, forward, 3)
        gradients = []
        for step in range(3):
            parts = [slice(at, at + size) for at in range(0, 12, size)]
            batches = [{"x": inputs[p], "y": labels[p], "environment": places[p]} for p in parts]
            exact.begin(model, batches, step, 3)
            model.zero_grad()
            for batch in batches:
                exact.share(batch).backward()
            gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        found.append((torch.stack(gradients), objective.threshold))
    torch.testing.assert_close(found[0], found[1])
    assert not torch.equal(found[0][0][0], found[0][0][1])


def test_shares_reach_the_objective_of_a_trainer(tmp_path: Path) -> None:
    data = make_dataset()
    args = OODConfig(str(tmp_path), per_device_train_batch_size=6, use_cpu=True)
    trainer = OODTrainer(LeNetForImageClassification(LeNetConfig()), args, train_dataset=data)
    torch.testing.assert_close(trainer.objective.group_shares, drawn_shares(data, "equal"))
