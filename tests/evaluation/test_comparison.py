"""Finished runs as rows, their differences, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from hf_ood.evaluation.comparison import compare
from hf_ood.evaluation.comparison_rows import row_names
from hf_ood.evaluation.finished_runs import find_runs
from hf_ood.evaluation.verdicts import interval

TESTED = {"rome": 0.6, "oslo": 0.8}


def write_run(
    root: Path,
    method: str,
    seed: int,
    test: Mapping[str, float],
    arguments: Mapping[str, Any] | None = None,
    name: str = "",
    **changes: Any,
) -> Path:
    """A run's folder with what `hf-ood train` records."""
    folder = root / (name or f"{method}-{seed}")
    folder.mkdir(parents=True)
    environments = {"paris": {"accuracy": 0.9, "loss": 0.2, "count": 100, "split": "validation"}}
    for environment, accuracy in test.items():
        entry = {"accuracy": accuracy, "loss": 1 - accuracy, "count": 50, "split": "test"}
        environments[environment] = entry | {"predicted_share": [0.5, 0.5]}
    results = {
        "method": method,
        "dataset": "scans",
        "config": "default",
        "seed": seed,
        "selection": "the last step",
        "environments": environments,
        "hyperparameters": {
            **{part: {"l2": 0.0} for part in method.split("+")},
            "model": {"name": "mlp"},
            "data": {"augmentation": "none", "seed": seed},
            "training": {"learning_rate": 0.001, "epochs": 2.0, "training_images": 600},
        },
        "seconds": 10.0 + seed,
        "cpu_seconds": 20.0,
        **changes,
    }
    (folder / "results.json").write_text(json.dumps(results))
    if arguments is not None:
        (folder / "arguments.yaml").write_text(yaml.safe_dump(dict(arguments)))
    return folder


def seeds_of(root: Path, method: str, rome: tuple[float, ...]) -> None:
    for seed, accuracy in enumerate(rome):
        write_run(root, method, seed, {"rome": accuracy, "oslo": 0.8})


def test_seeds_make_a_row_and_differences_are_paired_by_seed(tmp_path: Path) -> None:
    seeds_of(tmp_path, "erm", (0.50, 0.60, 0.70))
    seeds_of(tmp_path, "irm", (0.60, 0.71, 0.79))
    comparison = compare([tmp_path / "erm-*", str(tmp_path / "irm-*")])
    assert list(comparison.rows) == ["erm", "irm"] and comparison.held_out == ["rome", "oslo"]
    found = comparison.intervals.set_index(["row", "split", "environment"])
    assert found.loc[("erm", "test", "rome"), "mean"] == pytest.approx(60)
    assert found.loc[("irm", "summary", "mean"), "mean"] == pytest.approx((70 + 80) / 2)
    assert found.loc[("irm", "summary", "worst"), "mean"] == pytest.approx(70)
    assert found.loc[("irm", "summary", "in domain"), "mean"] == pytest.approx(90)
    worst, mean = comparison.differences.sort_values("of", ascending=False).itertuples()
    expected = interval([10, 11, 9])
    assert worst.of == "worst" and worst.difference == pytest.approx(expected.mean)
    assert worst.half_width == pytest.approx(expected.half_width)
    assert mean.difference == pytest.approx(5)
    assert {worst.verdict, mean.verdict} == {"better"} and worst.p_holm >= worst.p_value
    cost = comparison.cost.set_index("row")
    assert cost.loc["erm", "seconds"] == 11 and cost.loc["erm", "cpu_seconds"] == 20
    assert cost.loc["erm", "runs"] == 3


def test_the_other_verdicts_and_another_first_row(tmp_path: Path) -> None:
    seeds_of(tmp_path, "erm", (0.50, 0.60, 0.70))
    seeds_of(tmp_path, "irm", (0.60, 0.71, 0.79))
    seeds_of(tmp_path, "sd", (0.502, 0.599, 0.70))
    seeds_of(tmp_path, "vrex", (0.70, 0.55, 0.75))
    against = compare([tmp_path], first="irm")
    assert against.first == "irm"
    table = against.differences.set_index(["row", "of"])
    assert table.loc[("erm", "mean"), "verdict"] == "worse"
    table = compare([tmp_path]).differences.set_index(["row", "of"])
    assert table.loc[("sd", "worst"), "verdict"] == "no difference"
    assert table.loc[("vrex", "worst"), "verdict"] == "inconclusive"
    assert table.loc[("vrex", "worst"), "seeds_needed"] > 3
    with pytest.raises(ValueError, match="Did you mean 'irm'"):
        compare([tmp_path], first="irn")


def test_less_loss_is_better_and_has_no_margin_of_its_own(tmp_path: Path) -> None:
    seeds_of(tmp_path, "erm", (0.50, 0.60, 0.70))
    seeds_of(tmp_path, "irm", (0.60, 0.71, 0.79))
    comparison = compare([tmp_path], measure="loss")
    assert comparison.margin is None and not comparison.in_percent
    mean = comparison.differences.set_index("of").loc["mean"]
    assert mean["verdict"] == "better" and mean["difference"] == pytest.approx(-0.05)
    with pytest.raises(ValueError, match=r"Unknown measure 'los'\. Did you mean 'loss'"):
        compare([tmp_path], measure="los")


def test_one_seed_decides_nothing_but_is_shown(tmp_path: Path) -> None:
    write_run(tmp_path, "erm", 0, TESTED)
    write_run(tmp_path, "irm", 0, {"rome": 0.9, "oslo": 0.9})
    comparison = compare([tmp_path])
    assert not comparison.decides
    first = comparison.differences.iloc[0]
    assert (
        first["verdict"] is None and first["difference"] == pytest.approx(20) and math.isnan(first["p_holm"])
    )


def test_rows_without_a_common_seed_have_no_difference(tmp_path: Path) -> None:
    write_run(tmp_path, "erm", 0, TESTED)
    write_run(tmp_path, "irm", 1, TESTED)
    assert compare([tmp_path]).differences["n"].tolist() == [0, 0]


def test_rows_are_called_by_what_differs(tmp_path: Path) -> None:
    erm = {"method": "erm", "erm.l2": 0.0, "learning_rate": 0.001}
    irm = {"method": "irm", "irm.l2": 0.0, "irm.penalty_weight": 1.0, "learning_rate": 0.001}
    assert row_names([erm, irm]) == ["erm", "irm"]
    slow = {**irm, "learning_rate": 0.0001}
    assert row_names([irm, slow]) == ["irm, learning_rate 0.001", "irm, learning_rate 0.0001"]
    heavy = {**irm, "irm.penalty_weight": 10.0}
    assert row_names([erm, irm, heavy]) == [
        "erm",
        "irm, irm.penalty_weight 1.0",
        "irm, irm.penalty_weight 10.0",
    ]
    adapted = {**erm, "lora.rank": 8, "trainable": ["head.*", "norm.*"]}
    assert row_names([erm, adapted]) == ["erm", "erm, lora, trainable head.* norm.*"]
    assert row_names([erm, {**erm, "1-a.x": 1}]) == ["erm (1)", "erm (2)"]


def test_settings_that_only_the_arguments_note_tell_rows_apart(tmp_path: Path) -> None:
    noted = {"learning_rate": 0.001, "seed": 0, "method": "erm", "erm": {"l2": 0.0}}
    write_run(tmp_path, "erm", 0, TESTED, noted, "plain")
    write_run(tmp_path, "erm", 1, TESTED, {**noted, "seed": 1}, "plain, another seed")
    write_run(tmp_path, "erm", 0, TESTED, {**noted, "weight_decay": 0.1}, "decayed")
    rows = compare([tmp_path]).rows
    assert {name: len(row) for name, row in rows.items()} == {"erm, weight_decay 0.1": 1, "erm": 2}


def test_stages_are_told_by_their_methods_and_are_no_runs_of_their_own(tmp_path: Path) -> None:
    stages = [{"name": "a", "method": "erm"}, {"name": "b", "method": "irm"}]
    folder = write_run(tmp_path, "irm", 0, TESTED, stages=stages)
    write_run(folder, "erm", 0, TESTED, name="a")
    (run,), _ = find_runs([tmp_path])
    assert run.settings["method"] == "erm, then irm"


def test_a_run_given_twice_counts_once_and_an_unfinished_one_is_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "erm", 0, TESTED)
    (tmp_path / "stopped").mkdir()
    (tmp_path / "stopped" / "arguments.yaml").write_text("{}")
    comparison = compare([tmp_path, folder])
    assert len(comparison.rows["erm"]) == 1
    assert [folder.name for folder in comparison.unfinished] == ["stopped"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dataset": "photos"}, "dataset: scans / photos"),
        ({"config": "small"}, "config: default / small"),
        (
            {"environments": {"rome": {"accuracy": 0.5, "count": 50, "split": "test"}}},
            "test environments: oslo",
        ),
        ({"hyperparameters": {"data": {"label_column": "ill"}}}, "label_column: None / ill"),
    ],
)
def test_runs_on_different_data_are_refused_with_what_differs(
    change: dict[str, Any], told: str, tmp_path: Path
) -> None:
    write_run(tmp_path, "erm", 0, TESTED)
    write_run(tmp_path, "irm", 0, TESTED, **change)
    with pytest.raises(ValueError, match=f"tested on different data.*{told}"):
        compare([tmp_path])


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, "erm", 0, TESTED)
    write_run(tmp_path, "erm", 0, TESTED, name="again")
    with pytest.raises(ValueError, match="the same run twice: the same settings and seed 0"):
        compare([tmp_path])
    with pytest.raises(ValueError, match="holds no run of hf-ood train"):
        compare([tmp_path / "nothing*"])
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    (evaluation / "results.json").write_text('{"environments": {}, "summary": {}}')
    with pytest.raises(ValueError, match="not the result of a training: it has no method, seed"):
        compare([evaluation])
    (evaluation / "results.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        compare([evaluation])
