"""Where runs are carried out: in this process, or in worker processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Protocol

import yaml

from ..cli.train import main
from .study import Run

Outcome = tuple[Run, str | None]  # a run, and what went wrong


class Executor(Protocol):
    """Carries runs out and yields each when it has ended, in any order."""

    def __call__(self, runs: Sequence[Run], root: Path, workers: int) -> Iterator[Outcome]: ...


def carry_out(run: Run, root: Path) -> str | None:
    """Train one run in its folder, from the start; returns what went wrong, or None."""
    folder = run.folder(root)
    shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run left
    folder.parent.mkdir(parents=True, exist_ok=True)
    recipe, log = Path(f"{folder}.yaml"), Path(f"{folder}.log")
    recipe.write_text(yaml.safe_dump(run.recipe(root), sort_keys=False))
    with log.open("w") as file, redirect_stdout(file), redirect_stderr(file):
        try:
            main(["--config", str(recipe), "--disable_tqdm", "true", "--report_to", "none"])
        except (Exception, SystemExit) as error:
            return f"{type(error).__name__}: {getattr(error, 'message', error)} (log: {log})"
    for checkpoint in list(folder.glob("**/checkpoint-*")):
        shutil.rmtree(checkpoint)
    return None


def in_process(runs: Sequence[Run], root: Path, workers: int = 1) -> Iterator[Outcome]:
    """One after the other, here."""
    for run in runs:
        yield run, carry_out(run, root)


def in_workers(runs: Sequence[Run], root: Path, workers: int) -> Iterator[Outcome]:
    """`workers` at a time, each in a process of its own with one thread."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
        futures = {pool.submit(carry_out, run, root): run for run in runs}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _end_with_parent() -> None:
    """A worker whose study was killed must not train on."""
    parent = multiprocessing.parent_process()

    def watch(wait: Callable[[], None]) -> None:
        wait()
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, args=(parent.join,), daemon=True).start()


EXECUTORS: dict[str, Executor] = {"in_process": in_process, "workers": in_workers}
