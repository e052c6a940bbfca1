"""Where runs are carried out: in this process, in worker processes on this machine, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Protocol

from ..runs.cores import cores
from .dispatch import Event, carry_out_job, dispatch
from .jobs import Job
from .keyed_run import Run
from .on_ray import on_ray


class Executor(Protocol):
    """Carries runs out and tells what starts and ends, in any order. Closing it ends what is running. Runs
    that are heads on the same features are trained together (`jobs_of`).

    `workers`: how many at a time, None for as many as there are cores; `address`: of the cluster, if any.
    """

    def __call__(
        self, runs: Sequence[Run], root: Path, workers: int | None = None, address: str = "auto"
    ) -> Generator[Event, None, None]: ...


# glibc reads these when a process starts. By default it gives large tensors back to the system and faults
# them in again at every step, which costs a full batch of 50,000 images a fifth of its time.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}


def in_process(
    runs: Sequence[Run], root: Path, workers: int | None = None, address: str = "auto"
) -> Generator[Event, None, None]:
    """One job after the other, here."""

    def submit(job: Job, slot: int) -> Future:
        future: Future = Future()
        future.set_result(carry_out_job(job, root))
        return future

    return dispatch(runs, root, 1, submit)


def in_workers(
    runs: Sequence[Run], root: Path, workers: int | None = None, address: str = "auto"
) -> Generator[Event, None, None]:
    """`workers` at a time, each slot a process with one thread; one that crashes is replaced."""
    others = multiprocessing.active_children()
    pools: dict[int, ProcessPoolExecutor] = {}
    os.environ.update({name: os.environ.get(name, value) for name, value in KEEP_MEMORY.items()})

    def submit(job: Job, slot: int) -> Future:
        try:
            return pools[slot].submit(carry_out_job, job, root)
        except (KeyError, BrokenProcessPool):
            context = multiprocessing.get_context("spawn")
            pools[slot] = ProcessPoolExecutor(1, mp_context=context, initializer=_obey_parent)
            return pools[slot].submit(carry_out_job, job, root)

    try:
        yield from dispatch(runs, root, workers or cores(), submit)
    except BaseException:
        for process in multiprocessing.active_children():
            if process not in others:
                process.terminate()
        raise
    finally:
        for pool in pools.values():
            pool.shutdown()


def _obey_parent() -> None:
    """A worker leaves Ctrl-C to its parent, and does not train on when that one was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch(wait: Callable[[], None]) -> None:
        wait()
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, args=(parent.join,), daemon=True).start()


EXECUTORS: dict[str, Executor] = {"in_process": in_process, "workers": in_workers, "ray": on_ray}
