"""The samples of a problem, drawn and put together into splits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...errors import unknown_name
from ..environment_dataset import EnvironmentDataset, MemoryEnvironmentDataset
from .examples import EXAMPLES, OPTIONS, LinearUnitTestConfig

SPLITS = ("train", "validation", "test")


def linear_unit_test_tensors(example: str, **options: Any) -> dict[str, EnvironmentDataset]:
    """The splits train, validation and test of an example, inputs float32 [N, invariant + spurious].

    All splits have the same environments; in `test` (and with `oracle` everywhere) the spurious values of
    each are shuffled. Labels are class ids; in example 1 they are the regression's targets, float32 [N].
    Raises `ValueError` with the nearest match for an unknown example or option.

    Example: `linear_unit_test_tensors("example_2", seed=1, scrambled=True)["train"]`
    """
    if example not in EXAMPLES:
        raise ValueError(unknown_name("example", example, list(EXAMPLES)))
    for name in options:
        if name not in OPTIONS:
            raise ValueError(unknown_name("option", name, OPTIONS))
    config = LinearUnitTestConfig(**options)
    problem, label_names = EXAMPLES[example]
    rng = np.random.default_rng(config.seed)
    sampler = problem(config, rng)
    rotation = random_rotation(config) if config.scrambled else None
    splits: dict[str, EnvironmentDataset] = {}
    for split in SPLITS:
        inputs, targets = [], []
        for environment in range(config.environments):
            invariant, spurious, target = sampler(rng, environment)
            shuffled = rng.permutation(spurious)
            shown = shuffled if split == "test" or config.oracle else spurious
            values = np.concatenate([invariant, shown], axis=1)
            inputs.append(values if rotation is None else values @ rotation)
            targets.append(target)
        labels = torch.from_numpy(np.concatenate(targets))
        splits[split] = MemoryEnvironmentDataset(
            None,
            labels.float() if labels.is_floating_point() else labels,
            torch.arange(config.environments).repeat_interleave(config.samples),
            label_names,
            config.environment_names,
            inputs=torch.from_numpy(np.concatenate(inputs)).float(),
        )
    return splits


def random_rotation(config: LinearUnitTestConfig) -> np.ndarray:
    """An orthogonal matrix for the inputs, from a generator of its own: scrambled data are the same data."""
    dims = config.invariant_dims + config.spurious_dims
    return np.linalg.qr(np.random.default_rng([config.seed, 1]).normal(size=(dims, dims)))[0]
