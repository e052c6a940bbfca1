"""The folder that `load_dataset` reads."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard

from hf_ood.data import load_colored_mnist, load_grey_images
from hf_ood.data.configurations import ENVIRONMENT_NAMES
from hf_ood.data.publish import write_colored_mnist

SCRIPT = Path(__file__).parents[2] / "dataset_scripts" / "colored_mnist" / "build.py"


def build(*flags: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, env=os.environ)


def test_the_script_writes_what_plain_load_dataset_reads(tmp_path: Path) -> None:
    folder = tmp_path / "colored"
    finished = build("--config", "unseen_colors", "--output_dir", folder, "--seed", "2")
    assert finished.returncode == 0, finished.stderr
    assert f'load_dataset("{folder}", "unseen_colors")' in finished.stdout
    read = load_dataset(str(folder), "unseen_colors", cache_dir=str(tmp_path / "cache"))
    built = load_colored_mnist("unseen_colors", seed=2)
    for split in ("train", "validation", "test"):
        assert read[split].features == built[split].features
        for column in ("label", "environment", "digit_color", "source_index"):
            assert read[split][column][:] == built[split][column][:]
    assert read["test"][7]["image"].tobytes() == built["test"][7]["image"].tobytes()
    default = load_dataset(str(folder), split="test", cache_dir=str(tmp_path / "cache"))
    assert default["environment"][0] == ENVIRONMENT_NAMES.index("random_colors")


def test_the_card_counts_every_environment(tmp_path: Path) -> None:
    write_colored_mnist(tmp_path, ["label_noise_shortcut"], label_rule="zero_vs_one")
    card = DatasetCard.load(tmp_path / "README.md")
    assert card.data.license == "cc-by-sa-3.0"
    zeros_and_ones = int((load_grey_images().classes[:50000] <= 1).sum())
    half = -(-zeros_and_ones // 2)
    assert f"color_flip_0.2 {half:,}, color_flip_0.1 {zeros_and_ones - half:,}" in card.text
    assert "Yann LeCun" in card.text and "zero_vs_one" in card.text


def test_the_script_names_the_nearest_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "argv", [str(SCRIPT), "--config", "unseen_color", "--output_dir", str(tmp_path / "out")]
    )
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert stopped.value.code == 2
    assert "Did you mean 'unseen_colors'?" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
