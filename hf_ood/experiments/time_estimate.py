"""How long runs will take, from a few real steps of each kind of run."""

from __future__ import annotations

import heapq
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import IntervalStrategy

from ..runs.adapters import without_adapters
from ..runs.data import load_splits
from ..runs.relabel import rehearse
from ..runs.results import collect_results, write_run
from ..runs.run import build_network, build_trainer
from ..runs.spec import RunSpec
from ..runs.stage_data import training_datasets
from ..runs.stages import place_stages
from .keyed_run import Run

WARM_UP = 3  # steps that are not counted: the first ones allocate
STEPS = 30
TIMED_SECONDS = 1.5  # no more steps after this
SAMPLE = 1000  # images of each split that are evaluated


class StepTimer(TrainerCallback):
    """Notes how long the training is meant to be, times its first steps, and ends it."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.steps = self.epochs = self.steps_between_evaluations = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.steps, self.epochs = state.max_steps, state.num_train_epochs
        self.steps_between_evaluations = state.eval_steps

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.ends.append(time.perf_counter())
        enough = len(self.ends) > WARM_UP and self.ends[-1] - self.ends[WARM_UP - 1] > TIMED_SECONDS
        control.should_training_stop = enough or len(self.ends) >= WARM_UP + STEPS

    @property
    def seconds(self) -> float:
        """Of a step."""
        ends = self.ends[WARM_UP - 1 :] if len(self.ends) > WARM_UP else self.ends
        gaps = [later - earlier for earlier, later in itertools.pairwise(ends)]
        return statistics.median(gaps) if gaps else 0.0


def kind(run: Run) -> str:
    """Runs of one kind take as long: all settings but plain fractions (rates, weights) and the name."""

    def without_fractions(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: without_fractions(part)
                for name, part in value.items()
                if not isinstance(part, float) or name == "num_train_epochs"
            }
        return value

    return json.dumps(without_fractions(run.settings), sort_keys=True)


def estimate(run: Run) -> float:
    """Seconds that a run will take on one thread of this machine, its training cut to a few steps.

    Raises `ValueError` or `SystemExit` where the run itself would.
    """
    threads = torch.get_num_threads()
    with (
        tempfile.TemporaryDirectory() as place,
        open(os.devnull, "w") as silence,
        redirect_stdout(silence),
        redirect_stderr(silence),
    ):
        spec = run.spec(Path(place))
        torch.set_num_threads(1)
        try:
            return sum(map(_estimate, place_stages(spec, Path(place) / "run")))
        finally:
            torch.set_num_threads(threads)


def _estimate(spec: RunSpec) -> float:
    training = spec.training
    strategy = training.eval_strategy
    training.save_strategy = IntervalStrategy.NO
    training.load_best_model_at_end = False
    start = time.perf_counter()
    datasets = training_datasets(spec, load_splits(spec))
    datasets = rehearse(spec, datasets)
    trainer, method = build_trainer(spec, datasets, build_network(spec, datasets, None))
    training.eval_strategy = IntervalStrategy.NO  # only now: an averaging may insist on evaluations
    setup = time.perf_counter() - start

    timer = StepTimer()
    trainer.add_callback(timer)
    trainer.train()

    few = {split: data.select(range(min(SAMPLE, len(data)))) for split, data in datasets.items()}
    start = time.perf_counter()
    results = collect_results(trainer, spec, method, few, seconds=timer.seconds, cpu_seconds=0.0)
    per_image = (time.perf_counter() - start) / sum(map(len, few.values()))

    start = time.perf_counter()
    write_run(without_adapters(trainer.model), results, spec.folder, datasets)
    writing = time.perf_counter() - start

    evaluations = {
        IntervalStrategy.NO: 0,
        IntervalStrategy.EPOCH: timer.epochs,
        IntervalStrategy.STEPS: timer.steps // max(timer.steps_between_evaluations or 1, 1),
    }[IntervalStrategy(strategy)]
    evaluated = evaluations * (len(datasets["validation"]) + len(datasets["test"]))
    images = evaluated + sum(map(len, datasets.values()))  # at the end once more, training images included
    return setup + timer.steps * timer.seconds + images * per_image + writing


def makespan(seconds: Sequence[float], workers: int) -> float:
    """When the last of `workers` is done, each taking the next run as soon as it is free."""
    ends = [0.0] * workers
    for each in seconds:
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)
