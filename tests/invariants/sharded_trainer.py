"""Trainings by OODTrainer of a network that FSDP2 divides over processes; what came of them goes to a file.

FOLDER/vit holds the network.

torchrun --nproc_per_node 2 tests/invariants/sharded_trainer.py FOLDER
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from one_step import DATA, OPTIONS, collate_double, make_data
from sharded_step import divide, processes, whole
from torch import nn
from transformers import AutoModelForImageClassification, PreTrainedModel
from transformers.distributed import DistributedConfig

from hf_ood import RSC, OODConfig, OODTrainer
from hf_ood.methods.averaging import AVERAGINGS
from hf_ood.methods.objectives import OBJECTIVES
from hf_ood.methods.updates import UPDATES
from hf_ood.trainer.checks import check_division
from hf_ood.trainer.nonfinite import require_finite_weights

# Whole batches of 8 on both processes: incomplete ones are filled up, and Trainer's loss counts the filling.
VALIDATION = (12, 10, 10)


def load(folder: Path, **changes: Any) -> PreTrainedModel:
    """The network, divided while it is read if there are several processes."""
    config = {"distributed_config": DistributedConfig(fsdp_size=2)} if processes() > 1 else {}
    return AutoModelForImageClassification.from_pretrained(
        folder / "vit", dtype=torch.float64, **{**config, **changes}
    )


def make_trainer(model: nn.Module, folder: Path, method: dict[str, Any], **options: Any) -> OODTrainer:
    args = OODConfig(
        **{
            "output_dir": str(folder / f"run_{processes()}"),
            "per_device_train_batch_size": 24 // processes(),
            "per_device_eval_batch_size": 8,
            "gradient_accumulation_steps": 2,
            "environment_proportions": "natural",
            "max_steps": 3,
            "learning_rate": 1e-3,
            "logging_steps": 1,
            "save_strategy": "no",
            "use_cpu": True,
            "ddp_backend": "gloo" if processes() > 1 else None,
            "disable_tqdm": True,
            "report_to": [],
            **options,
        }
    )
    data = {"train_dataset": make_data(DATA["ragged"]), "eval_dataset": {"validation": make_data(VALIDATION)}}
    return OODTrainer(model, args, data_collator=collate_double, **data, **method)


def refusal(attempt: Callable[[], Any]) -> str:
    """What is said of an attempt; empty if nothing is."""
    try:
        attempt()
    except ValueError as error:
        return str(error)
    return ""


def train(folder: Path, method: dict[str, Any], **options: Any) -> dict[str, Any]:
    model = load(folder)
    trainer = make_trainer(model, folder, method, **options)
    trainer.train()
    return {
        "weights": {name: whole(parameter.detach()) for name, parameter in model.named_parameters()},
        "logs": trainer.state.log_history,
        "predictions": torch.from_numpy(trainer.predict(make_data(VALIDATION)).predictions),
        "best": trainer.state.best_model_checkpoint,
    }


def refusals(folder: Path) -> dict[str, str]:
    """Of networks that were divided while they were read, and by hand."""
    methods: dict[str, dict[str, Any]] = {
        **{name: {"averaging": averaging()} for name, averaging in AVERAGINGS.items()},
        **{name: {"update": update()} for name, update in UPDATES.items()},
        **{name: {"objective": OBJECTIVES[name]()} for name in ("dann", "cdann", "miro", "sagnet", "sagnet")},
    }
    found = {}
    for name, method in methods.items():
        found[f"{name} read"] = refusal(
            lambda method=method: make_trainer(load(folder), folder, method, eval_strategy="epoch")
        )
        by_hand = load(folder, distributed_config=None)
        divide(by_hand)
        found[f"{name} by hand"] = refusal(
            lambda method=method, model=by_hand: make_trainer(model, folder, method, eval_strategy="epoch")
        )
    found["fsdp"] = refusal(
        lambda: make_trainer(load(folder, distributed_config=None), folder, {}, fsdp="full_shard")
    )
    found["checkpoint"] = refusal(lambda: train(folder, {}, save_strategy="steps", save_steps=1))
    found["divided by hand"] = refusal(lambda: check_division(by_hand, by_accelerate=False))
    found["divided by from_pretrained"] = refusal(lambda: check_division(load(folder), by_accelerate=False))
    broken = load(folder)
    if dist.get_rank() == 0:  # one process holds a part that is not finite: both have to stop
        with torch.no_grad():
            next(broken.parameters()).to_local().fill_(torch.nan)
    try:
        require_finite_weights(broken, 7, str(folder))
    except ArithmeticError as error:
        found["not finite"] = str(error)
    return found


def main(folder: Path) -> None:
    rsc = RSC(mask="channel", restoration="none")
    found: dict[str, Any] = {
        "irm+rsc": train(
            folder, {"objective": OBJECTIVES["irm"](**OPTIONS["irm"]), "feature_transform": rsc}
        ),
        "coral": train(folder, {"objective": OBJECTIVES["coral"](penalty_weight=10.0)}),
        "best": train(
            folder,
            {"objective": OBJECTIVES["vrex"](**OPTIONS["vrex"])},
            save_strategy="steps",
            eval_strategy="steps",
            save_steps=1,
            eval_steps=1,
            save_only_model=True,
            load_best_model_at_end=True,
            metric_for_best_model="eval_validation_loss",
        ),
    }
    if processes() > 1:
        found["refusals"] = refusals(folder)
    if int(os.environ.get("RANK", "0")) == 0:
        torch.save(found, folder / f"{processes()}.pt")
    if processes() > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
