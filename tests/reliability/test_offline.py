"""The Hub on a bad day: no network, a lost answer, a token that is refused, a request to wait."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hub.clients import TOKEN
from hub.loopback import LoopbackHub
from reliability.commands import ROOT

PUSH = """
import json, sys
from pathlib import Path
from hf_ood.uploads import push_files
print(push_files({"a.txt": b"one", "b.safetensors": b"two" * 1000}, sys.argv[1], "model", "Publish a", []))
"""
READ = """
import sys, time
from transformers import AutoConfig
from hf_ood.cli.funnel import one_message
from hf_ood.data import read_dataset

@one_message
def main(argv=None):
    if argv[0] == "model":
        AutoConfig.from_pretrained("user/scan-vit")
    else:
        read_dataset("user/scans")

start = time.monotonic()
try:
    main(sys.argv[1:])
finally:
    print(time.monotonic() - start)
"""


def program(code: str, *arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **environment,
    }
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=given)


@pytest.fixture
def hub() -> LoopbackHub:
    return LoopbackHub({TOKEN: "alice"})


@pytest.mark.slow
@pytest.mark.parametrize("what", ["model", "dataset"])
@pytest.mark.parametrize(
    "environment",
    [
        {"HF_ENDPOINT": "http://127.0.0.1:9"},
        {"HF_ENDPOINT": "http://no-such-host.invalid"},
        {"HF_HUB_OFFLINE": "1"},
    ],
    ids=["closed port", "no name", "offline"],
)
def test_without_a_network_the_answer_comes_at_once(
    environment: dict[str, str], what: str, tmp_path: Path
) -> None:
    finished = program(READ, what, home=tmp_path, **environment)
    assert finished.returncode == 2, finished.stderr
    assert "work offline" in finished.stderr and "Traceback" not in finished.stderr
    assert "Retrying" not in finished.stderr
    assert float(finished.stdout.split()[-1]) < 8


@pytest.mark.slow
def test_a_commit_whose_answer_is_lost_is_found(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.lose_answer("POST", "/commit/")
    finished = program(PUSH, "alice/landed", home=tmp_path, HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    assert finished.returncode == 0, finished.stderr
    head = hub.repository("model", "alice/landed").history()
    assert finished.stdout.strip().endswith(f"alice/landed/commit/{head[0]}") and len(head) == 2


@pytest.mark.slow
def test_where_nobody_can_tell_the_message_says_how_to_look(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.lose_answer("POST", "/commit/")
    for _ in range(9):
        hub.fail("GET", "/commits/", status=500)
    finished = program(PUSH, "alice/unknown", home=tmp_path, HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    told = finished.stderr
    assert finished.returncode and "may be there" in told and "alice/unknown/commits/main" in told
    assert "safe in either case" in told and TOKEN not in told


@pytest.mark.slow
def test_a_refused_token_names_the_way_to_another(hub: LoopbackHub, tmp_path: Path) -> None:
    finished = program(PUSH, "alice/refused", home=tmp_path, HF_ENDPOINT=hub.url, HF_TOKEN="hf_wrongwrong")
    assert "hf auth login" in finished.stderr and "HF_TOKEN" in finished.stderr
    assert "hf_wrongwrong" not in finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize("route", ["/api/repos/create", "/preupload/", "/commit/", "/api/models/"])
def test_a_request_to_wait_is_kept_everywhere(route: str, hub: LoopbackHub, tmp_path: Path) -> None:
    hub.limit("GET" if route == "/api/models/" else "POST", route, retry_after=2)
    start = time.monotonic()
    finished = program(PUSH, "alice/patient", home=tmp_path, HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    assert finished.returncode == 0, finished.stderr
    assert "asks to wait 2 s" in finished.stderr and time.monotonic() - start > 2
    statuses = [status for _, path, status in hub.requests if route in path]
    assert 429 in statuses and len(hub.repository("model", "alice/patient").history()) == 2
