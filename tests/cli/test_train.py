"""The main job, end to end: through the command, killed and resumed, on two processes, with mistakes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hf_ood.cli.train import main
from hf_ood.data.colored_mnist import write_colored_mnist
from hf_ood.errors import UsageError

ROOT = Path(__file__).parents[2]
TRAIN = str(ROOT / "trainers" / "train.py")
SMALL = (
    "--max_train_samples 1152 --num_train_epochs 2 --num_threads 1 --use_cpu true --disable_tqdm true"
).split()
RUN_FILES = {
    "README.md",
    "results.json",
    "curves.png",
    "model.safetensors",
    "config.json",
    "preprocessor_config.json",
}


def launch(*flags: str, processes: int = 1, **kwargs: Any) -> subprocess.CompletedProcess:
    command = [sys.executable, TRAIN, *flags]
    if processes > 1:
        distributed = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        command = [sys.executable, *distributed, TRAIN, *flags, "--ddp_backend", "gloo"]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=ROOT, **kwargs)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("cli") / "run"
    results = main(["--method", "irm+rsc", "--irm.warmup_steps", "3", "--output_dir", str(folder), *SMALL])
    return folder, results


def test_a_run_leaves_everything_behind(finished_run: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = finished_run
    files = {path.name for path in folder.iterdir()}
    assert files >= RUN_FILES
    assert "training_args.bin" not in files  # it pickles the Hub token


def test_results_have_the_promised_contents(finished_run: tuple[Path, dict[str, Any]]) -> None:
    folder, returned = finished_run
    results = json.loads((folder / "results.json").read_text())
    assert results == json.loads(json.dumps(returned))
    assert results["method"] == "irm+rsc"
    assert (results["dataset"], results["config"]) == ("colored_mnist", "unseen_colors")
    assert results["selection"] == "best validation mean accuracy over evaluations"
    splits = {name: (entry["split"], entry["count"]) for name, entry in results["environments"].items()}
    assert splits == {
        "red_on_black": ("validation", 2000),
        "green_on_black": ("validation", 2000),
        "white_on_black": ("validation", 2000),
        "random_colors": ("test", 10000),
    }
    assert results["mean_accuracy"] == results["environments"]["random_colors"]["accuracy"]
    assert results["gap"] == pytest.approx(results["train_accuracy"] - results["mean_accuracy"])
    assert results["steps"] == 12
    assert [record["epoch"] for record in results["history"]] == [1.0, 2.0]
    assert results["hyperparameters"]["irm"]["warmup_steps"] == 3
    assert results["versions"]["torch"] == torch.__version__
    assert results["command"].startswith("hf-ood train --method irm+rsc --irm.warmup_steps 3 --max")
    assert set(results["environments"]["random_colors"]) >= {"macro_f1", "ece"}


@pytest.mark.slow
def test_the_same_command_gives_the_same_results(
    finished_run: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    _, first = finished_run
    second = main(["--method", "irm+rsc", "--irm.warmup_steps", "3", "--output_dir", str(tmp_path), *SMALL])
    for key in ("environments", "history", "mean_accuracy", "train_accuracy", "steps"):
        assert second[key] == first[key]


@pytest.mark.slow
def test_the_checkpoint_works_where_this_package_is_not(finished_run: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = finished_run
    program = f"""
import sys
sys.modules["hf_ood"] = None  # importing it fails from here on
from PIL import Image
from transformers import pipeline
classify = pipeline("image-classification", model={str(folder)!r}, trust_remote_code=True)
print(sorted(answer["label"] for answer in classify(Image.new("RGB", (40, 30), "red"))))
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert shown.stdout.strip() == "['0-4', '5-9']", shown.stderr


@pytest.mark.slow
def test_a_share_of_the_way_from_the_start(
    finished_run: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start, _ = finished_run
    flags = ["--start_from", str(start), "--method", "ema", "--interpolate_with_start"]
    results = main([*flags, "0", "--output_dir", str(tmp_path / "run"), *SMALL])
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (tmp_path / "run", start))
    assert all(torch.equal(ours[name], weight) for name, weight in theirs.items())
    (point,) = results["interpolation"]
    assert point["share"] == 0.0 and point["mean_accuracy"] == results["mean_accuracy"]
    assert "from the starting to the trained weights" in capsys.readouterr().out
    refused(f"--output_dir {tmp_path / 'new'} --interpolate_with_start 0.5", "random weights", capsys)


KILLED = (
    "--dataset_config fixed_colors --method irm+rsc --irm.warmup_steps 5 --augmentation report "
    "--save_strategy steps --save_steps 3 --eval_strategy no --save_total_limit 9"
).split() + SMALL


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("whole") / "run"
    shown = launch(*KILLED, "--output_dir", str(folder))
    assert shown.returncode == 0, shown.stderr
    return folder, shown.stdout


def test_the_table_and_the_paths_are_shown(whole: tuple[Path, str]) -> None:
    folder, shown = whole
    for expected in ("yellow_on_white", "blue_on_white", "worst", "gap", "5,000", "selection: last step"):
        assert expected in shown
    for file in ("model.safetensors", "results.json", "README.md", "curves.png"):
        assert str(folder / file) in shown


@pytest.mark.nightly
@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(whole: tuple[Path, str], tmp_path: Path) -> None:
    command = [sys.executable, TRAIN, *KILLED, "--output_dir", str(tmp_path / "killed")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed" / "checkpoint-6").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "results.json").exists()
    resumed = launch(*KILLED, "--output_dir", str(tmp_path / "killed"), "--resume_from_checkpoint", "true")
    assert resumed.returncode == 0, resumed.stderr
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (tmp_path / "killed", whole[0]))
    for name, weight in theirs.items():
        assert torch.equal(ours[name], weight), name


def refused(flags: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError):
        main([*SMALL, *flags.split()])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--dataset_config unsen_colors", "Did you mean 'unseen_colors'?"),
        ("--augmentation reprt", "Did you mean 'report'?"),
        ("--model lenett", "Did you mean 'lenet'?"),
        ("--train_environments red_on_blck", "Did you mean 'red_on_black'?"),
        (
            "--method irm --train_environments red_on_black",
            "at least 2, the training set has 1 (red_on_black)",
        ),
        ("--max_train_samples 90000", "asks for 30000 of environment 'red_on_black', which has 18000"),
        ("--dataset_name no/where --dataset_config default", "no/where"),
    ],
)
def test_a_mistake_is_named_before_any_training(
    flags: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(f"--output_dir {tmp_path / 'run'} {flags}", message, capsys)


def test_the_folder_of_another_run_is_left_alone(
    finished_run: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = finished_run
    before = (folder / "results.json").read_bytes()
    refused(
        f"--method erm --output_dir {folder}",
        "holds another run: irm.warmup_steps, method differ",
        capsys,
    )
    assert (folder / "results.json").read_bytes() == before
    (tmp_path / "diary.txt").write_text("mine")
    refused(f"--output_dir {tmp_path}", "is not empty", capsys)
    refused(f"--output_dir {tmp_path / 'new'} --resume_from_checkpoint true", "nothing to resume", capsys)
    refused(
        f"--method erm --output_dir {tmp_path / 'new'} --resume_from_checkpoint {folder / 'checkpoint-1'}",
        "checkpoint-1 belongs to another run: irm.warmup_steps, method differ",
        capsys,
    )


@pytest.mark.slow
def test_the_token_is_never_written(tmp_path: Path) -> None:
    main(["--hub_token", "hf_secret_token", "--output_dir", str(tmp_path), *SMALL])
    outside_checkpoints = [path for path in tmp_path.iterdir() if path.is_file()]
    assert len(outside_checkpoints) >= len(RUN_FILES)
    assert not any(b"hf_secret_token" in path.read_bytes() for path in outside_checkpoints)


@pytest.mark.slow
def test_a_published_dataset_is_trained_on_by_its_folder(tmp_path: Path) -> None:
    write_colored_mnist(tmp_path / "data", ["background_shortcut"], label_rule="zero_vs_one")
    name = ["--dataset_name", str(tmp_path / "data"), "--dataset_config", "background_shortcut"]
    results = main([*name, *SMALL, "--output_dir", str(tmp_path / "run")])
    assert {entry["split"] for entry in results["environments"].values()} == {"validation", "test"}
    assert results["environments"]["reversed"]["count"] == 2115  # zeros and ones
