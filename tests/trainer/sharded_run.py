"""`OODTrainer` on a network that `from_pretrained` divides over the processes; its weights go to a file.

torchrun --nproc_per_node 2 tests/trainer/sharded_run.py FOLDER CHECKPOINT
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from conftest import make_args, make_dataset
from torch.distributed.tensor import DTensor
from transformers import ViTForImageClassification

from hf_ood import IRM, RSC, OODTrainer


def train(model: Any, folder: Path, batch: int, **options: Any) -> dict[str, torch.Tensor]:
    trainer = OODTrainer(
        model,
        make_args(folder, per_device_train_batch_size=batch, max_steps=3, optim="sgd", **options),
        objective=IRM(penalty_weight=5.0, warmup_steps=0),
        feature_transform=RSC(mask="channel", restoration="none"),
        train_dataset=make_dataset((24, 24, 24)),
    )
    trainer.train()
    return {
        name: parameter.full_tensor() if isinstance(parameter, DTensor) else parameter.detach().clone()
        for name, parameter in trainer.model.named_parameters()
    }


def main(folder: Path, checkpoint: str) -> None:
    from transformers.distributed import DistributedConfig

    dist.init_process_group("gloo")
    model = ViTForImageClassification.from_pretrained(
        checkpoint, distributed_config=DistributedConfig(fsdp_size=2)
    )
    found = train(model, folder, 12, ddp_backend="gloo")
    if os.environ["RANK"] == "0":
        torch.save(found, folder / "divided.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
