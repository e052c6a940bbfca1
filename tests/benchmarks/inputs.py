"""What is no training step: batches, heads on cached features, and building the data."""

from __future__ import annotations

import gc
import multiprocessing
import tempfile
import threading
import time
from typing import Any

import psutil
import torch
from datasets import disable_progress_bars
from steps import BATCH, lenet
from torch.utils.data import DataLoader

from hf_ood import IRM
from hf_ood.data import (
    EnvironmentDataset,
    EnvironmentSampler,
    collate,
    colored_mnist_tensors,
    load_colored_mnist,
)
from hf_ood.models import Penultimate
from hf_ood.trainer import cached_features, fit_head

IMAGES = 70_000  # of one configuration of Colored MNIST
RAW_BYTES = IMAGES * 3 * 28 * 28


def input_pipeline(data: EnvironmentDataset) -> float:
    """Images per second from the dataset to float batches, through the DataLoader."""
    loader = DataLoader(data, BATCH, sampler=EnvironmentSampler(data.environments), collate_fn=collate)
    start = time.perf_counter()
    total = sum(len(batch["labels"]) for batch in loader)
    return total / (time.perf_counter() - start)


def linear_probe(data: EnvironmentDataset, steps: int) -> float:
    """Steps per second of a head on cached features, under IRM."""
    model = lenet()
    features = cached_features(model, data.select(range(10_000)))
    head = Penultimate(model).classifier
    start = time.perf_counter()
    fit_head(head, features, IRM(warmup_steps=0), steps=steps, batch_size=BATCH)
    return steps / (time.perf_counter() - start)


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
    """Build the images in this process, from a cold start -> seconds, and growth of the peak memory."""
    torch.set_num_threads(1)
    disable_progress_bars()
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
    """The same in a process of its own -> seconds, and the growth in multiples of the raw bytes."""
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    process = context.Process(target=build, args=(as_dataset, result))
    process.start()
    seconds, growth = result.get()
    process.join()
    return seconds, growth / RAW_BYTES
