"""One batch = the same in micro-batches = the same over two real processes, for every additive objective."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from one_step import DATA, LAYOUTS, OPTIONS, WITH_OWN_LOSS, WithOwnLoss, main, make_data

from hf_ood import IRM, LeNetConfig, LeNetForImageClassification, OODConfig, OODTrainer
from hf_ood.objectives import OBJECTIVES
from hf_ood.objectives import functional as F_ood

ADDITIVE = [name for name, cls in OBJECTIVES.items() if cls.additive]
DIVIDED = [f"{processes}x{b}x{a}" for processes, layouts in LAYOUTS.items() for b, a in layouts][1:]


@pytest.fixture(scope="session")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("exactness")
    worker = Path(__file__).with_name("one_step.py")
    command = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        str(worker),
        str(folder),
    ]
    subprocess.run(
        [sys.executable, *command],
        check=True,
        timeout=180,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
    )
    main(folder)
    return torch.load(folder / "1.pt") | torch.load(folder / "2.pt")


@pytest.mark.parametrize("layout", DIVIDED)
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", [*ADDITIVE, *(f"{name}+own_loss" for name in WITH_OWN_LOSS)])
def test_a_divided_batch_has_the_gradient_of_the_whole(
    steps: dict[str, Any], name: str, data: str, layout: str
) -> None:
    whole, divided = steps[f"{name} {data} 1x48x1"], steps[f"{name} {data} {layout}"]
    scale = max(gradient.abs().max() for gradient in whole["gradients"].values())
    assert scale > 1e-4
    for parameter, gradient in whole["gradients"].items():
        torch.testing.assert_close(
            divided["gradients"][parameter], gradient, rtol=1e-4, atol=1e-5 * scale.item()
        )
    assert divided["loss"] == pytest.approx(whole["loss"], rel=1e-5)
    assert divided.get("auxiliary_loss", 0) == pytest.approx(whole.get("auxiliary_loss", 0), rel=1e-5)


@pytest.mark.parametrize("data", DATA)
def test_the_gradient_is_that_of_the_equation(steps: dict[str, Any], data: str) -> None:
    torch.manual_seed(0)
    dataset = make_data(DATA[data])
    from transformers import set_seed

    set_seed(0)
    model = LeNetForImageClassification(LeNetConfig())
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


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", WITH_OWN_LOSS)
def test_a_models_own_loss_is_added_as_its_mean_over_environments(
    steps: dict[str, Any], name: str, data: str
) -> None:
    from transformers import set_seed

    dataset = make_data(DATA[data])
    set_seed(0)
    model = WithOwnLoss(LeNetConfig()).double()
    output = model(dataset.columns["pixel_values"].double() / 255)
    batch = (output.logits, dataset.labels, dataset.environments, 3)
    own = output["auxiliary_loss"]
    own_mean = torch.stack([own[dataset.environments == number].mean() for number in range(3)]).mean()
    loss, scale = F_ood.environment_risks(*batch).mean() + own_mean, 1.0
    if name == "irm":
        weight, l2 = OPTIONS["irm"]["penalty_weight"], OPTIONS["irm"]["l2"]
        norm = sum(parameter.square().sum() for parameter in model.parameters())
        loss, scale = loss + weight * F_ood.irm_penalty(*batch) + l2 * norm, 1 / weight
    (loss * scale).backward()
    whole = steps[f"{name}+own_loss {data} 1x48x1"]
    assert whole["loss"] == pytest.approx(loss.item() * scale, rel=1e-5)
    assert whole["auxiliary_loss"] == pytest.approx(own.mean().item(), rel=1e-5)
    for parameter_name, parameter in model.named_parameters():
        torch.testing.assert_close(
            whole["gradients"][parameter_name].double(), parameter.grad, rtol=1e-3, atol=1e-6
        )


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
    class Pairwise(IRM):
        additive = False

    with pytest.raises(ValueError, match="gradient_accumulation_steps=1"):
        OODTrainer(
            LeNetForImageClassification(LeNetConfig()),
            OODConfig(output_dir=str(tmp_path), gradient_accumulation_steps=2, per_device_train_batch_size=8),
            objective=Pairwise(),
            train_dataset=make_data((16, 16)),
        )
