"""A loop without `Trainer` ends where `OODTrainer` does: the loop of docs/engine.md, as printed there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_args, make_dataset, make_model
from documents import run_block
from torch import Tensor

from hf_ood import IRM, OODTrainer

STEPS = 12  # the warm-up is the first quarter; with 180 samples in batches of 30 there are two epochs


def trained(batch_size: int, accumulation: int, folder: Path, **options: Any) -> OODTrainer:
    trainer = OODTrainer(
        make_model(),
        make_args(
            folder,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            max_steps=STEPS,
            seed=7,
        ),
        objective=IRM(penalty_weight=10.0, warmup_steps=0.25, **options),
        train_dataset=make_dataset(),
    )
    trainer.train()
    return trainer


def weights(model: torch.nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize(("batch_size", "accumulation"), [(30, 1), (15, 2)])
def test_the_loop_of_the_document_ends_at_the_trainers_weights(
    batch_size: int, accumulation: int, tmp_path: Path
) -> None:
    model = make_model()
    start = weights(model)
    names = run_block(
        "engine.md",
        0,
        model=model,
        dataset=make_dataset(),
        batch_size=batch_size,
        accumulation=accumulation,
        total_steps=STEPS,
        seed=7,
    )
    trainer = trained(batch_size, accumulation, tmp_path)
    assert (weights(model) - start).abs().max() > 1e-3
    torch.testing.assert_close(weights(model), weights(trainer.model), rtol=0, atol=1e-6)
    logged = [entry for entry in trainer.state.log_history if "irm_penalty" in entry]
    assert names["parts"]["irm_penalty"].item() == pytest.approx(logged[-1]["irm_penalty"], rel=1e-4)


def test_the_weights_depend_on_the_method(tmp_path: Path) -> None:
    """Or equality would say little."""
    one, other = (trained(30, 1, tmp_path, **options) for options in ({}, {"estimator": "unbiased"}))
    assert (weights(one.model) - weights(other.model)).abs().max() > 1e-4
