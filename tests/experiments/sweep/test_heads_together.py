"""Heads of a sweep are carried out together, and their results are those of runs of their own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from hf_ood import EnvironmentDataset, LeNetConfig, LeNetForImageClassification
from hf_ood.cli.sweep import main
from hf_ood.experiments import head_results
from hf_ood.experiments.dispatch import Ended, Started, carry_out
from hf_ood.experiments.executors import EXECUTORS
from hf_ood.experiments.head_estimate import estimate_together
from hf_ood.experiments.head_results import FOLDER
from hf_ood.experiments.jobs import jobs_of, why_alone
from hf_ood.experiments.keyed_run import Run, finished, read_run
from hf_ood.experiments.on_ray import carry_out_away, unpack
from hf_ood.models import Penultimate
from hf_ood.runs.feature_store import kept_features
from hf_ood.trainer.linear_probe import compute_features

SETTINGS: dict[str, Any] = {
    "feature_columns": ["size", "weight", "shade"],
    "model": "linear",
    "cache_features": True,
    "per_device_train_batch_size": 30,
    "learning_rate": 0.05,
    "max_steps": 12,
    "eval_strategy": "no",
    "save_strategy": "no",
    "use_cpu": True,
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of three numbers in four environments; the last one says less than the others."""
    random = np.random.default_rng(0)
    labels, places = random.integers(0, 3, 400), random.integers(0, 4, 400)
    numbers = random.normal(size=(400, 3)) + np.eye(3)[labels] * (2 - 0.4 * places)[:, None]
    rows = pd.DataFrame(numbers, columns=SETTINGS["feature_columns"])
    rows = rows.assign(label=[f"kind {n}" for n in labels], environment=np.array(list("abcd"))[places])
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    rows.to_csv(file, index=False)
    return file


def make_run(table: Path, method: str, seed: int = 0, test: str = "d", **changes: Any) -> Run:
    environments = {
        "train_environments": [name for name in "abcd" if name != test],
        "test_environments": [test],
    }
    settings = {**SETTINGS, "dataset": str(table), "method": method, **environments, **changes}
    return Run("sweep", f"{method} without {test}", seed, settings, in_bulk=True)


def carried_out(runs: list[Run], root: Path) -> list[Any]:
    return list(EXECUTORS["in_process"](runs, root))


def alike(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether numbers are nearly the same, and all else is."""
    return all(
        value == (pytest.approx(theirs[name], rel=1e-4) if isinstance(value, float) else theirs[name])
        for name, value in ours.items()
    )


def test_results_are_those_of_runs_of_their_own(table: Path, tmp_path: Path) -> None:
    runs = [
        make_run(table, "erm"),
        make_run(table, "irm", irm={"penalty_weight": "1e1"}, learning_rate=0.01),
        make_run(table, "lisa", weight_decay=0.1),
        make_run(table, "group_dro", seed=1),
    ]
    assert [len(job.runs) for job in jobs_of(runs)] == [3, 1]
    events = carried_out(runs, tmp_path)
    assert [event.together for event in events if isinstance(event, Started)] == [3, 1]
    assert [event.error for event in events if isinstance(event, Ended)] == [None] * 4
    assert not any(run.folder(tmp_path).exists() for run in runs)
    for run in runs[1:3]:
        assert carry_out(replace(run, in_bulk=False), tmp_path / "alone") is None
        ours, alone = read_run(run, tmp_path), read_run(run, tmp_path / "alone")
        assert ours is not None and alone is not None
        assert list(ours["environments"]) == list(alone["environments"])
        for name, entry in ours["environments"].items():
            assert alike(entry, alone["environments"][name]), name
        own = {"environments", "seconds", "cpu_seconds", "history", "together", "rows"}
        assert alike({name: value for name, value in ours.items() if name not in own}, alone)


def test_finished_runs_are_found_and_never_repeated(table: Path, tmp_path: Path) -> None:
    runs = [make_run(table, "erm"), make_run(table, "vrex")]
    carried_out(runs[:1], tmp_path)
    assert [finished(run, tmp_path) for run in runs] == [True, False]
    files = {file.name: file.read_text() for file in (tmp_path / FOLDER).glob("*.jsonl")}
    events = carried_out(runs, tmp_path)
    assert [event.together for event in events if isinstance(event, Started)] == [1]
    assert [finished(run, tmp_path) for run in runs] == [True, True]
    assert (
        files.items() <= {file.name: file.read_text() for file in (tmp_path / FOLDER).glob("*.jsonl")}.items()
    )
    assert runs[0].recorded_key(tmp_path) == runs[0].key
    for name in files:
        (tmp_path / FOLDER / name).unlink()
    assert [finished(run, tmp_path) for run in runs] == [False, True]


def test_heads_come_back_from_another_machine(table: Path, tmp_path: Path) -> None:
    (job,) = jobs_of([make_run(table, "erm"), make_run(table, "sd", learning_rate=1e30)])
    parcel = carry_out_away(job, job.first.key)
    errors = unpack(job, tmp_path, parcel)
    assert errors[0] is None and "infinite or NaN" in str(errors[1])
    assert [finished(run, tmp_path) for run in job.runs] == [True, False]


def test_one_wrong_head_fails_alone(table: Path, tmp_path: Path) -> None:
    runs = [
        make_run(table, "erm"),
        make_run(table, "irm", irm={"penalty": 1}),
        make_run(table, "sd", learning_rate=1e30),
    ]
    assert len(jobs_of(runs)) == 1
    errors = {
        event.run.settings["method"]: event.error
        for event in carried_out(runs, tmp_path)
        if isinstance(event, Ended)
    }
    assert errors["erm"] is None and finished(runs[0], tmp_path)
    assert "irm.penalty" in str(errors["irm"]) and "infinite or NaN" in str(errors["sd"])
    assert not finished(runs[2], tmp_path)


@pytest.mark.parametrize(
    ("method", "changes", "reason"),
    [
        ("sam", {}, "sam makes the steps"),
        ("supcon", {}, "supcon is no function of sums"),
        ("erm", {"cache_features": False}, "no cache_features"),
        ("erm", {"gradient_accumulation_steps": 2}, "gradient_accumulation_steps"),
        ("erm", {"infer_environments": "random"}, "inferred"),
        ("erm", {"hold_out": 0.1}, "part of the rows"),
        ("nothing", {}, "method 'nothing'"),
    ],
)
def test_what_goes_alone_says_why(
    method: str, changes: dict[str, Any], reason: str, table: Path, tmp_path: Path
) -> None:
    run = make_run(table, method, **changes)
    assert reason in str(why_alone(run))
    assert [job.together for job in jobs_of([run, make_run(table, "erm")])] == [True, False]
    assert why_alone(replace(run, in_bulk=False)) == "its folder is wanted"


def test_a_damaged_file_is_named(table: Path, tmp_path: Path) -> None:
    run = make_run(table, "erm")
    carried_out([run], tmp_path)
    (file,) = (tmp_path / FOLDER).glob("*.jsonl")
    text = file.read_text()
    file.write_text(text.replace('"results": {', '"results": {{'))
    head_results._INDICES.clear()  # as in another process
    with pytest.raises(ValueError, match="damaged"):
        read_run(run, tmp_path)
    file.write_text(text[:-9])
    head_results._INDICES.clear()
    with pytest.raises(ValueError, match=file.name):
        finished(run, tmp_path)


def test_features_are_computed_once_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = LeNetForImageClassification(LeNetConfig())
    places = torch.arange(60) % 2
    rows = EnvironmentDataset(torch.rand(60, 3, 28, 28), places, places, ["no", "yes"], ["a", "b"])
    half, asked = rows.select(range(10, 40)), []

    def counted(model: Any, data: EnvironmentDataset, *more: int) -> torch.Tensor:
        asked.append(len(data))
        return compute_features(model, data, *more)

    monkeypatch.setattr("hf_ood.runs.feature_store.compute_features", counted)
    kept = kept_features(model, half, tmp_path)
    torch.testing.assert_close(kept, compute_features(model, half))
    torch.testing.assert_close(kept_features(model, rows, tmp_path), compute_features(model, rows))
    assert torch.equal(kept_features(model, half, tmp_path), kept)
    assert asked == [30, 30]
    torch.nn.init.zeros_(Penultimate(model).classifier.weight)  # the head is no part of what makes features
    kept_features(model, half, tmp_path)
    torch.nn.init.zeros_(next(model.parameters()))
    kept_features(model, half, tmp_path)
    assert asked == [30, 30, 30]


@pytest.mark.slow
def test_a_sweep_trains_heads_together_and_chooses_from_them(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    content = {
        **{key: value for key, value in SETTINGS.items() if key != "learning_rate"},
        "dataset_name": str(table),
    }
    recipe.write_text(yaml.safe_dump(content))
    flags = [
        "--config",
        str(recipe),
        "--methods",
        "erm",
        "irm",
        "--trials",
        "3",
        "--seeds",
        "2",
        "--held_out",
        "d",
    ]
    flags += ["--protocols", "validation", "leave_one_out", "--executor", "in_process"]
    assert main([*flags, "--dry_run", "--runs_dir", str(tmp_path / "runs")]) == 0
    assert "48 heads in 8 jobs: about" in capsys.readouterr().out
    assert main([*flags, "--runs_dir", str(tmp_path / "runs"), "--results_dir", str(tmp_path / "out")]) == 0
    files = list((tmp_path / "runs" / FOLDER).glob("*.jsonl"))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()[1:]]
    assert (
        len(lines) == 2 * 3 * 2 * 4 and len(files) == 2 * 4
    )  # methods, trials, seeds; whole and three folds
    cost = pd.read_csv(tmp_path / "out" / "sweep" / "cost.csv")
    assert cost["runs"].tolist() == [24, 24] and (cost["training seconds"] >= 0).all()
    candidates = pd.read_csv(tmp_path / "out" / "sweep" / "candidates.csv")
    assert candidates["score"].between(0.34, 1).all()


def test_the_time_of_heads_is_told_before_they_are_trained(table: Path, tmp_path: Path) -> None:
    runs = [
        make_run(table, "erm", seed, learning_rate=rate, max_steps=200)
        for seed in (0, 1)
        for rate in (0.1, 0.2)
    ]
    assert 0 < estimate_together(runs, 2) < 60
    assert estimate_together([make_run(table, "sam")]) == 0
