"""A finished run, explained through the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from hf_ood.cli.arguments import parse_arguments
from hf_ood.cli.explain import explain_run, main
from hf_ood.cli.train import main as train
from hf_ood.errors import UsageError
from hf_ood.runs.folder import recorded_spec

ROOT = Path(__file__).parents[2]
FLAGS = (
    "--method irm+rsc --irm.warmup_steps 1 --model resnet --resnet.embedding_size 8 "
    "--resnet.hidden_sizes 8 8 8 8 --resnet.stem_stride 2 --dataset_config fixed_colors "
    "--train_environments red_on_black green_on_black "
    "--max_train_samples 400 --max_steps 2 --eval_strategy no --save_strategy no --use_cpu true "
    "--num_threads 1 --disable_tqdm true"
).split()


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain") / "run"
    train([*FLAGS, "--output_dir", str(folder)])
    return folder


def test_the_note_in_the_folder_gives_the_arguments_back(finished_run: Path) -> None:
    ours, theirs = parse_arguments(FLAGS), recorded_spec(finished_run)
    assert (theirs.data, theirs.network, theirs.method) == (ours.data, ours.network, ours.method)
    assert theirs.options == ours.options and theirs.num_threads is None  # decides nothing
    assert theirs.training.max_steps == 2 and theirs.training.use_cpu


@pytest.mark.slow
def test_the_command_writes_report_and_figure_and_shows_a_table(finished_run: Path) -> None:
    script = [sys.executable, str(ROOT / "trainers" / "explain.py"), "--run", str(finished_run)]
    shown = subprocess.run(
        [*script, "--samples", "30", "--layer", "resnet.encoder.stages.1"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert shown.returncode == 0, shown.stderr
    report = json.loads((finished_run / "attribution.json").read_text())
    assert report["layer"] == "resnet.encoder.stages.1"
    assert list(report["environments"]) == ["yellow_on_white", "blue_on_white"]
    for name, entry in report["environments"].items():
        assert name in shown.stdout and f"{entry['digit_area']:.1%}" in shown.stdout
        assert entry["count"] == 30 and 0 < entry["digit_area"] < 0.5
    assert Image.open(finished_run / "attributions.png").width > 1000
    assert str(finished_run / "attribution.json") in shown.stdout


def test_the_end_of_the_features_is_the_default(finished_run: Path) -> None:
    report = explain_run(finished_run, samples=10)
    assert report["layer"] == "resnet.encoder"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--layer", "resnet.encoder.stages.11"], "Did you mean 'resnet.encoder.stages.1'?"),
        (["--samples", "0"], "--samples must be at least 1"),
        (["--run", "nowhere"], "nowhere holds no finished run: there is no arguments.yaml"),
    ],
)
def test_mistakes_are_named(
    flags: list[str], message: str, finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError):
        main(["--run", str(finished_run), *flags])
    assert message in capsys.readouterr().err
