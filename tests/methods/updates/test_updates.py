"""Every update against a straightforward formula in float64, and what the engine does around them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import permutations, product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import make_args, make_dataset
from methods.updates.tiny_step import (
    COUNTS,
    LEARNING_RATE,
    Weights,
    make_data,
    make_tiny,
    same,
    start,
    train,
    weights_of,
)
from torch import Tensor, nn
from torch.func import functional_call

from hf_ood import OODTrainer
from hf_ood.methods.registry import build_method
from hf_ood.methods.updates import UPDATES
from hf_ood.methods.updates.and_mask import and_mask
from hf_ood.methods.updates.sand_mask import sand_mask


def environment_risk(weights: Weights, environment: int) -> Tensor:
    data = make_data()
    rows = data.environments == environment
    logits = functional_call(make_tiny(), weights, (data.columns["pixel_values"][rows].float() / 255,)).logits
    return F.cross_entropy(logits, data.labels[rows])


def risk_of(environment: int) -> Callable[[Weights], Tensor]:
    return partial(environment_risk, environment=environment)


def risk(weights: Weights) -> Tensor:
    return (environment_risk(weights, 0) + environment_risk(weights, 1)) / 2


def gradient(function: Callable[[Weights], Tensor], weights: Weights, graph: bool = False) -> Weights:
    leaves = {n: w if graph else w.detach().requires_grad_() for n, w in weights.items()}
    parts = torch.autograd.grad(function(leaves), list(leaves.values()), create_graph=graph)
    return dict(zip(leaves, parts, strict=True))


def moved(weights: Weights, by: Weights, factor: float) -> Weights:
    return {n: weights[n].detach() + factor * by[n].detach() for n in weights}


def penalised(weights: Weights) -> Tensor:
    spread = environment_risk(weights, 0) - environment_risk(weights, 1)
    return risk(weights) + 50 * spread.square() / 4


@pytest.mark.parametrize(
    ("method", "loss"), [("erm+sam", risk), ("vrex+sam", lambda weights: penalised(weights) / 50)]
)
def test_sam_takes_the_gradient_at_the_perturbed_weights(
    method: str, loss: Callable[[Weights], Tensor], tmp_path: Path
) -> None:
    options: dict[str, dict[str, Any]] = {
        "sam": {"rho": 0.3},
        "vrex": {"penalty_weight": 50.0, "warmup_steps": 0},
        "erm": {"weighting": "environments"},
    }
    trainer, keep = train(tmp_path, method, options)
    here = gradient(loss, start())
    norm = torch.cat([part.flatten() for part in here.values()]).norm().item()
    there = moved(start(), here, 0.3 / norm)
    expected = gradient(loss, there)
    assert same(keep.gradients, expected) and not same(keep.gradients, here)
    assert same(weights_of(trainer), moved(start(), expected, -LEARNING_RATE))
    logs = trainer.state.log_history[0]
    assert logs["loss"] == pytest.approx(loss(start()).item(), rel=1e-5)
    assert logs["sharpness"] == pytest.approx((loss(there) - loss(start())).item(), rel=1e-4)


def test_mldg_with_two_environments_learns_on_one_for_the_other(tmp_path: Path) -> None:
    trainer, keep = train(tmp_path, "mldg", {"mldg": {"beta": 2.0}})
    found = []
    for kept, held_out in ((0, 1), (1, 0)):
        first = gradient(risk_of(kept), start())
        signs = {n: part / (part.abs() + 1e-8) for n, part in first.items()}
        inner = moved(start(), signs, -LEARNING_RATE)
        second = gradient(risk_of(held_out), inner)
        found.append(same(keep.gradients, moved(first, second, 2.0)))
    assert sorted(found) == [False, True]
    assert same(weights_of(trainer), moved(start(), keep.gradients, -LEARNING_RATE))


def fish_by_hand(optimizer_class: Any, orders: list[tuple[int, ...]]) -> Weights:
    weights = {n: nn.Parameter(w) for n, w in start().items()}
    optimizer = optimizer_class(weights.values(), lr=LEARNING_RATE)
    for order in orders:
        before = {n: w.detach().clone() for n, w in weights.items()}
        for environment in order:
            optimizer.zero_grad()
            environment_risk(dict(weights), environment).backward()
            optimizer.step()
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(before[name] + 0.5 * (weight - before[name]))
    return {n: w.detach() for n, w in weights.items()}


@pytest.mark.parametrize(
    ("name", "optimizer_class"), [("sgd", torch.optim.SGD), ("adamw_torch", torch.optim.AdamW)]
)
def test_fish_goes_half_the_way_of_its_inner_loop(name: str, optimizer_class: Any, tmp_path: Path) -> None:
    """AdamW at two steps: its moments go on from one inner loop to the next."""
    trainer, _ = train(tmp_path, "fish", optim=name, max_steps=2, num_train_epochs=2)
    if optimizer_class is torch.optim.AdamW:
        optimizer_class = lambda weights, lr: torch.optim.AdamW(weights, lr=lr, weight_decay=0.0)  # noqa: E731
    orders = list(permutations(range(2)))
    matches = [
        same(weights_of(trainer), fish_by_hand(optimizer_class, list(both)))
        for both in product(orders, orders)
    ]
    assert sum(matches) == 1


def environment_gradients() -> list[Weights]:
    return [gradient(risk_of(e), start()) for e in range(2)]


@pytest.mark.parametrize(("name", "options"), [("and_mask", {}), ("sand_mask", {"tau": 0.5, "k": 1e-3})])
def test_masks_let_through_what_environments_agree_on(
    name: str, options: dict[str, float], tmp_path: Path
) -> None:
    _, keep = train(tmp_path, name, {name: options})
    one, two = environment_gradients()
    for parameter, found in keep.gradients.items():
        masks, means = [], []
        for a, b in zip(one[parameter].flatten().tolist(), two[parameter].flatten().tolist(), strict=True):
            agree = a * b > 0
            variance = (a - b) ** 2 / 2
            masks.append(
                agree * (1.0 if name == "and_mask" else float(torch.tensor(1e-3 * 0.5 / variance).tanh()))
            )
            means.append((a + b) / 2)
        mask, mean = torch.tensor(masks).double(), torch.tensor(means).double()
        expected = mask * mean / max(mask.mean().item(), 1e-10)
        torch.testing.assert_close(found.flatten(), expected, rtol=1e-5, atol=1e-9)
    logged = keep.trainer.state.log_history[0]
    assert 0 < logged[f"{name}_share"] < 1


def test_iga_has_the_gradient_of_its_penalty(tmp_path: Path) -> None:
    trainer, keep = train(tmp_path, "iga", {"iga": {"penalty_weight": 30.0}})

    def loss(weights: Weights) -> Tensor:
        one, two = (gradient(risk_of(e), weights, graph=True) for e in range(2))
        penalty = torch.stack([(one[n] - two[n]).square().sum() / 4 for n in one]).sum()
        return risk(weights) + 30 * penalty

    leaves = {n: w.requires_grad_() for n, w in start().items()}
    assert same(keep.gradients, gradient(loss, leaves, graph=True))
    assert not same(keep.gradients, gradient(risk, leaves))
    assert trainer.state.log_history[0]["loss"] == pytest.approx(loss(leaves).item(), rel=1e-5)


def test_masks_count_signs_and_weigh_variances() -> None:
    gradients = torch.tensor([[1.0, 1.0, 1.0, 0.0], [2.0, 2.0, -1.0, 0.0], [3.0, -1.0, 0.0, 0.0]])
    assert and_mask(gradients, 1.0).tolist() == [1, 0, 0, 0]
    assert and_mask(gradients, 1 / 3).tolist() == [1, 1, 0, 0]
    assert and_mask(gradients, 0.0).tolist() == [1, 1, 1, 1]
    expected = torch.tensor([0.8 / 1.0, (1 / 3 - 0.2) / (7 / 3), 0.0, 0.0]).tanh()
    torch.testing.assert_close(sand_mask(gradients, 0.2, 1.0), expected)
    equal = torch.full((3, 2), 0.7)
    assert sand_mask(equal, 0.5, 10.0).tolist() == [1, 1]  # no variance: the mask is open
    assert sand_mask(equal[:1], 0.5, 10.0).tolist() == [1, 1]  # nobody to disagree with


@pytest.mark.parametrize("name", UPDATES)
def test_every_sample_is_counted_once_a_step(name: str, tmp_path: Path) -> None:
    _, keep = train(tmp_path, name)
    assert keep.counted == list(COUNTS)


def test_looking_twice_leaves_no_trace(tmp_path: Path) -> None:
    """SAM with a radius of 0 is ERM, dropout and batch statistics included."""
    found = {}
    for method in ("erm", "sam"):
        model = make_tiny()
        model.normalised, model.dropout = True, nn.Dropout(0.5)
        trainer, _ = train(tmp_path, method, {"sam": {"rho": 0.0}}, model, max_steps=3, num_train_epochs=3)
        found[method] = trainer.model.state_dict()
    assert found["erm"]["batch_norm.running_mean"].abs().max() > 0.01
    for name, value in found["erm"].items():
        torch.testing.assert_close(found["sam"][name], value, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("name", ["erm", "sam", "fish", "iga"])
def test_gradients_are_clipped_wherever_the_optimizer_steps(name: str, tmp_path: Path) -> None:
    trainer, _ = train(tmp_path, name, max_grad_norm=1e-3)
    way = torch.cat([(weights_of(trainer)[n] - weight).flatten() for n, weight in start().items()])
    steps = 2 * 0.5 if name == "fish" else 1  # two inner steps, half of their way
    assert 0.5e-3 * LEARNING_RATE < way.norm() < 1.001e-3 * LEARNING_RATE * steps


@pytest.mark.parametrize("name", [name for name, cls in UPDATES.items() if cls.by_environment])
def test_what_takes_environments_one_by_one_refuses_what_mixes_them_and_a_single_one(
    name: str, tmp_path: Path
) -> None:
    built = build_method(f"vrex+{name}")
    with pytest.raises(ValueError, match=rf"vrex is no mean over environments: combine {name} with erm"):
        OODTrainer(make_tiny(), make_args(tmp_path), **vars(built), train_dataset=make_dataset())
    mixed = build_method(f"mixup+{name}")
    with pytest.raises(ValueError, match=f"{name} takes one environment at a time, and mixup mixes them"):
        OODTrainer(make_tiny(), make_args(tmp_path), **vars(mixed), train_dataset=make_dataset())
    alone = build_method(name)
    with pytest.raises(ValueError, match=f"{name} compares environments: it needs at least 2"):
        OODTrainer(make_tiny(), make_args(tmp_path), **vars(alone), train_dataset=make_dataset((60,)))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sam", {"rho": -1.0}),
        ("fish", {"meta_lr": 0.0}),
        ("mldg", {"held_out": 0}),
        ("and_mask", {"tau": 1.1}),
        ("sand_mask", {"tau": 1.0}),
        ("sand_mask", {"k": 0.0}),
    ],
)
def test_options_out_of_range_are_named(name: str, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"{name}\.{next(iter(options))} must"):
        build_method(name, {name: options})


def test_two_updates_exclude_each_other() -> None:
    assert build_method("sam+vrex").name == "vrex+sam"
    with pytest.raises(ValueError, match="fish and sam both act as update"):
        build_method("fish+sam")
