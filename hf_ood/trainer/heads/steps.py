"""What the training arguments make of a head's training: batches, evaluations, learning rates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor
from transformers import get_scheduler
from transformers.trainer_utils import IntervalStrategy

from ...data import EnvironmentDataset, EnvironmentSampler
from ..ood_config import OODConfig
from .adam import Rate


class Steps:
    """The steps of a training on `rows`, as `OODTrainer` takes them."""

    def __init__(self, rows: EnvironmentDataset, training: OODConfig, seed: int):
        batch = training.train_batch_size
        self.batch = batch
        self.sampler = EnvironmentSampler.of(
            rows,
            training.environment_proportions,
            training.sample_with_replacement,
            seed if training.data_seed is None else training.data_seed,
            batch,
        )
        number = len(self.sampler)
        self.each_epoch = max(number // batch if training.dataloader_drop_last else -(-number // batch), 1)
        asked = training.max_steps
        self.total = asked if asked > 0 else math.ceil(training.num_train_epochs * self.each_epoch)
        self.strategy = IntervalStrategy(training.eval_strategy)
        every = training.eval_steps or training.logging_steps
        self.eval_every = math.ceil(every * self.total) if 0 < every < 1 else int(every)

    def epochs(self) -> Iterator[list[Tensor]]:
        """The positions of the rows of each step, int64 [B], epoch by epoch, for as long as there are
        steps."""
        left = self.total
        for epoch in range(-(-self.total // self.each_epoch)):
            self.sampler.set_epoch(epoch)
            order = torch.tensor(list(self.sampler))
            batches = list(order.split(self.batch))[: min(self.each_epoch, left)]
            left -= len(batches)
            yield batches

    def evaluates_after(self, step: int) -> bool:
        """Whether weights are evaluated after step `step`, counted from 1."""
        if self.strategy == IntervalStrategy.STEPS:
            return step % self.eval_every == 0 or step == self.total
        ends = step % self.each_epoch == 0 or step == self.total
        return self.strategy == IntervalStrategy.EPOCH and ends


def learning_rate(training: OODConfig, total: int) -> Rate:
    """The arguments' schedule: initial rate and step, counted from 0 -> the step's rate."""

    @cache
    def factor(initial: float) -> Any:
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=initial)
        schedule = get_scheduler(
            training.lr_scheduler_type,
            optimizer=optimizer,
            num_warmup_steps=training.get_warmup_steps(total),
            num_training_steps=total,
            scheduler_specific_kwargs=training.lr_scheduler_kwargs,  # type: ignore[arg-type]
        )
        return schedule.lr_lambdas[0]

    return lambda initial, step: initial * factor(initial)(step)
