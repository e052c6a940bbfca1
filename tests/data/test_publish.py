"""The folder that `load_dataset` reads."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, load_dataset
from datasets import Image as ImageFeature
from hub.tiny import write_tiny_source
from huggingface_hub import DatasetCard
from PIL import Image

from hf_ood.data import CardText, load_colored_mnist, load_grey_images
from hf_ood.data.colored_mnist import write_colored_mnist
from hf_ood.data.colored_mnist.configurations import ENVIRONMENT_NAMES
from hf_ood.data.publish import write_dataset_folder

SCRIPT = Path(__file__).parents[2] / "dataset_scripts" / "colored_mnist" / "build.py"


def build(*flags: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, env=os.environ)


@pytest.mark.slow
def test_the_script_writes_what_plain_load_dataset_reads(tmp_path: Path) -> None:
    folder, source = tmp_path / "colored", tmp_path / "digits"
    source.mkdir()
    options = {"seed": 2, "source": str(write_tiny_source(source)), "label_rule": "zero_vs_one"}
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    finished = build("--config", "unseen_colors", "--output_dir", folder, *flags)
    assert finished.returncode == 0, finished.stderr
    assert f'load_dataset("{folder}", "unseen_colors")' in finished.stdout
    read = load_dataset(str(folder), "unseen_colors", cache_dir=str(tmp_path / "cache"))
    built = load_colored_mnist("unseen_colors", **options)
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
    rows = [line.split(" | ") for line in card.text.splitlines() if line.startswith("| train")]
    assert [row[1:3] for row in rows] == [
        ["color_flip_0.2", f"{half:,}"],
        ["color_flip_0.1", f"{zeros_and_ones - half:,}"],
    ]
    for row, told in zip(rows, (80, 90), strict=True):
        assert int(row[3].replace(",", "")) + int(row[4].replace(",", "")) == int(row[2].replace(",", ""))
        assert float(row[6].removesuffix(" % |")) == pytest.approx(told, abs=1.5)
    for expected in (
        "Yann LeCun",
        "label_rule=zero_vs_one",
        "Seed 0",
        "red 255 0 0",
        "--label_rule zero_vs_one",
    ):
        assert expected in card.text


def test_colors_that_no_other_image_has_tell_nothing(tmp_path: Path) -> None:
    folder = write_colored_mnist(tmp_path, ["random_colors"], label_rule="zero_vs_one")
    rows = [line.split(" | ") for line in (folder / "README.md").read_text().splitlines()]
    train, *others = [row for row in rows if len(row) == 7 and row[0][2:] in ("train", "validation", "test")]
    assert train[5] == "0.0 %" and float(train[6].removesuffix(" % |")) < 60
    assert all(row[5] == "0.0 %" for row in others)


def test_large_splits_are_sharded_and_small_images_embedded(tmp_path: Path) -> None:
    for number in range(6):
        Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(tmp_path / f"{number}.png")
    rows = {
        "image": [str(tmp_path / f"{number}.png") for number in range(6)],
        "label": [0, 1] * 3,
        "environment": [0, 0, 0, 1, 1, 1],
    }
    names = ClassLabel(names=["a", "b"])
    features = Features({"image": ImageFeature(), "label": names, "environment": names})
    data = DatasetDict(train=Dataset.from_dict(rows, features=features))
    text = CardText("Reds", "mit")
    for shard_bytes, count in ((200, 3), (10**9, 1)):  # the second build leaves no shards of the first
        folder = write_dataset_folder(tmp_path / "out", {"reds": data}, text, max_shard_bytes=shard_bytes)
        files = sorted((folder / "reds").iterdir())
        assert len(files) >= count and files[0].name == f"train-00000-of-{len(files):05d}.parquet"
        read = load_dataset(str(folder), "reds", split="train", cache_dir=str(tmp_path / f"cache{count}"))
        assert [image.getpixel((0, 0))[0] for image in read["image"]] == [0, 40, 80, 120, 160, 200]
        assert read[0]["image"].size == (8, 8) and "0.png" not in (folder / "README.md").read_text()
    assert len(files) == 1


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
