"""One training, timed step by step: `transformers.Trainer` and `OODTrainer` alike."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from dataclasses import fields
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainerCallback, ViTConfig, ViTForImageClassification

from hf_ood import (
    LeNetConfig,
    LeNetForImageClassification,
    LinearConfig,
    LinearForImageClassification,
    OODConfig,
    OODTrainer,
)
from hf_ood.data import EnvironmentDataset, collate
from hf_ood.methods.losses import SampleLoss
from hf_ood.methods.registry import METHODS, build_method

BATCH = 192
WARM_UP = 10  # steps that are not measured
FEATURES = 10  # of the linear network
VIT_BATCH = 48

FROM_THE_START: dict[str, Any] = {"warmup_steps": 0, "burn_in_steps": 0, "start": 0.0}


class Clock(TrainerCallback):
    """Notes when a training begins and when each step ends."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def tick(self) -> None:
        self.times.append(time.perf_counter())

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.tick()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.tick()

    @property
    def typical(self) -> float:
        """Seconds of the median step after the warm-up: what else the machine does hardly moves it."""
        return statistics.median(end - start for start, end in pairwise(self.times[WARM_UP:]))

    @property
    def mean(self) -> float:
        """Seconds of a step after the warm-up, rare slow ones included."""
        return (self.times[-1] - self.times[WARM_UP]) / (len(self.times) - 1 - WARM_UP)

    @property
    def warm_up(self) -> float:
        """Seconds that the warm-up took beyond so many typical steps: the compiler's, if there is one."""
        return self.times[WARM_UP] - self.times[0] - WARM_UP * self.typical


def method(name: str) -> dict[str, Any]:
    """Keywords of `OODTrainer` for a method such as `irm+rsc`, at its full cost from the first step on.

    Raises `KeyError` for a part that there is not.
    """
    options = {}
    for part in name.split("+"):
        known = {field.name for field in fields(METHODS[part])}
        options[part] = {field: value for field, value in FROM_THE_START.items() if field in known}
    return vars(build_method(name, options))


def config(folder: str, batch: int, steps: int, compiled: bool, **options: Any) -> OODConfig:
    """The same for both trainers, but for `options`: Adam at a constant rate, no clipping, no logs, no
    checkpoints."""
    return OODConfig(
        output_dir=folder,
        per_device_train_batch_size=batch,
        max_steps=WARM_UP + steps,
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        ddp_backend="gloo" if "WORLD_SIZE" in os.environ else None,
        ddp_find_unused_parameters=False,  # as the hand-written loop's
        torch_compile=compiled,
        **options,
    )


def run_trainer(
    model: nn.Module, data: EnvironmentDataset, steps: int, batch: int = BATCH, compiled: bool = False
) -> Clock:
    """Train under plain `Trainer`, with the dataset and the batches that `OODTrainer` gets."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model,
            config(folder, batch, steps, compiled),
            train_dataset=data,
            data_collator=collate_without_environment,
        )
        return _timed(trainer)


def run_ood_trainer(
    model: nn.Module,
    data: EnvironmentDataset,
    steps: int,
    name: str = "erm",
    batch: int = BATCH,
    compiled: bool = False,
    loss: SampleLoss | None = None,
    **options: Any,
) -> Clock:
    """Train under `OODTrainer` by the method of that name, with a loss and options of the configuration."""
    if compiled:
        torch.compiler.reset()  # what an earlier run compiled is not this one's
    with tempfile.TemporaryDirectory() as folder:
        arguments = config(folder, batch, steps, compiled, **options)
        return _timed(OODTrainer(model, arguments, **method(name), loss=loss, train_dataset=data))


def _timed(trainer: Trainer) -> Clock:
    clock = Clock()
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(clock)
    trainer.train()
    return clock


def collate_without_environment(batch: Any) -> dict[str, Any]:
    """What a network takes."""
    return {name: part for name, part in collate(batch).items() if name != "environment"}


def lenet() -> LeNetForImageClassification:
    return LeNetForImageClassification(LeNetConfig())


def linear_model() -> LinearForImageClassification:
    return LinearForImageClassification(LinearConfig(num_features=FEATURES, num_labels=2))


def small_vit() -> ViTForImageClassification:
    """About 25 ms a step on one core, with batches of `VIT_BATCH`."""
    return ViTForImageClassification(
        ViTConfig(
            image_size=28,
            patch_size=7,
            hidden_size=96,
            intermediate_size=192,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_labels=2,
        )
    )


def vectors(rows: int) -> EnvironmentDataset:
    """Random vectors in three environments."""
    return in_environments(torch.randn(rows, FEATURES), torch.randint(0, 2, (rows,)), 3)


def in_environments(pixel_values: Tensor, labels: Tensor, number: int) -> EnvironmentDataset:
    """These rows in so many environments of one size."""
    names = [str(environment) for environment in range(number)]
    return EnvironmentDataset(pixel_values, labels, torch.arange(len(labels)) % number, ["0", "1"], names)
