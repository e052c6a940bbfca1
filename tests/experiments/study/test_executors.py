"""Studies in real processes: interrupted, killed, sharing a folder of runs, with a worker that dies."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from small_study import command, values

from hf_ood.cli.reproduce import main
from hf_ood.experiments.dispatch import Ended, Started, log_file
from hf_ood.experiments.executors import in_workers
from hf_ood.experiments.study import Run, load_study
from hf_ood.locks import acquire

SCRIPT = Path(__file__).parents[3] / "trainers" / "reproduce.py"


def start(arguments: list[str], output: Path) -> subprocess.Popen[bytes]:
    """A study in a process group of its own, as from a terminal: what a shell puts in the background has
    Ctrl-C ignored, and nohup SIGHUP."""
    script = [sys.executable, str(SCRIPT), *arguments]

    def hear() -> None:
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    with output.open("w") as file:
        return subprocess.Popen(script, stdout=file, stderr=file, start_new_session=True, preexec_fn=hear)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(group: int) -> bool:
    listing = subprocess.run(["ps", "-eo", "pgid,stat"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines()[1:]]
    return any(int(pgid) == group and not state.startswith("Z") for pgid, state in rows)


def results(folder: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in (folder / "runs").rglob("results.json")}


def small_runs(folder: Path) -> list[Run]:
    command(folder, "runs", "out")
    return load_study(folder / "recipes" / "small.yaml").runs("quick")


@pytest.mark.nightly
def test_two_processes_share_the_runs_and_one_takes_over_when_the_other_is_killed(
    whole: Path, tmp_path: Path
) -> None:
    locks = [acquire(log_file(run, tmp_path / "runs")) for run in small_runs(tmp_path)]
    outputs = [tmp_path / "killed.txt", tmp_path / "survives.txt"]
    killed = start(command(tmp_path, "runs", "a", "--executor", "workers", "--workers", "1"), outputs[0])
    survives = start(command(tmp_path, "runs", "b", "--executor", "in_process"), outputs[1])
    try:
        wait_for(lambda: all(output.read_text().count("another process") == 4 for output in outputs))
        for lock in locks:
            assert lock is not None
            lock.release()
        wait_for(lambda: results(tmp_path))
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        wait_for(lambda: not alive(killed.pid))  # workers end with their parent
        done = results(tmp_path)
        assert survives.wait(120) == 0
    finally:
        survives.kill()
    after = results(tmp_path)
    assert len(after) == 4 and {file: after[file] for file in done} == done
    pd.testing.assert_frame_equal(values(tmp_path / "b"), values(whole / "out"))


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_workers_and_says_how_to_go_on(name: str, tmp_path: Path) -> None:
    output = tmp_path / "output.txt"
    process = start(command(tmp_path, "runs", "out", "--executor", "workers", "--workers", "2"), output)
    wait_for(lambda: list((tmp_path / "runs").rglob("arguments.yaml")))
    number = getattr(signal, name)
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    wait_for(lambda: not alive(process.pid))
    assert "the same command goes on" in output.read_text() and "Traceback" not in output.read_text()
    assert len(results(tmp_path)) < 4


@pytest.mark.nightly
@pytest.mark.slow
def test_a_worker_that_dies_fails_its_run_and_is_replaced(tmp_path: Path) -> None:
    runs = small_runs(tmp_path)[:3]
    errors = {}
    for event in in_workers(runs, tmp_path / "runs", 2):
        if isinstance(event, Started) and event.run is runs[1]:
            (worker,) = multiprocessing.active_children()
            worker.kill()
        if isinstance(event, Ended):
            errors[runs.index(event.run)] = event.error
    assert "BrokenProcessPool" in str(errors.pop(0))
    assert errors == {1: None, 2: None}


def test_a_lock_is_held_once_and_ends_with_its_holder(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "run.log"
    lock = acquire(file)
    assert lock is not None and acquire(file) is None
    lock.release()
    again = acquire(file)
    assert again is not None
    again.release()


@pytest.mark.slow
def test_more_workers_than_cores_are_warned_of(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(whole, "runs", "out", "--workers", "1000")) == 0
    assert "--workers 1000 on" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(command(whole, "runs", "out", "--address", "auto"))
    assert "--address goes with --executor ray" in capsys.readouterr().err
