"""The loop of docs/engine.md that sums over processes, on one of them, to the weights of `OODTrainer`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_args, make_dataset, make_model
from documents import code_blocks
from torch.utils.data import BatchSampler

from hf_ood import IRM, EnvironmentSampler, OODTrainer
from hf_ood.data import collate
from hf_ood.engine import ExactStep, Reduction
from hf_ood.methods.objectives import Outputs


def loop() -> str:
    return next(block for block in code_blocks("engine.md", "python") if "over_processes()" in block)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_pages_loop_trains_to_the_trainers_weights(accumulation: int, tmp_path: Path) -> None:
    data, steps, batch = make_dataset(), 6, 24 // accumulation
    method = {"penalty_weight": 20.0, "warmup_steps": 2, "l2": 1e-3}
    arguments = make_args(
        tmp_path, max_steps=steps, per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation
    )
    trainer = OODTrainer(make_model(), arguments, objective=IRM(**method), train_dataset=data)
    trainer.train()

    model, objective = make_model(), IRM(**method)
    objective.start(steps)
    order = BatchSampler(EnvironmentSampler(data.environments, seed=arguments.seed), batch, drop_last=True)
    batches = [collate(data.__getitems__(rows)) for rows in order]
    names: dict[str, Any] = {
        "ExactStep": ExactStep,
        "Outputs": Outputs,
        "Reduction": Reduction,
        "model": model,
        "objective": objective,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0),
        "total_steps": steps,
        "windows": [batches[i * accumulation : (i + 1) * accumulation] for i in range(steps)],
    }
    exec(loop(), names)
    for ours, theirs in zip(model.parameters(), trainer.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert not torch.equal(next(model.parameters()), next(make_model().parameters()))
