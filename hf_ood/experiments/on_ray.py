"""Runs as tasks of a Ray cluster whose machines need not share a disk."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import replace_text
from .dispatch import Event, ExecutorUnavailable, carry_out_job, dispatch
from .head_results import FOLDER
from .jobs import Job
from .keyed_run import Run

LARGEST_FILE = 2 * 2**20  # bytes; larger files, such as a big network's weights, stay where they were made
PATIENCE = 15.0  # seconds until an address counts as silent


@dataclass(frozen=True)
class Parcel:
    """What travels back from the machine that did a job: what went wrong with each run, or None, and its
    files."""

    errors: list[str | None]
    log: str
    files: dict[str, bytes]


def on_ray(
    runs: Sequence[Run], root: Path, workers: int | None = None, address: str = "auto"
) -> Generator[Event, None, None]:
    """One CPU a job on the cluster at `address`: HOST:PORT, `auto` (the one this machine belongs to), or
    `local` (a new one, for this study).

    hf_ood has to be installed on its machines. Raises `ExecutorUnavailable` without Ray, or when nobody
    answers.
    """
    ray = connect(address, workers)
    try:
        task = ray.remote(num_cpus=1, max_retries=1)(carry_out_away)

        def submit(job: Job, slot: int) -> Future:
            return task.remote(job, job.first.key).future()

        slots = int(ray.cluster_resources().get("CPU", 1))
        yield from dispatch(
            runs, root, min(workers or slots, slots), submit, lambda job, parcel: unpack(job, root, parcel)
        )
    finally:
        ray.shutdown()  # ends the tasks that are still running


def connect(address: str, workers: int | None) -> Any:
    """Ray, connected; a wrong or silent address is an error within seconds."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read when Ray is imported
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ExecutorUnavailable("--executor ray needs Ray: pip install 'hf_ood[sweep]'.") from error
    if address == "local":
        own: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False}
    else:
        own = {}
        require_answer(address)
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    return ray


def require_answer(address: str) -> None:
    """Raises `ExecutorUnavailable` with Ray's own reason, such as a missing token, unless a cluster answers.

    `ray.init` itself would try for minutes.
    """
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check"]
    reason = f"no answer within {PATIENCE:.0f} s"
    try:
        if address != "auto":
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal():
                raise ExecutorUnavailable(f"--address is HOST:PORT, auto or local, not {address!r}.")
            socket.create_connection((host, int(port)), timeout=PATIENCE).close()
            command += ["--address", address]
        found = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        if found.returncode == 0:
            return
        reason = (found.stderr.strip().splitlines() or [reason])[-1]
    except OSError as error:
        reason = str(error)
    except subprocess.TimeoutExpired:
        pass
    raise ExecutorUnavailable(
        f"No Ray cluster answers at --address {address}: {reason.rstrip('.')}. Start one with "
        "`ray start --head`, or give --address local."
    )


def carry_out_away(job: Job, key: str) -> Parcel:
    """Do a job in a temporary folder of this machine. `key` is its first run's on the machine that asks for
    it."""
    if job.first.key != key:
        wrong = (
            f"{socket.gethostname()} has another version of hf_ood or torch than the machine that asks: "
            "its results would not be comparable. Install the same there."
        )
        return Parcel([wrong] * len(job.runs), "", {})
    with tempfile.TemporaryDirectory(prefix="hf_ood_") as place:
        root = Path(place)
        errors = carry_out_job(job, root)
        folder = root / FOLDER if job.together else job.place(root)
        files = {
            str(file.relative_to(folder)): file.read_bytes()
            for file in folder.rglob("*.jsonl" if job.together else "*")
            if file.is_file() and (job.together or file.stat().st_size <= LARGEST_FILE)
        }
        log = Path(f"{job.place(root)}.log").read_text()
        return Parcel(errors, log, files if job.together or errors == [None] else {})


def unpack(job: Job, root: Path, parcel: Parcel) -> list[str | None]:
    """Lay a job's files where it would have left them; a run's folder appears whole, in one move."""
    log = Path(f"{job.place(root)}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(parcel.log)
    if job.together:
        for name, content in parcel.files.items():
            replace_text(root / FOLDER / name, content.decode())
        return parcel.errors
    if any(parcel.errors):
        return parcel.errors
    folder = job.place(root)
    arriving = folder.with_name(f"{folder.name}.arriving")
    for old in (arriving, folder):
        shutil.rmtree(old, ignore_errors=True)
    for name, content in parcel.files.items():
        file = arriving / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    os.replace(arriving, folder)
    return parcel.errors
