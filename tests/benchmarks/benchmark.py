"""Speed as ratios, measured interleaved in one run: `python tests/benchmarks/benchmark.py [--rounds 5]`.

A step is timed from fetching its batch to updating the weights; every figure is the median over rounds.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psutil
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from transformers import TrainerCallback, set_seed

from hf_ood import IRM, LeNetConfig, LeNetForImageClassification, OODConfig, OODTrainer
from hf_ood.data import (
    EnvironmentDataset,
    EnvironmentSampler,
    collate,
    colored_mnist_tensors,
    load_colored_mnist,
)
from hf_ood.models import Penultimate
from hf_ood.objectives import OBJECTIVES
from hf_ood.trainer import cached_features, fit_head
from hf_ood.trainer.methods import METHODS, Method, build_method

BATCH, STEPS, WARM_UP = 192, 60, 10
ROSTER = [name for name in METHODS if name != "swad"]  # SWAD's cost is that of the evaluations it needs


class Clock(TrainerCallback):
    """Seconds per step, after the first `WARM_UP` steps."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == WARM_UP:
            self.start = time.perf_counter()
        if state.global_step == STEPS:
            self.seconds = (time.perf_counter() - self.start) / (STEPS - WARM_UP)


def trainer_step(data: EnvironmentDataset, batch: int, method: Method) -> float:
    set_seed(0)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = OODTrainer(
            LeNetForImageClassification(LeNetConfig()),
            OODConfig(
                output_dir=folder,
                per_device_train_batch_size=batch,
                max_steps=STEPS,
                save_strategy="no",
                disable_tqdm=True,
                logging_strategy="no",
                use_cpu=True,
                sample_with_replacement=True,
            ),
            **vars(method),
            train_dataset=data,
            callbacks=[clock],
        )
        trainer.train()
    return clock.seconds


def hand_written_step(data: EnvironmentDataset) -> float:
    set_seed(0)
    model = LeNetForImageClassification(LeNetConfig()).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    images, labels = data.columns["pixel_values"], data.labels
    order = torch.randperm(len(labels))
    start = 0.0
    for step in range(STEPS):
        if step == WARM_UP:
            start = time.perf_counter()
        rows = order[step * BATCH : (step + 1) * BATCH]
        loss = F.cross_entropy(model(images[rows].float() / 255).logits, labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - start) / (STEPS - WARM_UP)


def with_environments(data: EnvironmentDataset, number: int) -> EnvironmentDataset:
    return EnvironmentDataset(
        data.columns["pixel_values"],
        data.labels,
        torch.arange(len(data)) % number,
        data.label_names,
        [str(environment) for environment in range(number)],
    )


def input_pipeline(data: EnvironmentDataset) -> float:
    """Images per second from the dataset to float batches, through the DataLoader."""
    loader = DataLoader(data, BATCH, sampler=EnvironmentSampler(data.environments), collate_fn=collate)
    start = time.perf_counter()
    total = sum(len(batch["labels"]) for batch in loader)
    return total / (time.perf_counter() - start)


def linear_probe(data: EnvironmentDataset) -> float:
    """Steps per second of a head on cached features, under IRM."""
    model = LeNetForImageClassification(LeNetConfig())
    features = cached_features(model, data.select(range(10_000)))
    head = Penultimate(model).classifier
    start = time.perf_counter()
    fit_head(head, features, IRM(warmup_steps=0), steps=1000, batch_size=BATCH)
    return 1000 / (time.perf_counter() - start)


class PeakMemory:
    """The most memory this process holds inside the block, beyond what it held before, in bytes."""

    def __enter__(self) -> PeakMemory:
        self.process, self.done = psutil.Process(), threading.Event()
        self.before = self.peak = self.process.memory_info().rss
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self) -> None:
        while not self.done.wait(0.002):
            self.peak = max(self.peak, self.process.memory_info().rss)

    def __exit__(self, *exception: Any) -> None:
        self.done.set()
        self.thread.join()
        self.growth = self.peak - self.before


def build(as_dataset: bool, result: Any) -> None:
    """Build 70,000 images in this process, from a cold start -> seconds, and growth of the peak memory."""
    torch.set_num_threads(1)
    gc.collect()
    with tempfile.TemporaryDirectory() as folder, PeakMemory() as memory:
        start = time.perf_counter()
        if as_dataset:
            load_colored_mnist("unseen_colors", cache_dir=folder)
        else:
            colored_mnist_tensors("unseen_colors")
        seconds = time.perf_counter() - start
    result.put((seconds, memory.growth))


def measure_build(as_dataset: bool) -> tuple[float, float]:
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    process = context.Process(target=build, args=(as_dataset, result))
    process.start()
    seconds, growth = result.get()
    process.join()
    return seconds, growth / (70_000 * 3 * 28 * 28)


def bound(name: str) -> str:
    """What a step may cost."""
    if name in OBJECTIVES and not hasattr(OBJECTIVES[name], "width"):  # a discriminator is a network more
        return f"at most {1.15 if OBJECTIVES[name].needs_features else 1.05}"
    return "at most 1.35" if name == "rsc" else "no bound"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    data = colored_mnist_tensors("unseen_colors")["train"]
    few, many = with_environments(data, 3), with_environments(data, 1000)
    erm = partial(trainer_step, data, BATCH, build_method("erm"))
    irm = Method(IRM(warmup_steps=0))
    few_step = partial(trainer_step, few, 1000, irm)
    # Every contender, and what it is compared with, which runs just before it: a machine's speed drifts.
    contenders: dict[str, tuple[Callable[[], float], Callable[[], float]]] = {
        "hand-written": (lambda: hand_written_step(data), erm),
        **{name: (partial(trainer_step, data, BATCH, build_method(name)), erm) for name in ROSTER},
        "1,000 environments": (lambda: trainer_step(many, 1000, irm), few_step),
    }
    base: dict[str, list[float]] = {name: [] for name in contenders}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, (step, compared_with) in contenders.items():
            base[name].append(compared_with())
            seconds[name].append(step())

    def ratio(name: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds[name], base[name], strict=True))

    print(f"LeNet, batch {BATCH}, 1 thread, median of {rounds} interleaved rounds")
    for name in ("hand-written", *ROSTER):
        each = statistics.median(seconds[name])
        print(f"  {name:13s} {1000 * each:6.2f} ms/step  {BATCH / each:7,.0f} images/s")
    for label, value, rule in (
        ("samples/s, erm / hand-written", ratio("hand-written"), "at least 0.9"),
        *((f"{name} step / erm step", ratio(name), bound(name)) for name in ROSTER if name != "erm"),
        ("1,000 environments / 3, batch 1,000", ratio("1,000 environments"), "at most 1.2"),
    ):
        print(f"  {label:38s} {value:5.2f}   ({rule})")
    pipeline = statistics.median(input_pipeline(data) for _ in range(rounds))
    print(f"input pipeline, 1 thread: {pipeline:,.0f} images/s   (at least 100,000)")
    probe = statistics.median(linear_probe(data) for _ in range(rounds))
    print(f"linear probe on cached features, IRM, batch {BATCH}, 1 thread: {probe:,.0f} steps/s")
    for as_dataset, what, rule in ((False, "tensors", "2 s"), (True, "PNG dataset", "15 s, 3x")):
        duration, memory = measure_build(as_dataset)
        print(
            f"build of 70,000 images as {what}, 1 thread: {duration:.1f} s, "
            f"{70_000 / duration:,.0f} images/s, peak memory +{memory:.2f}x the raw bytes   (at most {rule})"
        )


if __name__ == "__main__":
    main()
