"""How long a study will take."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from small_study import command

from hf_ood.cli.reproduce import main
from hf_ood.experiments.dispatch import carry_out
from hf_ood.experiments.study import Run, load_study
from hf_ood.experiments.time_estimate import estimate, kind, makespan


@pytest.mark.slow
def test_the_estimate_is_of_the_order_of_the_run(whole: Path, tmp_path: Path) -> None:
    run = load_study(whole / "recipes" / "small.yaml").runs("quick")[1]
    found = estimate(run)
    start = time.perf_counter()
    assert carry_out(run, tmp_path) is None
    seconds = time.perf_counter() - start
    assert seconds / 4 < found < seconds * 4


def test_a_method_that_needs_evaluations_is_timed_without_them() -> None:
    settings = {"method": "swad", "dataset_config": "fixed_colors", "max_train_samples": 600}
    assert estimate(Run("study", "a", 0, {**settings, "num_train_epochs": 1})) > 0


def test_runs_that_differ_in_a_rate_are_timed_once() -> None:
    settings = {"irm": {"penalty_weight": 0.5, "warmup_steps": 3}, "num_train_epochs": 1.0}
    run = Run("study", "a", 0, {**settings, "learning_rate": 0.1})
    assert kind(run) == kind(Run("other", "b", 1, {**settings, "learning_rate": 0.2}))
    assert kind(run) != kind(Run("study", "a", 0, {**settings, "num_train_epochs": 2.0}))
    assert kind(run) != kind(Run("study", "a", 0, {**settings, "method": "irm"}))


def test_workers_share_the_runs() -> None:
    assert makespan([3.0, 1.0, 1.0, 1.0], 2) == 3.0
    assert makespan([1.0, 1.0, 1.0], 2) == 2.0
    assert makespan([1.0, 2.0], 5) == 2.0


@pytest.mark.slow
def test_a_dry_run_says_how_long(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = command(whole, "elsewhere", "nowhere", "--dry_run", "--only", "ERM", "--workers", "2")
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "0 of 2 runs are finished" in shown and "small: ERM, seeds 0, 1: about" in shown
    assert "on 2 workers" in shown and "0.01" not in shown
    assert not (whole / "elsewhere").exists()
