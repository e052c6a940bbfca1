"""The small study on a Ray instance of its own on this machine."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from small_study import command, values

from hf_ood.cli.reproduce import main
from hf_ood.experiments.jobs import Job
from hf_ood.experiments.on_ray import Parcel, carry_out_away, unpack
from hf_ood.experiments.study import load_study


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def processes_of(folder: str) -> list[int]:
    listing = subprocess.run(["ps", "-eo", "pid,args", "-ww"], capture_output=True, text=True, check=True)
    return [int(line.split()[0]) for line in listing.stdout.splitlines() if folder in line]


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Ray instance for whoever has this test's environment: Ray listens on more than the loopback
    interface, so it asks for a token."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install 'hf_ood[sweep]'")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    folder = tempfile.mkdtemp(prefix="ray")  # its sockets need a short path
    port, log = free_port(), Path(folder, "start.log")
    options = f"--block --head --port {port} --num-cpus 2 --num-gpus 0 --temp-dir {folder}"
    options += " --include-dashboard false --disable-usage-stats"
    executable = Path(sys.executable).with_name("ray")
    with log.open("w") as file:
        ray = subprocess.Popen([executable, "start", *options.split()], stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 60
        while "Ray runtime started" not in log.read_text():
            assert ray.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        ray.terminate()
        with suppress(subprocess.TimeoutExpired):
            ray.wait(10)
        for process in processes_of(folder):  # none, unless it did not end in time
            os.kill(process, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.nightly
def test_a_study_on_a_cluster_has_the_same_tables(
    address: str, whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, "runs", "out", "--executor", "ray", "--address", address)) == 0
    shown, errors = capfd.readouterr()
    assert "[4/4]" in shown and "ray" not in errors
    pd.testing.assert_frame_equal(values(tmp_path / "out"), values(whole / "out"))
    for folder in (path.parent for path in (tmp_path / "runs").rglob("results.json")):
        names = {path.name for path in folder.iterdir()}
        assert {"arguments.yaml", "curves.png", "README.md", "model.safetensors"} <= names
        assert "accuracy" in Path(f"{folder}.log").read_text()


def test_without_ray_or_without_an_answer_the_way_out_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = command(tmp_path, "runs", "out", "--executor", "ray", "--address")
    if importlib.util.find_spec("ray"):
        for address, message in (
            (f"127.0.0.1:{free_port()}", "No Ray cluster answers at --address 127.0.0.1"),
            ("somewhere", "HOST:PORT, auto or local, not 'somewhere'"),
        ):
            with pytest.raises(SystemExit):
                main([*arguments, address])
            assert message in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "ray", None)  # what an import of a missing package meets
    with pytest.raises(SystemExit):
        main([*arguments, "auto"])
    assert "pip install 'hf_ood[sweep]'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_machine_with_other_code_is_refused_and_failures_leave_no_results(
    whole: Path, tmp_path: Path
) -> None:
    run = load_study(whole / "recipes" / "small.yaml").runs("quick")[0]
    job = Job((run,))
    refused = carry_out_away(job, key="of other code")
    assert "another version of hf_ood or torch" in str(refused.errors[0]) and not refused.files
    (tmp_path / run.study).mkdir()
    assert unpack(job, tmp_path, Parcel(["an error"], "what it printed", {})) == ["an error"]
    assert not list(tmp_path.rglob("results.json"))
    parcel = Parcel([None], "", {"results.json": b"{}", "deep/file": b"x"})
    assert unpack(job, tmp_path, parcel) == [None]
    assert (run.folder(tmp_path) / "deep" / "file").read_bytes() == b"x"
