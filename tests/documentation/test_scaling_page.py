"""The code of docs/scaling.md, which divides networks over processes, runs on two of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from documents import ROOT
from tiny_models import save_image_model

LAUNCHER = "-m torch.distributed.run --standalone --local-addr 127.0.0.1 --nproc_per_node 2".split()


@pytest.mark.nightly
def test_the_blocks_run_on_two_processes(tmp_path: Path) -> None:
    (tmp_path / "vit").mkdir()
    save_image_model(tmp_path / "vit")
    paths = os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *LAUNCHER, str(ROOT / "tests/documentation/scaling_page.py"), str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert {"done_0", "done_1"} <= {path.name for path in tmp_path.iterdir()}
