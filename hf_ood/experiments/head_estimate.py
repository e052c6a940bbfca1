"""How long heads that go together will take, from short trainings of one job of each kind."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from .head_jobs import results_of
from .jobs import Job, jobs_of, shared_settings
from .keyed_run import Run
from .time_estimate import makespan

SHORT, LONGER = 5, 25  # steps
SAMPLE = 300  # rows of each split, or two batches: features of all would take as long as they take
EPOCHS = 1, 2  # where epochs say how long a training is
APART = ("train_environments", "test_environments")  # what jobs of one kind differ in, beside the seed


class Timed(NamedTuple):
    """Seconds on one thread: of features, which are computed once; of whatever a job does once; and of its
    training, for each head."""

    features: float
    job: float
    head: float


def estimate_together(runs: Sequence[Run], workers: int = 1) -> float:
    """Seconds that the runs among `runs` which go together (`jobs_of`) will take on so many workers; 0 where
    none does. Those that go one by one are left out.

    Raises `ValueError` where the runs themselves would.
    """
    jobs = [job for job in jobs_of(runs) if job.together]
    kinds = defaultdict(list)
    for job in jobs:
        kinds[kind_of_job(job)].append(job)
    once, seconds = 0.0, []
    for same in kinds.values():
        timed = time_job(max(same, key=lambda job: len(job.runs)))
        once += timed.features
        seconds += [timed.job + timed.head * len(job.runs) for job in same]
    return once + makespan(seconds, workers) if seconds else 0.0


def time_job(job: Job) -> Timed:
    """What a job takes, its training cut to a few steps, or epochs."""
    threads = torch.get_num_threads()
    settings = job.first.settings
    whole = settings.get("max_steps") or -1
    name, (short, longer) = ("max_steps", (SHORT, LONGER)) if whole > 0 else ("num_train_epochs", EPOCHS)
    if whole <= 0:
        whole = float(settings.get("num_train_epochs", 5.0))
    try:
        with tempfile.TemporaryDirectory() as place:
            found = [_seconds(job, {name: length}, place) for length in (short, short, longer)]
    finally:
        torch.set_num_threads(threads)
    (cold, share), (warm, _), (more, _) = found
    each = max(more - warm, 0.0) / (longer - short)
    return Timed(max(cold - warm, 0.0) / share, max(warm - short * each, 0.0), whole * each / len(job.runs))


def _seconds(job: Job, length: dict[str, float], place: str) -> tuple[float, float]:
    """Seconds of a training of this length on a part of the rows, and which share of all rows that is."""
    sample = max(SAMPLE, 2 * job.first.settings.get("per_device_train_batch_size", SAMPLE))
    cut = tuple(replace(run, settings={**run.settings, **length}) for run in job.runs)
    start = time.perf_counter()
    with open(os.devnull, "w") as silence, redirect_stdout(silence), redirect_stderr(silence):
        results = results_of(Job(cut, together=True), Path(place), sample)
    seconds = time.perf_counter() - start
    found = next((each for each in results if isinstance(each, dict)), None)
    if found is None:
        raise results[0] if isinstance(results[0], ValueError) else ValueError("no head was trained")
    used = sum(entry["count"] for entry in found["environments"].values()) + sample
    return seconds, min(used / found["rows"], 1.0)


def kind_of_job(job: Job) -> str:
    """Jobs of one kind take as long for each of their heads."""
    shared = {name: value for name, value in shared_settings(job.first).items() if name not in APART}
    return json.dumps(shared, sort_keys=True)
