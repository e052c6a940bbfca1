"""Reads an Arrow file's environment d, `LIMIT` bytes of memory being left, then tries to load it all.

`python under_memory_limit.py FILE LIMIT` prints how often each image was seen, and what became of loading.
"""

from __future__ import annotations

import json
import resource
import sys
from collections import Counter
from pathlib import Path

import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from hf_ood.data import EnvironmentDataset, EnvironmentSampler, Protocol, collate, environment_datasets


def divided(file: str, in_memory: bool) -> dict[str, EnvironmentDataset]:
    protocol = Protocol(test_environments=["d"])
    return environment_datasets(Dataset.from_file(file), protocol=protocol, in_memory=in_memory)


def limit_memory(extra: int) -> None:
    """Let this process have `extra` bytes more of memory of its own (mapped files are not counted)."""
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (used + extra, resource.RLIM_INFINITY))


def main(file: str, limit: int) -> None:
    torch.set_num_threads(1)  # threads started under the limit would count with their stacks
    data = divided(file, in_memory=False)["test"]
    limit_memory(limit)
    seen: Counter[int] = Counter()
    sampler = EnvironmentSampler(data.environments)
    for batch in DataLoader(data, 16, sampler=sampler, collate_fn=collate):
        seen.update((batch["pixel_values"][:, 0, 0, 0] * 255).round().int().tolist())
    try:
        divided(file, in_memory=True)
        loading = "possible"
    except (MemoryError, RuntimeError):  # the allocator's
        loading = "refused"
    resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    sys.stdout.write(json.dumps({"seen": seen, "loading_them": loading}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
