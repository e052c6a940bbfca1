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
from ..errors import ForeseenError, UsageError
from ..failures import message_of
from ..locks import acquire
from ..runs.attribution import explain_run
from ..runs.run import run as carry_out_spec
from .keyed_run import Run, finished

POLL_SECONDS = 0.2  # how often a run that another process does is looked at again


class ExecutorUnavailable(ForeseenError, RuntimeError):
    """The place where runs were to be carried out cannot be reached; says the way out."""


@dataclass(frozen=True)
class Started:
    """A slot has begun a run."""

    run: Run
    slot: int


@dataclass(frozen=True)
class Waiting:
    """Another process is doing this run."""

    run: Run


@dataclass(frozen=True)
class Ended:
    """A run is over: `error` says what went wrong, `slot` is None where another process finished it."""

    run: Run
    slot: int | None
    error: str | None = None


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


def describe(error: BaseException, folder: Path | None = None) -> str:
    """What went wrong, in one message; `folder`: where it was written to."""
    told = error.message if isinstance(error, UsageError) else None
    if told is None and isinstance(error, Exception):
        told = message_of(error, [folder] if folder else [])
    return told or f"{type(error).__name__}: {error}"


def dispatch(
    runs: Sequence[Run],
    root: Path,
    slots: int,
    submit: Callable[[Run, int], Future],
    receive: Callable[[Run, Any], str | None] = lambda run, outcome: outcome,
) -> Generator[Event, None, None]:
    """Keep every slot busy until all runs are over.

    `submit` starts a run in a slot; `receive` turns its outcome into what went wrong, or None. A run that
    another process does is put off; it is done here only if that process gives it up.
    """
    left, put_off = deque(runs), set()
    free = list(range(slots))
    running: dict[Future, tuple[Run, int, BaseFileLock]] = {}
    while left or running:
        for _ in range(len(left)):
            if not free:
                break
            run = left.popleft()
            lock = acquire(log_file(run, root))
            if lock is None:
                left.append(run)
                if run.folder(root) not in put_off:
                    put_off.add(run.folder(root))
                    yield Waiting(run)
            elif _finished(run, root):
                lock.release()
                yield Ended(run, None)
            else:
                slot = free.pop(0)
                yield Started(run, slot)
                running[submit(run, slot)] = run, slot, lock
        if not running:
            time.sleep(POLL_SECONDS if left else 0)
            continue
        for future in wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED).done:
            run, slot, lock = running.pop(future)
            try:
                error = receive(run, future.result())
            except Exception as failure:  # the process or the machine that did it is gone
                error = describe(failure)
            lock.release()
            free.append(slot)
            yield Ended(run, slot, error)


def _finished(run: Run, root: Path) -> bool:
    try:
        return finished(run, root)
    except ValueError:  # damaged
        return False
