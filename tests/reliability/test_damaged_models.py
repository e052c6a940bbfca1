"""What a model is loaded from is whole, or an error names the file and the newest whole checkpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_args, make_dataset, make_model
from PIL import Image
from safetensors.torch import load_file, save_file

from hf_ood import OODTrainer
from hf_ood.cli.evaluate import main as evaluate
from hf_ood.cli.explain import main as explain
from hf_ood.cli.predict import main as predict
from hf_ood.cli.publish import main as publish
from hf_ood.cli.train import main as train
from hf_ood.errors import UsageError
from hf_ood.hub.push import published_files
from hf_ood.manifest import write_manifest

FLAGS = (
    "--dataset_config fixed_colors --max_train_samples 120 --per_device_train_batch_size 24 --max_steps 2 "
    "--save_strategy steps --save_steps 1 --eval_strategy no --num_threads 1 --use_cpu true"
).split()
PROCESSOR = "preprocessor_config.json"
Damage = Callable[[Path], Any]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    train([*FLAGS, "--output_dir", str(folder)])
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def halve(file: Path) -> None:
    """The right size, zeros in the second half: what a file system may leave after a crash."""
    half = file.stat().st_size // 2
    file.write_bytes(file.read_bytes()[:half] + bytes(file.stat().st_size - half))


DAMAGES: dict[str, tuple[str, Damage]] = {
    "zeros": ("model.safetensors is damaged", lambda run: halve(run / "model.safetensors")),
    "no weights": ("model.safetensors is missing", lambda run: (run / "model.safetensors").unlink()),
    "edited": ("config.json is damaged", lambda run: (run / "config.json").write_text("{}")),
    "processor": ("processor_config.json is missing", lambda run: (run / PROCESSOR).unlink()),
    "manifest": ("manifest.json is damaged", lambda run: (run / "manifest.json").write_text('{"files": ')),
}


def readers(run: Path, beside: Path, images: Path) -> dict[str, Callable[[], Any]]:
    """Every command that reads a run's model."""
    new = ["--output_dir", str(beside / "new")]
    return {
        "evaluate": lambda: evaluate(["--run", str(run), *new]),
        "evaluate --model": lambda: evaluate(["--model", str(run), "--dataset_config", "fixed_colors", *new]),
        "predict": lambda: predict(["--model", str(run), str(images)]),
        "explain": lambda: explain(["--run", str(run), "--samples", "5"]),
        "publish": lambda: publish(["--run", str(run), "--repo_id", "user/name"]),
        "start_from": lambda: train([*FLAGS, "--start_from", str(run), *new]),
        "model": lambda: train([*FLAGS, "--model", str(run), "--trust_remote_code", "true", *new]),
    }


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    Image.new("RGB", (28, 28), "red").save(folder / "one.png")
    return folder


@pytest.mark.parametrize(
    "damage", ["zeros", *(pytest.param(name, marks=pytest.mark.slow) for name in [*DAMAGES][1:])]
)
def test_every_reader_names_the_file_and_the_newest_whole_checkpoint(
    damage: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], images: Path
) -> None:
    said, do = DAMAGES[damage]
    do(run)
    for name, read in readers(run, tmp_path, images).items():
        with pytest.raises(UsageError):
            read()
        error = capsys.readouterr().err
        assert said in error and f"newest whole checkpoint is {run / 'checkpoint-2'}" in error, (name, error)


@pytest.mark.slow
def test_the_way_out_writes_the_files_again(run: Path, finished: Path, tmp_path: Path) -> None:
    halve(run / "model.safetensors")
    train([*FLAGS, "--output_dir", str(run), "--resume_from_checkpoint", "true"])
    name = "model.safetensors"
    assert (run / name).read_bytes() == (finished / name).read_bytes()
    evaluate(["--run", str(run), "--output_dir", str(tmp_path / "again")])


def test_what_the_user_adds_or_edits_does_not_matter(run: Path, images: Path) -> None:
    (run / "README.md").write_text("my own words")
    (run / "curves.png").unlink()
    (run / "notes.txt").write_text("mine")
    predict(["--model", str(run), str(images)])
    assert run / "README.md" in published_files(run)


def test_a_run_from_before_manifests_is_read_and_that_is_said(
    run: Path, images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for file in ("manifest.json", "origin.json"):
        (run / file).unlink()
    for read in (
        lambda: predict(["--model", str(run), str(images)]),
        lambda: explain(["--run", str(run), "--samples", "5"]),
    ):
        caplog.clear()
        read()
        assert "has no manifest.json (earlier versions wrote none): taken as it is" in caplog.text


def change_keys(run: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> str:
    """A whole folder whose weights are not its network's; the name that it is about."""
    weights = load_file(run / "model.safetensors")
    name = change(weights)
    save_file(weights, run / "model.safetensors", metadata={"format": "pt"})
    (run / "manifest.json").unlink()
    write_manifest(run, {})
    return str(name)


def drop(weights: dict[str, torch.Tensor]) -> str:
    name = next(name for name in weights if name.endswith("bias"))
    del weights[name]
    return name


def add(weights: dict[str, torch.Tensor]) -> str:
    weights["another.bias"] = torch.zeros(2)
    return "another.bias"


@pytest.mark.parametrize("change", [drop, add])
def test_missing_and_extra_weights_are_named(
    change: Any, run: Path, tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = change_keys(run, change)
    new = ["--output_dir", str(tmp_path / "new")]
    for read in (
        lambda: predict(["--model", str(run), str(images)]),
        lambda: explain(["--run", str(run), "--samples", "5"]),
        lambda: train([*FLAGS, "--start_from", str(run), *new]),
    ):
        with pytest.raises(UsageError):
            read()
        assert name in capsys.readouterr().err


def test_missing_weights_may_be_accepted(run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = change_keys(run, drop)
    accepted = ["--accept_missing_keys", "true", "--learning_rate", "1e-12"]
    train([*FLAGS, "--start_from", str(run), *accepted, "--output_dir", str(tmp_path / "new")])
    assert f"has no weights for {name}: these are newly initialised" in caplog.text
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (tmp_path / "new", run))
    for own, weight in theirs.items():
        torch.testing.assert_close(ours[own], weight)


@pytest.mark.parametrize(("change", "accepted"), [(drop, False), (drop, True), (add, True)])
def test_weights_of_a_checkpoint_are_the_networks(change: Any, accepted: bool, tmp_path: Path) -> None:
    def trainer() -> OODTrainer:
        args = make_args(tmp_path, save_strategy="steps", save_steps=2, accept_missing_keys=accepted)
        return OODTrainer(make_model(), args, train_dataset=make_dataset())

    trainer().train()
    checkpoint = tmp_path / "checkpoint-2"
    about = json.loads((checkpoint / "manifest.json").read_text())
    name = change_keys(checkpoint, change)
    write_manifest(checkpoint, {key: value for key, value in about.items() if key != "files"})
    if change is drop and accepted:
        trainer().train(resume_from_checkpoint=str(checkpoint))
        return
    with pytest.raises(ValueError, match=f"{name}.*(accept_missing_keys|of another network)"):
        trainer().train(resume_from_checkpoint=str(checkpoint))
