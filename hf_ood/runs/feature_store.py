"""Features of a frozen network, kept by row: what was computed once is read from then on."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from ..data import EnvironmentDataset
from ..data.environment_dataset import TARGETS
from ..data.fingerprint import tensor_hash
from ..trainer.linear_probe import compute_features
from .adapters import head_name

ROWS_AT_ONCE = 1000
DIGEST = 16  # bytes


def kept_features(
    model: PreTrainedModel,
    dataset: EnvironmentDataset,
    folder: Path,
    batch_size: int = 256,
    num_workers: int = 0,
) -> Tensor:
    """`compute_features`, but rows that this network has seen before are read from `folder` -> float [N, D].

    One file for each network; processes that want features of the same network wait for each other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{network_hash(model, dataset.processor)}.safetensors"
    rows, sizes = row_hashes(dataset)
    with FileLock(f"{file}.lock"):
        known = load_file(file) if file.exists() else {}
        places = {row.tobytes(): n for n, row in enumerate(known["rows"].numpy())} if known else {}
        new = {row: n for n, row in enumerate(rows) if row not in places}
        if new:
            # Texts as long as each other need little padding.
            new = dict(sorted(new.items(), key=lambda item: sizes[item[1]]))
            found = compute_features(model, dataset.select([*new.values()]), batch_size, num_workers)
            hashes = torch.from_numpy(np.frombuffer(b"".join(new), np.uint8).reshape(-1, DIGEST).copy())
            known = {
                "rows": torch.cat([known["rows"], hashes]) if known else hashes,
                "features": torch.cat([known["features"], found]) if known else found,
            }
            partial = file.with_suffix(".partial")
            save_file(known, partial)
            os.replace(partial, file)
            places |= {row: len(places) + n for n, row in enumerate(new)}
    return known["features"][[places[row] for row in rows]] if rows else torch.empty(0, 0)


def network_hash(model: PreTrainedModel, processor: Any) -> str:
    """Changes with whatever decides on features: the network's kind and weights, but for its last layer's,
    and its processor."""
    head = head_name(model)
    digest = hashlib.sha256(type(model).__name__.encode())
    settings = processor.to_dict() if hasattr(processor, "to_dict") else repr(processor)
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    config = model.config.to_dict()
    for name in (
        "id2label",
        "label2id",
        "num_labels",
        "problem_type",
        "_name_or_path",
        "transformers_version",
    ):
        config.pop(name, None)
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    for name, value in sorted(model.state_dict().items()):
        if not name.startswith(f"{head}."):
            digest.update(f"{name} {tensor_hash(value)}".encode())
    return digest.hexdigest()[:16]


def row_hashes(dataset: EnvironmentDataset) -> tuple[list[bytes], list[int]]:
    """What each row holds, before the processor, as `DIGEST` bytes, and how many bytes that is."""
    found, sizes = [], []
    for index in torch.arange(len(dataset)).split(ROWS_AT_ONCE):
        inputs = {name: value for name, value in dataset.inputs(index).items() if name not in TARGETS}
        for n in range(len(index)):
            digest, size = hashlib.blake2b(digest_size=DIGEST), 0
            for name, values in sorted(inputs.items()):
                own = values[n]
                content = (
                    own.contiguous().numpy().tobytes() if isinstance(own, Tensor) else repr(own).encode()
                )
                digest.update(f"{name} {getattr(own, 'shape', '')} ".encode() + content)
                size += len(content)
            found.append(digest.digest())
            sizes.append(size)
    return found, sizes
