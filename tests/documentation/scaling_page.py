"""The blocks of docs/scaling.md on two processes, with a small network and a few samples.

torchrun --nproc_per_node 2 tests/documentation/scaling_page.py FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from documents import run_block
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from transformers import ViTForImageClassification

from hf_ood import IRM
from hf_ood.data import EnvironmentDataset, collate
from hf_ood.methods.objectives import Outputs


def make_data(samples: int) -> EnvironmentDataset:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (samples, 3, 16, 16), generator=generator, dtype=torch.uint8)
    numbers = torch.arange(samples)
    return EnvironmentDataset(pixels, numbers % 2, numbers % 3, ["dark", "bright"], ["a", "b", "c"])


def main(folder: Path) -> None:
    os.chdir(folder)
    model = run_block("scaling.md", 0, checkpoint=folder / "vit", data=make_data(800))["model"]
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
    assert all(parameter.full_tensor().isfinite().all() for parameter in model.parameters())

    data = make_data(24)
    whole = ViTForImageClassification.from_pretrained(folder / "vit")
    batches = [collate(data.__getitems__(part.tolist())) for part in torch.arange(24).split(12)]

    def forward(network: nn.Module, batch: dict[str, Any]) -> Outputs:
        logits = network(pixel_values=batch["pixel_values"]).logits
        return Outputs(logits, batch["labels"], batch["environment"], 3)

    objective = IRM(warmup_steps=0)
    objective.start(1)
    given = {"objective": objective, "forward": forward, "num_environments": 3, "step": 0, "total_steps": 1}
    run_block("scaling.md", 1, model=whole, mesh=init_device_mesh("cpu", (2,)), batches=batches, **given)
    assert all(parameter.grad is not None for parameter in whole.classifier.parameters())
    (folder / f"done_{torch.distributed.get_rank()}").touch()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
