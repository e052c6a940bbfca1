"""A stage that fits its last layer: what it leaves is what the fit gives, in an ordinary checkpoint."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import save_text_model

from hf_ood.cli.evaluate import main as evaluate
from hf_ood.cli.train import main
from hf_ood.errors import UsageError
from hf_ood.methods.last_layer import L1Logistic
from hf_ood.runs.data import load_splits
from hf_ood.runs.results import Results
from hf_ood.runs.run import build_network
from hf_ood.runs.spec import RunSpec
from hf_ood.runs.stage_data import training_datasets
from hf_ood.trainer.linear_probe import compute_features

TRAIN = Path(__file__).parents[2] / "trainers" / "train.py"
STAGES: list[dict[str, Any]] = [
    {"name": "body", "max_steps": 3},
    {
        "name": "head",
        "train_on": "held_out",
        "fit_last_layer": "l1_logistic",
        "l1_logistic": {"subsets": 3, "inverse_strengths": [1.0, 0.1]},
    },
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Reports of three hospitals; in A and B a full stop tells most of them, in C nothing."""
    folder = tmp_path_factory.mktemp("sources")
    save_text_model(folder / "reader")
    random, lines = np.random.default_rng(0), ["text,label,hospital"]
    for row in range(240):
        good, hospital = row % 2, "ABC"[row % 3]
        word = "good" if good ^ (random.random() < 0.1) else "bad"
        stops = good ^ (random.random() < (0.5 if hospital == "C" else 0.2))
        lines.append(f"{word} lung{' .' if stops else ' !'},{good},{hospital}")
    (folder / "reports.csv").write_text("\n".join(lines))
    return {
        "model": str(folder / "reader"),
        "dataset": str(folder / "reports.csv"),
        "text_column": "text",
        "environment_column": "hospital",
        "test_environments": ["C"],
        "hold_out": 0.5,
        "per_device_train_batch_size": 12,
        "eval_strategy": "no",
        "save_strategy": "no",
        "use_cpu": True,
        "num_threads": 1,
        "disable_tqdm": True,
        "report_to": "none",
    }


def train(settings: dict[str, Any], folder: Path, flags: str = "") -> dict[str, Any]:
    recipe = folder.parent / "recipe.yaml"
    recipe.write_text(json.dumps(settings))
    results = main(["--config", str(recipe), "--output_dir", str(folder), *shlex.split(flags)])
    assert isinstance(results, Results)
    return results


def test_the_layer_is_the_fit_on_the_features_of_the_stage_before(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    results = train({**settings, "stages": STAGES}, tmp_path / "run")
    body, head = (load_file(tmp_path / "run" / name / "model.safetensors") for name in ("1-body", "2-head"))
    assert {name for name in body if not torch.equal(body[name], head[name])} == {
        "classifier.weight",
        "classifier.bias",
    }

    spec = RunSpec.from_settings({**settings, "stages": STAGES}).stages["head"]
    data = training_datasets(spec, load_splits(spec))
    model = build_network(spec, data, previous=tmp_path / "run" / "1-body")
    rows = data["train"]
    layer = L1Logistic(**STAGES[1]["l1_logistic"]).fit(
        compute_features(model, rows), rows.labels, rows.groups, 2, spec.training.seed
    )
    torch.testing.assert_close(head["classifier.weight"], layer.weight.float())
    torch.testing.assert_close(head["classifier.bias"], layer.bias.float())

    told = results["stages"][1]["last_layer"]
    assert told == results["last_layer"] == {
        "method": "l1_logistic",
        "inverse_strength": layer.inverse_strength,
        "worst_group": layer.worst_group,
        "subset_samples": layer.rows,
        "used_features": layer.features,
        "features": 16,
    }  # fmt: skip
    assert "last_layer" not in results["stages"][0]
    assert [stage["steps"] for stage in results["stages"]] == [3, 0] and results["steps"] == 3
    assert results["hyperparameters"]["l1_logistic"] == STAGES[1]["l1_logistic"]
    card = (tmp_path / "run" / "README.md").read_text()
    assert "fitted** by l1_logistic" in card and L1Logistic.equation in card and L1Logistic.citation in card
    data_flags = f"--dataset {settings['dataset']} --split train --text_column text"
    again = evaluate(
        shlex.split(
            f"--model {tmp_path}/run {data_flags} --environment_column hospital "
            f"--output_dir {tmp_path}/evaluated"
        )
    )
    own, loaded = (told["environments"]["C"] for told in (results, again))
    assert (loaded["count"], loaded["accuracy"]) == (own["count"], own["accuracy"])
    assert loaded["loss"] == pytest.approx(own["loss"], rel=1e-5)

    for file in ("results.json", "model.safetensors"):  # as if killed while it was fitted
        (tmp_path / "run" / "2-head" / file).unlink()
    resumed = train({**settings, "stages": STAGES}, tmp_path / "run", "--resume_from_checkpoint true")
    assert resumed["environments"] == results["environments"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"method": "irm"}, "--method irm has no part in --fit_last_layer l1_logistic"),
        ({"loss": "focal"}, "--loss focal with its options has no part"),
        ({"trainable": ["classifier.*"]}, "--trainable has no part"),
        ({"cache_features": True}, "--cache_features has no part"),
        ({"upweight_errors": 5}, "--upweight_errors 5 has no part"),
        ({"interpolate_with_start": [0.5]}, "--interpolate_with_start has no part"),
        ({"lora": {"rank": 2}}, "--lora has no part"),
        ({"fit_last_layer": "l1_logistics"}, "l1_logistics"),
        ({"max_steps": 5}, "fits its last layer, which takes no steps: leave max_steps out of it"),
        ({"l1_logistic": {"subsets": 0}}, "subsets must be at least 1"),
    ],
)
def test_what_has_no_part_in_the_fit_is_refused_before_anything_is_trained(
    settings: dict[str, Any],
    changed: dict[str, Any],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UsageError):
        train({**settings, "stages": [STAGES[0], {**STAGES[1], **changed}]}, tmp_path / "run")
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_features_of_random_weights_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError):
        train({"fit_last_layer": "l1_logistic", "use_cpu": True}, tmp_path / "run")
    assert "needs trained features" in capsys.readouterr().err


@pytest.mark.nightly
def test_two_processes_fit_what_one_does(settings: dict[str, Any], tmp_path: Path) -> None:
    body = {**STAGES[0], "optim": "sgd", "learning_rate": 0.5}
    results = train({**settings, "stages": [body, STAGES[1]]}, tmp_path / "one")
    recipe = tmp_path / "halves.yaml"
    halves = {"per_device_train_batch_size": 6, "ddp_backend": "gloo"}
    recipe.write_text(json.dumps({**settings, **halves, "stages": [body, STAGES[1]]}))
    launcher = f"{sys.executable} -m torch.distributed.run --standalone --nproc_per_node 2"
    done = subprocess.run(
        shlex.split(f"{launcher} {TRAIN} --config {recipe} --output_dir {tmp_path}/two"),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, weights in ours.items():
        torch.testing.assert_close(theirs[name], weights, rtol=1e-3, atol=1e-4)
    told = json.loads((tmp_path / "two" / "results.json").read_text())
    assert told["last_layer"] == results["last_layer"]
