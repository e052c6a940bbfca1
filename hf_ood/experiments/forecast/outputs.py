"""What a finished run's network says of rows: logits, and the features that its last layer sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel

from ...data import EnvironmentDataset
from ...data.align import with_classes_of
from ...evaluation.prediction import finite, load_network, predict_logits
from ...models.classes import class_names
from ...models.penultimate import last_linear
from ...models.run_over_dataset import batches_of, run_over
from ...runs.data import keep_environments, load_splits
from ...runs.folder import recorded_spec
from ...runs.network import find_auto_class
from ...runs.stage_data import training_datasets

BATCH_SIZE = 64


@dataclass(frozen=True)
class Outputs:
    """Of N rows: logits [N, C] and features [N, D], labels int [N] and the names of environments [N]; both
    empty where they are not known."""

    logits: np.ndarray
    features: np.ndarray
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    environments: np.ndarray = field(default_factory=lambda: np.zeros(0, str))


def load_run(folder: Path) -> PreTrainedModel:
    """The network of a finished run, on the device of this process. Raises `ValueError` when it is damaged or
    ends in no linear layer."""
    network = load_network(find_auto_class(AutoConfig.from_pretrained(folder)), str(folder))
    last_linear(network)
    return network.to(PartialState().device)


def outputs_of(model: PreTrainedModel, dataset: EnvironmentDataset) -> Outputs:
    """Of a data set as the run reads it, its classes those of the model."""
    dataset = with_classes_of(dataset, class_names(model.config), "the data set today", "the model")
    seen = list(run_over(model, batches_of(dataset, BATCH_SIZE), features=True))
    return Outputs(
        finite(torch.cat([output.logits.float().cpu() for output, _ in seen]).numpy()),
        torch.cat([features.float().cpu() for _, features in seen if features is not None]).numpy(),
        dataset.labels.numpy(),
        np.array(dataset.environment_names)[dataset.environments.numpy()],
    )


def held_out_and_tested(folder: Path, tested: Sequence[str] | None = None) -> dict[str, EnvironmentDataset]:
    """The held-out samples of the run's training environments (`validation`) and, if any are named, the test
    rows of these environments (`test`). Raises `ValueError` where there are no held-out samples."""
    spec = recorded_spec(folder)
    spec.quiet = True
    found = training_datasets(spec, load_splits(spec))
    if len(found["validation"]) == 0:
        raise ValueError(
            f"{folder} held no samples of its training environments out, and a forecast begins with what is "
            "true of them: train it with --validation 0.2."
        )
    parts = {"validation": found["validation"]}
    if tested is not None:
        parts["test"] = keep_environments(found["test"], tested)
    return parts


def outputs_of_rows(
    model: PreTrainedModel, processor: Any, rows: Dataset, columns: Sequence[str], max_length: int | None
) -> Outputs:
    """Of rows of a table without labels, as `predict_logits` reads them."""
    with _features_of(model) as features:
        logits = predict_logits(model, processor, rows, columns, BATCH_SIZE, max_length=max_length)
    return Outputs(logits, torch.cat(features).numpy())


@contextmanager
def _features_of(model: nn.Module) -> Iterator[list[Tensor]]:
    """Within, what the last linear layer sees is kept, batch after batch."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any) -> None:
        seen = inputs[0].detach()
        kept.append((seen if seen.dim() == 2 else seen.flatten(1, -2).mean(1)).float().cpu())

    handle = last_linear(model).register_forward_pre_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()
