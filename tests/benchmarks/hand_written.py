"""The loop that one would write by hand: what a trainer is held against."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from steps import BATCH, WARM_UP, Clock
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hf_ood.data import EnvironmentDataset


def run_loop(model: nn.Module, data: EnvironmentDataset, steps: int, batch: int = BATCH) -> Clock:
    """Minimise the mean cross-entropy with Adam; over the processes of the group, if there is one."""
    rank, processes = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    network = DistributedDataParallel(model) if processes > 1 else model
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    images, labels = data.columns["pixel_values"], data.labels
    order = torch.randperm(len(labels))[rank::processes]
    clock = Clock()
    clock.tick()
    for step in range(WARM_UP + steps):
        rows = order[torch.arange(step * batch, (step + 1) * batch) % len(order)]
        loss = F.cross_entropy(network(as_floats(images[rows])).logits, labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        clock.tick()
    return clock


def as_floats(images: Tensor) -> Tensor:
    """Bytes become floats in 0..1, channels-last, as in the library's batches; floats stay."""
    if images.is_floating_point():
        return images
    return images.to(torch.float32, memory_format=torch.channels_last).mul_(1 / 255)
