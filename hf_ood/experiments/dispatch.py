"""Hands runs to free slots, each run to one process only, and tells what starts and ends."""

from __future__ import annotations

import shutil
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from filelock import BaseFileLock

from .. import hub_client
from ..errors import ForeseenError
from ..locks import acquire
from ..runs.attribution import explain_run
from ..runs.run import run as carry_out_spec
from .head_jobs import carry_out_heads
from .jobs import Job, jobs_of
from .keyed_run import Run, finished
from .wrong import describe

POLL_SECONDS = 0.2  # how often a run that another process does is looked at again


class ExecutorUnavailable(ForeseenError, RuntimeError):
    """The place where runs were to be carried out cannot be reached; says the way out."""


@dataclass(frozen=True)
class Started:
    """A slot has begun a run, or with it `together` runs that are carried out as one."""

    run: Run
    slot: int
    together: int = 1


@dataclass(frozen=True)
class Waiting:
    """Another process is doing this run."""

    run: Run


@dataclass(frozen=True)
class Ended:
    """A run is over: `error` says what went wrong, `slot` is None where another process finished it. Of runs
    that were carried out as one, `left` more are about to be told of."""

    run: Run
    slot: int | None
    error: str | None = None
    together: int = 1
    left: int = 0


Event = Started | Waiting | Ended


def log_file(run: Run, root: Path) -> Path:
    """What a run printed; whoever does the run holds the lock of this file."""
    return Path(f"{run.folder(root)}.log")


def carry_out(run: Run, root: Path) -> str | None:
    """Train one run in its folder, from the start; returns what went wrong, or None."""
    hub_client.install()
    folder = run.folder(root)
    trained = _finished(replace(run, explain=False), root)  # by a study that did not look into it
    if not trained:
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run left
    folder.parent.mkdir(parents=True, exist_ok=True)
    recipe = Path(f"{folder}.yaml")
    recipe.write_text(yaml.safe_dump(run.recipe(root), sort_keys=False))
    with log_file(run, root).open("w") as file, redirect_stdout(file), redirect_stderr(file):
        try:
            if not trained:
                carry_out_spec(run.spec(root))
            if run.explain:
                explain_run(folder, threads=1)
        except (Exception, SystemExit) as error:
            traceback.print_exc()  # into the log
            return describe(error, folder)
    for checkpoint in list(folder.glob("**/checkpoint-*")):
        shutil.rmtree(checkpoint)
    return None


def carry_out_job(job: Job, root: Path) -> list[str | None]:
    """Carry out what is one piece; returns what went wrong with each run, or None."""
    return carry_out_heads(job, root) if job.together else [carry_out(job.first, root)]


def dispatch(
    runs: Sequence[Run],
    root: Path,
    slots: int,
    submit: Callable[[Job, int], Future],
    receive: Callable[[Job, Any], list[str | None]] = lambda job, outcome: outcome,
) -> Generator[Event, None, None]:
    """Keep every slot busy until all runs are over.

    `submit` starts a job in a slot; `receive` turns its outcome into what went wrong with each of its runs. A
    job that another process does is put off; what that process gives up is done here.
    """
    left, put_off = deque(jobs_of(runs)), set()
    free = list(range(slots))
    running: dict[Future, tuple[Job, int, BaseFileLock]] = {}
    while left or running:
        for _ in range(len(left)):
            if not free:
                break
            job = left.popleft()
            lock = acquire(Path(f"{job.place(root)}.log"))
            if lock is None:
                left.append(job)
                if job.place(root) not in put_off:
                    put_off.add(job.place(root))
                    yield Waiting(job.first)
                continue
            done = [run for run in job.runs if _finished(run, root)]
            yield from (Ended(run, None) for run in done)
            if len(done) == len(job.runs):
                lock.release()
                continue
            job = replace(job, runs=tuple(run for run in job.runs if run not in done))
            slot = free.pop(0)
            yield Started(job.first, slot, len(job.runs))
            running[submit(job, slot)] = job, slot, lock
        if not running:
            time.sleep(POLL_SECONDS if left else 0)
            continue
        for future in wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED).done:
            job, slot, lock = running.pop(future)
            try:
                errors = receive(job, future.result())
            except Exception as failure:  # the process or the machine that did it is gone
                errors = [describe(failure)] * len(job.runs)
            lock.release()
            free.append(slot)
            number = len(job.runs)
            for place, (run, error) in enumerate(zip(job.runs, errors, strict=True), start=1):
                yield Ended(run, slot, error, number, number - place)


def _finished(run: Run, root: Path) -> bool:
    try:
        return finished(run, root)
    except ValueError:  # damaged
        return False
