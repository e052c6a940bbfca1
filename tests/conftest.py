"""Settings every test runs under: no network, no progress bars, a cache of its own."""

from __future__ import annotations

import gc
import os
import tempfile
from pathlib import Path
from typing import Any

# Read by the libraries when they are imported, so set before any of them is.
os.environ.setdefault("HF_HOME", tempfile.mkdtemp(prefix="hf_ood_tests_"))
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # a pool of processes costs more than the few kernels here

import pytest
import torch
from transformers import set_seed

torch.set_num_threads(1)  # batches here are too small to share out

from hf_ood import LeNetConfig, LeNetForImageClassification, OODConfig
from hf_ood.data import EnvironmentDataset


def pytest_collection_finish() -> None:
    """Every `Trainer.train` ends in a full garbage collection: let it pass over what the libraries hold."""
    gc.freeze()


def make_dataset(
    counts: list[int] | tuple[int, ...] = (60, 60, 60), seed: int = 0, classes: int = 2, floats: bool = False
) -> EnvironmentDataset:
    """Random images whose brightness tells the label; `counts` samples per environment, shuffled."""
    generator = torch.Generator().manual_seed(seed)
    environments = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    environments = environments[torch.randperm(len(environments), generator=generator)]
    labels = torch.randint(0, classes, (len(environments),), generator=generator)
    noise = torch.randint(0, 120, (len(environments), 3, 28, 28), generator=generator)
    pixels = (noise + (labels * (130 // max(classes - 1, 1)))[:, None, None, None]).to(torch.uint8)
    return EnvironmentDataset(
        pixels.float() / 255 if floats else pixels,
        labels,
        environments,
        label_names=[f"class {label}" for label in range(classes)],
        environment_names=[f"environment_{number}" for number in range(len(counts))],
    )


def make_args(folder: Path, **changes: Any) -> OODConfig:
    defaults: dict[str, Any] = {
        "per_device_train_batch_size": 24,
        "max_steps": 4,
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    return OODConfig(output_dir=str(folder), **{**defaults, **changes})


def make_model(**options: Any) -> LeNetForImageClassification:
    set_seed(0)
    return LeNetForImageClassification(LeNetConfig(**options))


@pytest.fixture
def dataset() -> EnvironmentDataset:
    return make_dataset()
