"""Test rows of training environments, the shift gap, combinations of columns and early stopping, through the
command."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pandas
import pytest
from tiny_models import save_text_model

from hf_ood.cli.arguments import parse_arguments
from hf_ood.cli.train import main
from hf_ood.errors import UsageError
from hf_ood.runs.data import load_splits
from hf_ood.runs.stage_data import training_datasets

RUN = "--per_device_train_batch_size 32 --use_cpu true --num_threads 1 --disable_tqdm true --report_to none"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of texts with a test split, three hospitals with two scanners each in both."""
    folder = tmp_path_factory.mktemp("reports")
    save_text_model(folder / "reader")
    (folder / "data").mkdir()
    for split, size in (("train", 240), ("test", 60)):
        table = pandas.DataFrame(
            {
                "text": [f"{'good lung' if i % 2 else 'bad scan'} {'.' * (i % 3)}" for i in range(size)],
                "label": ["healthy" if i % 2 else "ill" for i in range(size)],
                "hospital": ["ABC"[i % 3] for i in range(size)],
                "scanner": [i % 4 // 2 for i in range(size)],
            }
        )
        table.to_parquet(folder / "data" / f"{split}.parquet")
    return folder


def flags(place: Path, more: str) -> list[str]:
    table = f"--dataset_name {place}/data --text_column text --environment_column hospital scanner"
    return shlex.split(f"{table} --model_name_or_path {place}/reader {RUN} {more}")


def test_training_environments_are_tested_apart(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = f"--test_environments hospital=C --num_train_epochs 1 --output_dir {tmp_path / 'run'}"
    results = main(flags(place, more))
    sizes: dict[str, list[int]] = {}
    for entry in results["environments"].values():
        sizes.setdefault(entry["split"], []).append(entry["count"])
    assert sizes == {"validation": [8] * 4, "in_domain_test": [10] * 4, "test": [10] * 2}
    by_split = {
        split: [entry["accuracy"] for entry in results["environments"].values() if entry["split"] == split]
        for split in sizes
    }
    in_domain = sum(by_split["in_domain_test"]) / 4
    assert results["in_domain_split"] == "in_domain_test"
    assert results["in_domain_accuracy"] == pytest.approx(in_domain)
    assert results["mean_accuracy"] == pytest.approx(sum(by_split["test"]) / 2)
    assert results["worst_accuracy"] == min(by_split["test"])
    assert results["shift_gap"] == pytest.approx(in_domain - results["mean_accuracy"])
    assert results["gap"] == pytest.approx(results["train_accuracy"] - results["mean_accuracy"])
    assert results["summary"]["mean"]["accuracy"] == pytest.approx(results["mean_accuracy"])
    assert "in_domain_test_mean_accuracy" in results["history"][0]
    assert results["selection"] == "best validation mean accuracy over evaluations"
    shown = capsys.readouterr().out
    assert "in-domain test" in shown and "shift gap" in shown
    card = (tmp_path / "run" / "README.md").read_text()
    assert "| in_domain_test/hospital=A,scanner=0 | in_domain_test |" in card
    assert "On the test rows of the training environments" in card and "lost to the shift" in card


def test_combinations_are_asked_for_by_a_part_everywhere(place: Path) -> None:
    def environments(more: str) -> dict[str, list[str]]:
        arguments = parse_arguments(flags(place, more))
        datasets = training_datasets(arguments, load_splits(arguments, "default"))
        return {split: list(data.environment_counts()) for split, data in datasets.items()}

    found = environments(
        "--test_environments hospital=C --validation scanner=1,hospital=B --train_environments hospital=A"
    )
    a, b, c = ([f"hospital={name},scanner={number}" for number in (0, 1)] for name in "ABC")
    assert found == {"train": a, "validation": b[1:], "test": c, "in_domain_test": a}
    with pytest.raises(ValueError, match=r"Unknown test environment 'hospital=D'.* hospital=A,scanner=0"):
        environments("--test_environments hospital=D")


def test_a_run_may_not_choose_by_test_rows_of_training_environments_unsaid(place: Path) -> None:
    more = "--test_environments hospital=C --metric_for_best_model in_domain_test_mean_accuracy"
    arguments = parse_arguments(flags(place, more))
    assert arguments.training.selection.startswith("oracle: best in domain test")


def test_the_command_stops_early(place: Path, tmp_path: Path) -> None:
    when = "--eval_strategy steps --eval_steps 1 --save_strategy steps --save_steps 1 --logging_steps 1"
    more = f"--test_environments hospital=C --max_steps 40 {when} --early_stopping_patience 2"
    results = main(flags(place, f"{more} --early_stopping_threshold 2.0 --output_dir {tmp_path / 'run'}"))
    assert results["steps"] == 3  # the first is the best there is; none is better by 200 points


def test_class_weights_reach_the_run_and_its_results(place: Path, tmp_path: Path) -> None:
    more = "--test_environments hospital=C --max_steps 2 --eval_strategy no --save_strategy no"
    results = main(flags(place, f"{more} --class_weights 1,5 --output_dir {tmp_path / 'run'}"))
    assert results["hyperparameters"]["loss"]["class_weights"] == (1.0, 5.0)
    with pytest.raises(UsageError, match="2"):
        main(flags(place, f"{more} --class_weights 1 5 2 --output_dir {tmp_path / 'other'}"))


def splits_of(more: str) -> dict[str, Any]:
    arguments = parse_arguments(more.split())
    datasets = training_datasets(arguments, load_splits(arguments))
    return {split: list(data.environment_counts()) for split, data in datasets.items()}


def test_the_test_split_of_linear_unit_tests_is_shifted_and_never_in_domain() -> None:
    data = "--dataset_name linear_unit_tests --dataset_config example_2 --linear_unit_tests.samples 20"
    found = splits_of(
        f"{data} --model linear --train_environments environment_0 environment_1 "
        "--test_environments environment_2"
    )
    assert set(found) == {"train", "validation", "test"}


def test_colored_mnist_has_in_domain_test_rows_where_colours_are_in_both_splits() -> None:
    data = "--colored_mnist.label_rule zero_vs_one --dataset_config fixed_colors"
    pairs = "--colored_mnist.test_pairs red_on_black blue_on_white --test_environments blue_on_white"
    found = splits_of(f"{data} {pairs}")
    assert found["test"] == ["blue_on_white"] and found["in_domain_test"] == ["red_on_black"]
    assert set(splits_of(data)) == {"train", "validation", "test"}
