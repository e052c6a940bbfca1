"""The command that measures shifts, on parquet and on Colored MNIST."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_dataset, make_model
from datasets import ClassLabel, Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image

from hf_ood.cli.shift import main
from hf_ood.errors import UsageError
from hf_ood.models import image_processor

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hospitals to train in, of which the second takes darker pictures, as the test hospital does."""
    folder = tmp_path_factory.mktemp("data") / "hospitals"
    folder.mkdir()
    names = ["north", "south", "east"]
    for split, counts in {"train": (40, 40, 0), "test": (0, 0, 40)}.items():
        data = make_dataset(counts, seed=len(split))
        dark = np.where(data.environments.numpy() > 0, 4, 1).astype(np.uint8)
        images = [
            Image.fromarray(pixels.permute(1, 2, 0).numpy() // factor)
            for pixels, factor in zip(data.columns["pixel_values"], dark, strict=True)
        ]
        columns = {"picture": images, "class": data.labels.tolist(), "site": data.environments.tolist()}
        features = {"picture": ImageFeature(), "class": ClassLabel(2), "site": ClassLabel(names=names)}
        rows = Dataset.from_dict(columns, features=Features(features))
        rows.to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return folder


def flags(hospitals: Path, more: str) -> list[str]:
    columns = "--label_column class --environment_column site"
    return f"--dataset {hospitals} {columns} --components 1 --estimator kde {more}".split()


def test_a_folder_of_parquet(hospitals: Path, tmp_path: Path) -> None:
    report = main(flags(hospitals, f"--test_split test --train_environments north --output_dir {tmp_path}"))
    (shift,) = report["shifts"].values()
    assert shift["kind"] == "diversity" and shift["label_shift"] < 0.2
    assert json.loads((tmp_path / "shift.json").read_text()) == json.loads(json.dumps(report))
    table = pd.read_csv(tmp_path / "shift.csv").iloc[0]
    assert table["kind"] == "diversity"
    assert table["diversity_value"] == pytest.approx(shift["measures"]["diversity"]["value"], rel=1e-5)
    assert Image.open(tmp_path / "shift.png").width > 400
    assert "--train_environments north" in report["command"] and str(tmp_path) not in report["command"]


def test_pairs_of_environments(hospitals: Path, tmp_path: Path) -> None:
    report = main(flags(hospitals, f"--pairs_of train --output_dir {tmp_path}"))
    assert {name: shift["kind"] for name, shift in report["shifts"].items()} == {"north / south": "diversity"}


def test_environments_of_one_split(hospitals: Path, tmp_path: Path) -> None:
    more = "--test_split train --train_environments north --test_environments south"
    report = main(flags(hospitals, f"{more} --output_dir {tmp_path}"))
    assert [shift["kind"] for shift in report["shifts"].values()] == ["diversity"]


def test_features_of_a_checkpoint(hospitals: Path, tmp_path: Path) -> None:
    make_model().save_pretrained(tmp_path / "run")
    image_processor(28, 28).save_pretrained(tmp_path / "run")
    report = main(
        flags(hospitals, f"--train_environments north --encoder {tmp_path / 'run'} --output_dir {tmp_path}")
    )
    assert [shift["kind"] for shift in report["shifts"].values()] == ["diversity"]


def test_several_configurations_are_several_points(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    names = ["fixed_colors", "label_noise_shortcut"]
    options = f"--components 2 --estimator kde --max_samples 100 --output_dir {tmp_path}".split()
    shifts = main([*options, "--dataset_config", *names])["shifts"]
    assert {name: shift["kind"] for name, shift in shifts.items()} == {
        "fixed_colors": "diversity",
        "label_noise_shortcut": "correlation",
    }
    printed = capsys.readouterr().out
    assert all(name in printed for name in names) and not recwarn.list


@pytest.mark.slow
def test_the_script_tells_a_mistake_without_a_traceback(hospitals: Path) -> None:
    command = [sys.executable, ROOT / "trainers/measure_shift.py", *flags(hospitals, "--test_split tset")]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 2
    assert "'test'" in finished.stderr and "Traceback" not in finished.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--test_split tset", "'test'"),
        ("--test_split train", "compared with itself.*--pairs_of train"),
        ("--test_split train --train_environments north --test_environments north", "compared with itself"),
        ("--train_environments norht", "'north'"),
        ("--pairs_of train --train_environments north", "leave --train_environments"),
        ("--all --dataset_config default", "not both"),
        ("--label_column klass", "no column 'klass'"),
        ("--image_column class", "must be an Image"),
        ("--encoder no/such-folder/here", "no/such-folder/here"),
    ],
)
def test_mistakes(hospitals: Path, more: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        main([*flags(hospitals, f"--output_dir {tmp_path}"), *more.split()])
    assert re.search(message, error.value.message, re.S), error.value.message
    assert not list(tmp_path.iterdir())


SMALL = "--components 1 --estimator kde --max_samples 100"


def test_linear_unit_tests_are_measured_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = f"--dataset linear_unit_tests {SMALL} --output_dir {tmp_path}"
    report = main(flags.split())
    assert list(report["shifts"]) == ["example_2", "example_3"]
    assert report["encoder"] == "none, the inputs are vectors"
    assert "Left out: example_1, a regression" in capsys.readouterr().out
    for more, message in (
        (
            "--dataset_config example_1",
            "the targets of a regression: both shifts are measured between classes",
        ),
        ("--encoder runs/mine", "vectors, which are measured as they are: leave --encoder out"),
        ("--dataset_config example_4", "Unknown example 'example_4'"),
    ):
        with pytest.raises(UsageError):
            main([*flags.split(), *more.split()])
        assert message in capsys.readouterr().err


def test_domains_of_folders(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for domain, class_, count in (
        ("photo", "cat", 12),
        ("photo", "dog", 12),
        ("ink", "cat", 12),
        ("ink", "dog", 12),
    ):
        folder = tmp_path / "scans" / domain / class_
        folder.mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 255 if domain == "ink" else 60, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    flags = f"--dataset {tmp_path / 'scans'} --environment_column @folder --pairs_of train {SMALL}"
    report = main([*flags.split(), "--output_dir", str(tmp_path / "out")])
    assert {name: shift["kind"] for name, shift in report["shifts"].items()} == {"ink / photo": "diversity"}


def test_tables_with_separators_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scans.csv").write_text("image;label;hospital\n1.png;cat;south\n2.png;dog;north\n")
    for number in (1, 2):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    flags = f"--dataset {tmp_path / 'scans.csv'} --environment_column hospital --pairs_of train"
    with pytest.raises(UsageError):
        main(flags.split())
    assert "--csv_separator ';'" in capsys.readouterr().err
    with pytest.raises(UsageError):
        main([*flags.split(), "--csv_separator", ";"])
    assert "differ in their classes" in capsys.readouterr().err
