"""The wheel, installed outside the checkout, is the whole product."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = (
    "--max_train_samples 144 --per_device_train_batch_size 72 --max_steps 2 --use_cpu true --num_threads 1"
)

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a virtual environment that has the wheel, and the libraries of this one."""
    place = tmp_path_factory.mktemp("elsewhere")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(place), str(ROOT)], check=True
    )
    (wheel,) = place.glob("hf_ood-*.whl")
    venv.create(place / "venv", with_pip=True)
    python = place / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", str(wheel)], check=True)
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (Path(site) / "libraries.pth").write_text(sysconfig.get_paths()["purelib"])  # after the wheel's own
    return place


def hf_ood(elsewhere: Path, command: str) -> str:
    """What the installed command prints."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [elsewhere / "venv" / "bin" / "hf-ood", *shlex.split(command)],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        env=kept,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_it_is_the_installed_one_that_is_tried(elsewhere: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [elsewhere / "venv" / "bin" / "python", "-c", "import hf_ood; print(hf_ood.__file__)"],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        env=kept,
    )
    assert str(elsewhere) in done.stdout


def test_the_quickstart_trains_and_writes_to_the_working_folder(elsewhere: Path) -> None:
    told = hf_ood(elsewhere, f"train --config quickstart --output_dir runs/quick {SMALL}")
    assert "random_colors" in told
    assert (elsewhere / "runs" / "quick" / "model.safetensors").is_file()


def test_studies_are_listed_and_carried_out(elsewhere: Path) -> None:
    assert "figure_15" in hf_ood(elsewhere, "reproduce --list")
    told = hf_ood(elsewhere, "reproduce --study table_2 --dry_run --seeds 1")
    assert "2 to do" in told
    hf_ood(elsewhere, "reproduce --from_results")
    assert (elsewhere / "results" / "report.html").is_file()


def test_a_sweep_tells_what_it_would_do(elsewhere: Path) -> None:
    pytest.importorskip("optuna", reason="sweeps need hf_ood[sweep]")
    assert "runs at most" in hf_ood(
        elsewhere, "sweep --config sweep --methods erm irm --trials 1 --seeds 1 --dry_run"
    )


def test_recipes_launch_files_and_modules_are_found(elsewhere: Path) -> None:
    assert "quickstart" in hf_ood(elsewhere, "recipes")
    assert Path(hf_ood(elsewhere, "recipes fsdp").strip()).is_file()
    assert "Fishr" in hf_ood(elsewhere, "methods") or "fishr" in hf_ood(elsewhere, "methods")


@pytest.mark.parametrize("command", ["train", "reproduce", "sweep"])
def test_the_recipes_and_studies_that_help_names_are_there(elsewhere: Path, command: str) -> None:
    told = hf_ood(elsewhere, f"{command} --help")
    for name in re.findall(r"(?:--config|--study) ([a-z]\w+)(?![\w.])", told):
        if name not in ("my", "RECIPE"):
            assert Path(hf_ood(elsewhere, f"recipes {name}").strip()).is_file()
