"""One batch = the same in micro-batches = the same over two real processes, for every additive objective and
every update."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from backbones import BACKBONES
from one_step import (
    BACKBONE_LAYOUTS,
    DATA,
    LAYOUTS,
    LOSSES,
    MAX_GRAD_NORM,
    OPTIONS,
    UNDER_LOSSES,
    UPDATED,
    VARIANTS,
    WITH_OWN_LOSS,
    WithOwnLoss,
    backbone_gradients,
    gradients,
    main,
    make_data,
    make_model,
    roughen,
)
from torch import Tensor
from transformers import set_seed

from hf_ood import (
    MMD,
    LeNetConfig,
    LeNetForImageClassification,
    MLPConfig,
    MLPForImageClassification,
    OODConfig,
    OODTrainer,
)
from hf_ood.methods.objectives import OBJECTIVES
from hf_ood.methods.objectives import functional as F_ood
from hf_ood.methods.registry import build_method
from hf_ood.methods.updates import UPDATES
from hf_ood.models import Penultimate

ADDITIVE = [name for name, cls in OBJECTIVES.items() if cls.additive]
VARIATIONS = {
    **{key: name for key, (name, _) in VARIANTS.items()},
    **{f"{name} {key}": name for key in LOSSES for name in UNDER_LOSSES},
}
"""What differs from a plain method in its options or its loss, and from which."""
DIVIDED = [f"{processes}x{b}x{a}" for processes, layouts in LAYOUTS.items() for b, a in layouts][1:]


@pytest.fixture(scope="session")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All layouts: those of two processes run beside those of this one."""
    folder = tmp_path_factory.mktemp("exactness")
    worker = str(Path(__file__).with_name("one_step.py"))
    # An address of its own: the default is this machine's name, which needs a lookup that may fail.
    launcher = "-m torch.distributed.run --standalone --local-addr 127.0.0.1 --nproc_per_node 2".split()
    with open(folder / "log.txt", "w") as log:
        processes = subprocess.Popen(
            [sys.executable, *launcher, worker, str(folder)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            main(folder)
            code = processes.wait(timeout=600)  # seconds, on a machine that is busy with other things
        finally:
            processes.terminate()
    assert code == 0, (folder / "log.txt").read_text()
    return torch.load(folder / "1.pt") | torch.load(folder / "2.pt")


@pytest.mark.slow
@pytest.mark.parametrize("layout", DIVIDED)
@pytest.mark.parametrize(
    ("name", "data"),
    [
        *product(
            [*ADDITIVE, *VARIATIONS, *(f"{name}+own_loss" for name in WITH_OWN_LOSS), "dann+clipped"],
            DATA,
        ),
        *product(UPDATED, ["ragged"]),
    ],
)
def test_a_divided_batch_has_the_gradient_of_the_whole(
    steps: dict[str, Any], name: str, data: str, layout: str
) -> None:
    whole, divided = steps[f"{name} {data} 1x48x1"], steps[f"{name} {data} {layout}"]
    for kind in ("gradients", "own_gradients"):
        scale = max((gradient.abs().max().item() for gradient in whole[kind].values()), default=0.0)
        for parameter, gradient in whole[kind].items():
            torch.testing.assert_close(divided[kind][parameter], gradient, rtol=1e-4, atol=1e-5 * scale)
    assert divided["loss"] == pytest.approx(whole["loss"], rel=1e-5)
    for part in whole.keys() - {"gradients", "own_gradients", "loss", "epoch", "step"}:
        assert divided[part] == pytest.approx(whole[part], rel=1e-4, abs=1e-6), part


@pytest.mark.slow
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", BACKBONES)
def test_and_so_it_does_in_networks_of_transformers(steps: dict[str, Any], name: str, data: str) -> None:
    """Under Fishr, a penalty on features, and channel RSC, a transform that treats each sample alone."""
    whole, divided = (
        steps[f"{name} {data} {processes}x{batch}x{accumulation}"]
        for processes, (batch, accumulation) in BACKBONE_LAYOUTS.items()
    )
    assert whole["gradients"].keys() == divided["gradients"].keys()
    scale = max(gradient.abs().max().item() for gradient in whole["gradients"].values())
    for parameter, gradient in whole["gradients"].items():
        torch.testing.assert_close(divided["gradients"][parameter], gradient, rtol=1e-5, atol=1e-6 * scale)
    assert divided["loss"] == pytest.approx(whole["loss"], rel=1e-6)


def direction(step: dict[str, Any]) -> Tensor:
    flat = torch.cat([gradient.flatten() for gradient in step["gradients"].values()])
    return flat / flat.norm()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "data"),
    [*product([name for name in ADDITIVE if name != "erm"], DATA), *product(UPDATED, ["ragged"])],
)
def test_the_law_is_tested_where_the_method_matters(steps: dict[str, Any], name: str, data: str) -> None:
    cosine = direction(steps[f"{name} {data} 1x48x1"]) @ direction(steps[f"erm {data} 1x48x1"])
    assert cosine < 0.98


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIATIONS)
def test_and_where_an_option_or_a_loss_matters(steps: dict[str, Any], name: str) -> None:
    plain, varied = (steps[f"{key} ragged 1x48x1"] for key in (VARIATIONS[name], name))
    kind = "own_gradients" if "gradient" in name else "gradients"
    pairs = zip(plain[kind].values(), varied[kind].values(), strict=True)
    assert max(float((one - other).norm() / one.norm()) for one, other in pairs if one.norm()) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet", "vit", "bert"])
def test_and_where_the_transform_matters(steps: dict[str, Any], name: str, tmp_path: Path) -> None:
    plain = backbone_gradients(name, "equal", (48, 1), tmp_path, transformed=False)
    assert direction(steps[f"{name} equal 1x48x1"]) @ direction(plain) < 0.98


@pytest.mark.parametrize("name", ["irm", "coral", "fishr", "ib_erm"])
def test_under_autocast_sums_keep_their_digits(name: str, tmp_path: Path) -> None:
    """The network runs in bfloat16, its outputs are summed in float32: its own rounding remains."""
    whole, divided = (
        gradients(OBJECTIVES[name](**OPTIONS[name]), make_data(DATA["ragged"]), *layout, tmp_path, bf16=True)
        for layout in ((48, 1), (12, 4))
    )
    assert divided["loss"] == pytest.approx(whole["loss"], rel=1e-3)
    assert direction(divided) @ direction(whole) > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vrex+sam", "iga"])
def test_updates_work_under_autocast(steps: dict[str, Any], name: str, tmp_path: Path) -> None:
    method = build_method(name, OPTIONS)
    data = make_data(DATA["ragged"])
    found = gradients(method.objective, data, 12, 4, tmp_path, bf16=True, update=method.update)
    assert direction(found) @ direction(steps[f"{name} ragged 1x48x1"]) > 0.99


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "backend"),
    [
        *((name, "aot_eager") for name in OBJECTIVES),
        *((name, "aot_eager") for name in UPDATES if name != "iga"),
        *(pytest.param(name, "inductor", marks=pytest.mark.nightly) for name in ("irm", "coral")),
    ],
)
def test_a_compiled_network_has_the_gradient_of_the_plain_one(
    name: str, backend: str, tmp_path: Path
) -> None:
    """In two micro-batches where they can be: the first pass, without graph, is compiled too."""
    found = []
    for options in ({}, {"torch_compile": True, "torch_compile_backend": backend}):
        method, model = build_method(name, OPTIONS), make_mlp()
        layout = (24, 2) if method.objective.additive else (48, 1)
        data = make_data(DATA["equal"])
        found.append(
            gradients(method.objective, data, *layout, tmp_path, model, update=method.update, **options)
        )
    plain, compiled = found
    for kind in ("gradients", "own_gradients"):
        for parameter, gradient in plain[kind].items():
            torch.testing.assert_close(compiled[kind][parameter], gradient, rtol=1e-3, atol=1e-5)
    assert compiled["loss"] == pytest.approx(plain["loss"], rel=1e-5)


@pytest.mark.nightly
@pytest.mark.parametrize("layout", [(48, 1), (24, 2)])
@pytest.mark.parametrize("name", ["erm", "irm", "vrex", "coral"])
def test_and_so_has_one_that_inductor_compiled(name: str, layout: tuple[int, int], tmp_path: Path) -> None:
    """Needs a C++ compiler. Kernels are fused, so sums are rounded in another order."""
    found = []
    for options in ({}, {"torch_compile": True, "torch_compile_backend": "inductor"}):
        objective, data = OBJECTIVES[name](**OPTIONS.get(name, {})), make_data(DATA["equal"])
        found.append(gradients(objective, data, *layout, tmp_path, make_mlp(), **options))
    plain, compiled = found
    scale = max(gradient.abs().max().item() for gradient in plain["gradients"].values())
    for parameter, gradient in plain["gradients"].items():
        torch.testing.assert_close(compiled["gradients"][parameter], gradient, rtol=1e-4, atol=1e-5 * scale)
    assert compiled["loss"] == pytest.approx(plain["loss"], rel=1e-5)


def make_mlp() -> MLPForImageClassification:
    set_seed(0)
    return MLPForImageClassification(MLPConfig(image_size=28, stride=4, hidden_size=8))


@pytest.mark.slow
@pytest.mark.parametrize("data", DATA)
def test_the_gradient_is_that_of_the_equation(steps: dict[str, Any], data: str) -> None:
    dataset, model = make_data(DATA[data]), make_model()
    logits = model(dataset.columns["pixel_values"].float() / 255).logits
    batch = (logits, dataset.labels, dataset.environments, 3)
    weight, l2 = OPTIONS["irm"]["penalty_weight"], OPTIONS["irm"]["l2"]
    norm = sum(parameter.square().sum() for parameter in model.parameters())
    loss = F_ood.environment_risks(*batch).mean() + weight * F_ood.irm_penalty(*batch) + l2 * norm
    (loss / weight).backward()
    whole = steps[f"irm {data} 1x48x1"]
    assert whole["loss"] == pytest.approx(loss.item() / weight, rel=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(whole["gradients"][name], parameter.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", WITH_OWN_LOSS)
def test_a_models_own_loss_is_added_as_its_mean_over_environments(
    steps: dict[str, Any], name: str, data: str
) -> None:
    dataset = make_data(DATA[data])
    model = make_model(WithOwnLoss).double()
    output = model(dataset.columns["pixel_values"].double() / 255)
    batch = (output.logits, dataset.labels, dataset.environments, 3)
    own = output["auxiliary_loss"]
    own_mean = torch.stack([own[dataset.environments == number].mean() for number in range(3)]).mean()
    loss, scale = F_ood.sample_losses(*batch[:2]).mean() + own_mean, 1.0
    if name == "irm":
        weight, l2 = OPTIONS["irm"]["penalty_weight"], OPTIONS["irm"]["l2"]
        norm = sum(parameter.square().sum() for parameter in model.parameters())
        risk = F_ood.environment_risks(*batch).mean()
        loss, scale = risk + own_mean + weight * F_ood.irm_penalty(*batch) + l2 * norm, 1 / weight
    (loss * scale).backward()
    whole = steps[f"{name}+own_loss {data} 1x48x1"]
    assert whole["loss"] == pytest.approx(loss.item() * scale, rel=1e-5)
    assert whole["auxiliary_loss"] == pytest.approx(own.mean().item(), rel=1e-5)
    for parameter_name, parameter in model.named_parameters():
        torch.testing.assert_close(
            whole["gradients"][parameter_name].double(), parameter.grad, rtol=1e-3, atol=1e-6
        )


@pytest.mark.slow
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", ["dann", "cdann"])
def test_the_adversarial_gradients_are_those_of_the_equations(
    steps: dict[str, Any], name: str, data: str
) -> None:
    """The discriminator descends its own risk; the network ascends it, weighted, with the features."""
    dataset, model = make_data(DATA[data]), make_model().double()
    objective = OBJECTIVES[name](**OPTIONS[name])
    penultimate = Penultimate(model)
    objective.build(penultimate.classifier.in_features, 2, torch.ones(3, dtype=torch.bool))
    roughen(objective.parameters())
    objective.discriminator.double()
    with penultimate:
        logits = model(dataset.columns["pixel_values"].double() / 255).logits
    guesses = objective.discriminator(penultimate.take(), dataset.labels)
    losses = F.cross_entropy(guesses, dataset.environments, reduction="none")
    groups = dataset.labels if name == "cdann" else dataset.environments
    adversary = torch.stack([losses[groups == group].mean() for group in groups.unique()]).mean()
    risk = F_ood.sample_losses(logits, dataset.labels).mean()
    own = torch.autograd.grad(adversary, objective.parameters(), retain_graph=True)
    network = torch.autograd.grad(risk - objective.weight * adversary, list(model.parameters()))
    whole = steps[f"{name} {data} 1x48x1"]
    assert whole["loss"] == pytest.approx((risk + adversary).item(), rel=1e-4)
    assert whole["discriminator_loss"] == pytest.approx(adversary.item(), rel=1e-4)
    for kind, expected in (("gradients", network), ("own_gradients", own)):
        for gradient, theirs in zip(whole[kind].values(), expected, strict=True):
            torch.testing.assert_close(gradient.double(), theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("data", DATA)
def test_clipping_is_by_the_norm_of_all_gradients_together(steps: dict[str, Any], data: str) -> None:
    free, clipped = steps[f"dann {data} 1x48x1"], steps[f"dann+clipped {data} 1x48x1"]
    kinds = ("gradients", "own_gradients")
    norm = sum(gradient.square().sum() for kind in kinds for gradient in free[kind].values()).sqrt()
    assert norm > 2 * MAX_GRAD_NORM
    for kind in kinds:
        for name, gradient in free[kind].items():
            torch.testing.assert_close(clipped[kind][name], gradient * MAX_GRAD_NORM / norm)


def test_averaging_the_losses_of_micro_batches_would_be_another_objective() -> None:
    """The reason for all of this: if this failed, the engine could be deleted."""
    dataset = make_data(DATA["equal"])
    logits = torch.randn(48, 2, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(48, generator=torch.Generator().manual_seed(0))
    parts = [
        F_ood.irm_penalty(logits[rows], dataset.labels[rows], dataset.environments[rows], 3)
        for rows in order.split(12)
    ]
    whole = F_ood.irm_penalty(logits, dataset.labels, dataset.environments, 3)
    assert torch.stack(parts).mean() > 1.5 * whole


def test_an_objective_that_is_not_additive_refuses_accumulation(tmp_path: Path) -> None:
    assert not MMD(kernel="exact").additive
    with pytest.raises(ValueError, match="gradient_accumulation_steps=1"):
        OODTrainer(
            LeNetForImageClassification(LeNetConfig()),
            OODConfig(output_dir=str(tmp_path), gradient_accumulation_steps=2, per_device_train_batch_size=8),
            objective=MMD(kernel="exact"),
            train_dataset=make_data((16, 16)),
        )
