"""Vectors through the main command: a regression, and a run that leaves nothing of images behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_ood.cli.train import main
from hf_ood.errors import UsageError
from hf_ood.experiments.keyed_run import Run

FLAGS = (
    "--dataset_name linear_unit_tests --linear_unit_tests.samples 100 --model linear "
    "--linear.num_features 10 --per_device_train_batch_size 300 --max_steps 4 --eval_strategy no "
    "--save_strategy no --num_threads 1 --use_cpu true --disable_tqdm true --report_to none"
).split()


def test_a_regression_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    options = "--dataset_config example_1 --method ib_irm --ib_irm.warmup_steps 0".split()
    results = main([*FLAGS, *options, "--output_dir", str(folder)])
    assert results["mean_squared_error"] > 0 and results["hyperparameters"]["data"]["samples"] == 100
    assert {entry["split"] for entry in results["environments"].values()} == {"validation", "test"}
    assert "RMSE" in capsys.readouterr().out
    kept = {path.name for path in folder.iterdir()}
    assert {"results.json", "model.safetensors", "config.json"} <= kept
    assert not kept & {"README.md", "curves.png", "preprocessor_config.json"}


def test_a_regression_may_be_evaluated_on_the_way(tmp_path: Path) -> None:
    when = (
        "--eval_strategy steps --save_strategy steps --eval_steps 2 --save_steps 2 --logging_steps 2".split()
    )
    flags = [*FLAGS, "--dataset_config", "example_1", *when, "--learning_rate", "0.1"]
    results = main([*flags, "--output_dir", str(tmp_path / "run")])
    assert [record["step"] for record in results["history"]] == [2, 4]
    assert all("train_loss" in record for record in results["history"])
    assert results["selection"] == "best validation mean squared error over evaluations"


def test_the_seed_of_a_studys_run_is_its_datas_too(tmp_path: Path) -> None:
    settings = {"dataset_name": "linear_unit_tests", "linear_unit_tests": {"samples": 100}}
    assert Run("s", "a", 3, settings).recipe(tmp_path)["linear_unit_tests"] == {"seed": 3, "samples": 100}
    assert Run("s", "a", 3, {}).recipe(tmp_path)["colored_mnist"] == {"seed": 3}


def test_an_unknown_example_names_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*FLAGS, "--dataset_config", "exmaple_2", "--output_dir", str(tmp_path / "run")])
    assert "Did you mean 'example_2'" in capsys.readouterr().err


def test_a_regression_goes_on_in_inferred_environments_and_ends_on_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*FLAGS, "--dataset_config", "example_1"]
    main([*flags, "--output_dir", str(tmp_path / "reference")])
    flags += ["--start_from", str(tmp_path / "reference")]
    eiil = "--infer_environments eiil --eiil.steps 0 --per_device_train_batch_size 60".split()
    line = "--interpolate_with_start 0 0.5 1".split()
    results = main([*flags, *eiil, *line, "--output_dir", str(tmp_path / "run")])
    assert "validation mean squared error" in capsys.readouterr().out
    (chosen,) = (point for point in results["interpolation"] if point["chosen"])
    assert results["mean_squared_error"] == pytest.approx(chosen["mean_squared_error"])
    inferred = results["inferred"]
    entries = [inferred["inferred_0"], inferred["inferred_1"]]
    assert sum(sum(entry["environments"].values()) for entry in entries) == 300
    assert all(set(entry) == {"count", "environments"} for entry in entries)
    with pytest.raises(UsageError):
        main([*flags, "--upweight_errors", "3", "--output_dir", str(tmp_path / "other")])
    assert "a regression has no classes" in capsys.readouterr().err
