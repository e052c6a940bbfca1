"""The recipes in stages, each to its end on a few hundred images; one killed, one on two processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_source import save_small_source

from hf_ood.cli.train import main
from hf_ood.evaluation import load_results

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STEPS = {
    "erm_warmup": "6",
    "eiil": "6",
    "dfr": "6",
    "dfr_l1": "6",
    "jtt": "6",
    "spare": "6",
    "lp_ft": "2",
    "erm_plus_plus": "2",
}
Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_small_source(tmp_path_factory.mktemp("source"))


def flags(name: str, source: str, folder: Path, *more: str) -> list[str]:
    small = f"--per_device_train_batch_size 40 --max_steps {STEPS[name]} --num_threads 1 --use_cpu true"
    quiet = "--disable_tqdm true --report_to none"
    known = {
        # Not Adam: it makes rounding in a gradient near 0 a whole step.
        "eiil": ["--eiil.steps", "50", "--optim", "sgd", "--learning_rate", "0.05"],
        "dfr": ["--eiil.steps", "50"],
        "dfr_l1": ["--eiil.steps", "50"],
    }.get(name, [])
    size = [
        "--max_train_samples",
        "200" if name in ("lp_ft", "erm_plus_plus") else "140" if name.startswith("dfr") else "400",
    ]
    return [
        *("--config", str(ROOT / "hf_ood" / "recipes" / f"{name}.yaml"), "--output_dir", str(folder)),
        *("--colored_mnist.source", source),
        *small.split(),
        *quiet.split(),
        *size,
        *known,
        *more,
    ]


@pytest.fixture(scope="module")
def runs(source: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Any]]]:
    place = tmp_path_factory.mktemp("recipes")
    return {name: (place / name, main(flags(name, source, place / name))) for name in STEPS}


def weights(folder: Path) -> list[Weights]:
    """Those of each stage, in order."""
    places = sorted(path for path in folder.iterdir() if path.is_dir())
    return [load_file(place / "model.safetensors") for place in places]


def moved(before: Weights, after: Weights) -> set[str]:
    return {name for name, weight in before.items() if not torch.equal(weight, after[name])}


def test_every_recipe_ends_with_all_its_stages(runs: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    names = {name: [stage["name"] for stage in results["stages"]] for name, (_, results) in runs.items()}
    assert names == {
        "erm_warmup": ["warmup", "penalty"],
        "eiil": ["reference", "invariant"],
        "dfr": ["erm", "last_layer"],
        "dfr_l1": ["erm", "last_layer"],
        "jtt": ["identify", "train"],
        "spare": ["early", "train"],
        "lp_ft": ["pretrain", "probe", "finetune"],
        "erm_plus_plus": ["pretrain", "warm_start", "train", "again"],
    }
    for name, (folder, results) in runs.items():
        trained = [stage for stage in results["stages"] if "last_layer" not in stage]
        assert results["steps"] == int(STEPS[name]) * len(trained)
        assert (folder / "README.md").exists() and (folder / "results.json").exists()


def test_the_penalty_goes_on_where_the_warm_up_ended(runs: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    folder, results = runs["erm_warmup"]
    warmed, final = weights(folder)
    assert [stage["method"] for stage in results["stages"]] == ["erm", "irm"]
    assert 0 < max((final[name] - weight).abs().max() for name, weight in warmed.items()) < 0.05


def test_dfr_trains_the_last_layer_alone(runs: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    folder, results = runs["dfr"]
    assert moved(*weights(folder)) == {"classifier.weight", "classifier.bias"}
    assert results["stages"][1]["inferred"]["method"] == "eiil"
    recorded = results["hyperparameters"]["data"]
    assert (recorded["train_on"], recorded["environment_proportions"]) == ("held_out", "groups")


def test_dfr_with_l1_fits_the_last_layer(runs: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    folder, results = runs["dfr_l1"]
    assert moved(*weights(folder)) == {"classifier.weight", "classifier.bias"}
    _, fitted = results["stages"]
    assert fitted["inferred"]["method"] == "eiil" and fitted["last_layer"]["method"] == "l1_logistic"


def test_probing_moves_the_last_layer_and_fine_tuning_everything(
    runs: dict[str, tuple[Path, dict[str, Any]]],
) -> None:
    pretrained, probed, tuned = weights(runs["lp_ft"][0])
    assert moved(pretrained, probed) == {"head.5.weight", "head.5.bias"}
    assert moved(probed, tuned) == set(probed)


def test_a_warm_start_moves_the_last_layer_and_the_end_is_an_average(
    runs: dict[str, tuple[Path, dict[str, Any]]],
) -> None:
    folder, results = runs["erm_plus_plus"]
    pretrained, warm, *_ = weights(folder)
    assert moved(pretrained, warm) == {"head.5.weight", "head.5.bias"}
    _, _, train, again = results["stages"]
    assert train["selection"] == again["selection"] == "mean of weights (swa)"
    assert again["steps"] == train["steps"]
    assert {entry["split"] for entry in again["environments"].values()} == {"test"}


def test_jtt_counts_the_errors_of_its_first_stage(runs: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    folder, results = runs["jtt"]
    identify, train = results["stages"]
    errors = train["upweighted"]["errors"]
    assert errors / train["upweighted"]["of"] == pytest.approx(1 - identify["train_accuracy"])
    assert "upweighted" not in identify
    assert f"{errors} of 400 training samples counted 20 times" in (folder / "README.md").read_text()


def test_eiil_records_what_it_inferred(runs: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    folder, results = runs["eiil"]
    inferred = results["stages"][1]["inferred"]
    assert inferred["inferred_0"]["count"] + inferred["inferred_1"]["count"] == 400
    assert inferred["inferred_0"]["reference_accuracy"] > inferred["inferred_1"]["reference_accuracy"]
    assert results["hyperparameters"]["eiil"] == {"steps": 50, "learning_rate": 0.001}
    card = (folder / "README.md").read_text()
    assert "were inferred** by eiil" in card and "| inferred_1 |" in card
    assert "Environment Inference for Invariant Learning" in card


@pytest.mark.nightly
def test_a_run_killed_in_the_stage_that_infers_resumes_to_the_same_weights(
    runs: dict[str, tuple[Path, dict[str, Any]]], source: str, tmp_path: Path
) -> None:
    given = flags("eiil", source, tmp_path / "run", "--save_steps", "2", "--save_total_limit", "9")
    train = str(ROOT / "trainers" / "train.py")
    process = subprocess.Popen(
        [sys.executable, train, *given], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "2-invariant" / "checkpoint-2").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "run" / "results.json").exists()
    results = main([*given, "--resume_from_checkpoint", "true"])
    folder, expected = runs["eiil"]
    assert not moved(
        load_file(folder / "model.safetensors"), load_file(tmp_path / "run" / "model.safetensors")
    )
    assert results["stages"][1]["inferred"] == expected["stages"][1]["inferred"]


@pytest.mark.nightly
def test_two_processes_infer_and_train_as_one_does(
    runs: dict[str, tuple[Path, dict[str, Any]]], source: str, tmp_path: Path
) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    half = ["--per_device_train_batch_size", "20", "--ddp_backend", "gloo"]
    given = flags("eiil", source, tmp_path / "run", *half)
    train = str(ROOT / "trainers" / "train.py")
    done = subprocess.run([*launcher, train, *given], capture_output=True, text=True, cwd=ROOT, timeout=180)
    assert done.returncode == 0, done.stderr
    folder, results = runs["eiil"]
    alone, together = (load_file(place / "model.safetensors") for place in (folder, tmp_path / "run"))
    for name, weight in alone.items():
        torch.testing.assert_close(together[name], weight, rtol=1e-3, atol=1e-5)
    found = load_results(tmp_path / "run")["stages"][1]["inferred"]
    assert found == results["stages"][1]["inferred"]
