"""`hf-ood soup` over real runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from hf_ood.cli.compare import main as compare
from hf_ood.cli.evaluate import main as evaluate
from hf_ood.cli.soup import main as soup
from hf_ood.cli.train import main as train
from hf_ood.evaluation.metrics import mean_accuracy
from hf_ood.manifest import is_whole
from hf_ood.runs.soup import SoupSpec
from hf_ood.runs.soup import soup as make_soup

SHORT = (
    "--max_steps 3 --eval_strategy no --save_strategy no --num_threads 1 --use_cpu true --quiet true "
    "--report_to none"
)
VECTORS = (
    "--dataset_name linear_unit_tests --dataset_config example_2 --linear_unit_tests.samples 100 "
    f"--model linear --linear.num_features 10 --per_device_train_batch_size 300 {SHORT}"
).split()
IMAGES = (
    "--environment_column hospital --test_environments C --model resnet --resnet.hidden_sizes 8 8 16 16 "
    f"--resnet.embedding_size 8 --per_device_train_batch_size 12 {SHORT}"
).split()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of one start, one of another seed, one on other rows."""
    folder = tmp_path_factory.mktemp("soups") / "runs"
    for name, flags in {
        "slow": "--learning_rate 0.001",
        "fast": "--learning_rate 0.1 --method erm+ema",
        "wrong": "--learning_rate 0.5 --method irm --irm.penalty_weight 3",
        "other_start": "--seed 1 --data_seed 42",
        "other_rows": "--linear_unit_tests.samples 110",
    }.items():
        train([*VECTORS, *flags.split(), "--output_dir", str(folder / name)])
    return folder


def write_scans(folder: Path) -> str:
    """A table of 60 images of three hospitals."""
    random, rows = np.random.default_rng(0), []
    for number in range(60):
        pixels = (random.integers(0, 100, (16, 16, 3)) + 100 * (number % 2)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append({"image": f"{number}.png", "label": number % 2, "hospital": "ABC"[number % 3]})
    pd.DataFrame(rows).to_csv(folder / "scans.csv", index=False)
    return str(folder / "scans.csv")


def results_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def test_a_uniform_soup_is_a_run_with_the_mean_of_the_weights(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names, folder = ["slow", "fast", "wrong"], tmp_path / "soup"
    (found,) = soup([*(str(runs / name) for name in names), "--output_dir", str(folder)])
    parts = [load_file(runs / name / "model.safetensors") for name in names]
    for name, value in load_file(folder / "model.safetensors").items():
        expected = torch.stack([part[name].double() for part in parts]).mean(0).float()
        assert torch.equal(value, expected)
    results = results_of(folder)
    assert {**results, "command": ""} == json.loads(json.dumps({**found, "command": ""}))
    assert is_whole(folder) and results["command"] == "hf-ood soup slow fast wrong"
    assert results["method"] == "erm, ema, irm"
    assert results["selection"] == ("mean of the weights of 3 runs (uniform soup); of each run: last step")
    assert results["hyperparameters"]["soup"] == {"protocol": "uniform", "runs": 3, "used": 3}
    assert "learning_rate" not in results["hyperparameters"]["training"]
    assert [entry["run"] for entry in results["soup"]] == names and results["steps"] == 9
    shown = capsys.readouterr().out
    assert "runs of the soup" in shown and "fast*" in shown
    comparison = compare([str(runs / "slow"), str(folder), "--output_dir", str(tmp_path / "pages")])
    assert len(comparison.rows) == 2


def test_a_greedy_soup_never_falls_below_its_best_run_on_validation(runs: Path, tmp_path: Path) -> None:
    results = make_soup(
        [runs / name for name in ("slow", "fast", "wrong")],
        SoupSpec("greedy"),
        tmp_path / "soup",
        quiet=True,
    )
    validation = {n: e for n, e in results["environments"].items() if e["split"] == "validation"}
    best = max(entry["validation_mean_accuracy"] for entry in results["soup"])
    used = [entry["run"] for entry in results["soup"] if entry["used"]]
    assert mean_accuracy(validation) >= best
    assert len(used) == results["hyperparameters"]["soup"]["used"]
    assert f"of {len(used)} of 3 runs" in results["selection"] and "greedy soup" in results["selection"]


def test_a_sweeps_runs_are_averaged_by_what_they_share(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = soup(["--sweep", str(runs), "--output_dir", str(tmp_path)])
    assert [len(results["soup"]) for results in made] == [3]
    assert "all of a sweep from one initialisation (DiWA)" in made[0]["selection"]
    told = capsys.readouterr().out
    assert "other_start has its starting weights and rows to itself" in told
    assert made[0].folder.parent == tmp_path
    again = soup(["--sweep", str(runs), "--output_dir", str(tmp_path), "--quiet"])
    assert again[0]["environments"] == made[0]["environments"]


def test_statistics_of_batch_normalisation_are_measured_again(tmp_path: Path) -> None:
    scans = write_scans(tmp_path)
    for rate in ("0.001", "0.1"):
        train(["--dataset", scans, *IMAGES, "--learning_rate", rate, "--output_dir", str(tmp_path / rate)])
    results = make_soup([tmp_path / "0.001", tmp_path / "0.1"], output_dir=tmp_path / "soup", quiet=True)
    weights = load_file(tmp_path / "soup" / "model.safetensors")
    parts = [load_file(tmp_path / rate / "model.safetensors") for rate in ("0.001", "0.1")]
    statistics = [name for name in weights if name.endswith("running_var")]
    assert statistics
    for name, value in weights.items():
        mean = (parts[0][name].double() + parts[1][name].double()) / 2
        if name in statistics:
            assert not torch.allclose(value.double(), mean)
        elif name.endswith("weight"):
            assert torch.equal(value, mean.float())
    card = (tmp_path / "soup" / "README.md").read_text()
    assert "**The weights are the average of those of 2 runs**" in card and "curves.png" not in card
    assert "| 0.001 | erm |" in card and results["selection"] in card
    place = str(tmp_path / "seen")
    seen = evaluate(["--run", str(tmp_path / "soup"), "--output_dir", place])
    assert seen["mean_accuracy"] == pytest.approx(results["mean_accuracy"], abs=1e-6)


def test_adapters_are_averaged_as_the_weights_that_they_were_merged_into(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    flags = [flag for flag in VECTORS if flag not in ("linear", "--linear.num_features", "10", "--model")]
    flags += "--model mlp --mlp.num_features 10 --lora.rank 2".split()
    for rate in ("0.001", "0.1"):
        train([*flags, "--learning_rate", rate, "--output_dir", str(tmp_path / rate)])
    results = make_soup([tmp_path / "0.001", tmp_path / "0.1"], output_dir=tmp_path / "soup", quiet=True)
    assert results["hyperparameters"]["lora"]["rank"] == 2
    parts = [load_file(tmp_path / rate / "model.safetensors") for rate in ("0.001", "0.1")]
    for name, value in load_file(tmp_path / "soup" / "model.safetensors").items():
        torch.testing.assert_close(value, (parts[0][name] + parts[1][name]) / 2)


def test_runs_that_do_not_go_together_are_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old"
    shutil.copytree(runs / "slow", old)
    results = {name: value for name, value in results_of(old).items() if name != "starting_weights"}
    (old / "results.json").write_text(json.dumps(results))
    (old / "manifest.json").unlink()
    (old / "origin.json").unlink()
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    slow, fast = str(runs / "slow"), str(runs / "fast")
    for flags, told in (
        ([slow, str(runs / "other_start")], "have not the same starting weights:"),
        ([slow, str(runs / "other_rows")], "have not the same rows, or their division"),
        ([slow], "at least two runs"),
        ([slow, str(old)], "does not say what it started from (starting_weights)"),
        ([], "Name either the runs, or the folder"),
        ([slow, "--sweep", str(runs)], "Name either the runs, or the folder"),
        ([slow, fast, "--output_dir", str(full)], "holds no soup of these runs"),
        ([slow, fast, "--batch_norm_samples", "1"], "at least 2"),
        (["--sweep", str(old)], "no two finished runs"),
    ):
        with pytest.raises(SystemExit):
            soup(flags)
        assert told in capsys.readouterr().err
