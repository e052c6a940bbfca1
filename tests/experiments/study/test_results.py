"""What is kept of studies, and what is read from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from hf_ood.cli.explain import REPORT_FILE
from hf_ood.experiments.keyed_run import Run, read_run
from hf_ood.experiments.study import Study, finished, load_study, summarize
from hf_ood.experiments.study.kept import read
from hf_ood.experiments.study.study import BUDGETS, Claim, Selection
from hf_ood.experiments.study.table import COLUMNS, measure, read_table
from hf_ood.reporting.studies import write_readme

STUDY = Study(
    "small",
    "A title",
    arms={"ERM": {}, "IRM 1": {"method": "irm"}, "IRM 10": {"method": "irm"}},
    measures=["validation_accuracy", "mean_accuracy"],
    claims=[Claim("IRM helps", "IRM 1", "ERM")],
    selection=Selection(
        {"IRM": ["IRM 1", "IRM 10"]}, {"honest": "validation_accuracy", "oracle": "mean_accuracy"}
    ),
)
VALUES = {
    ("ERM", "validation_accuracy"): (98, 98),
    ("ERM", "mean_accuracy"): (70, 72),
    ("IRM 1", "validation_accuracy"): (99, 99),
    ("IRM 1", "mean_accuracy"): (60, 64),
    ("IRM 10", "validation_accuracy"): (97, 97),
    ("IRM 10", "mean_accuracy"): (75, 77),
}


def table(study: str = "small", cpu_seconds: float = 1800.0) -> pd.DataFrame:
    rows = [
        (study, arm, seed, name, float(value), "settings", f"{arm} {seed}", "commit", cpu_seconds)
        for (arm, name), seeds in VALUES.items()
        for seed, value in enumerate(seeds)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_each_rule_chooses_by_its_own_measure() -> None:
    choices = {choice.rule: choice for choice in summarize(STUDY, table(), "quick", Path()).choices}
    assert (choices["honest"].arm, choices["honest"].value.mean) == ("IRM 1", 62)
    assert (choices["oracle"].arm, choices["oracle"].value.mean) == ("IRM 10", 76)


def test_cpu_hours_count_every_run_once_and_are_unknown_when_one_is() -> None:
    assert summarize(STUDY, table(), "quick", Path()).cpu_hours == pytest.approx(6 * 0.5)
    assert summarize(STUDY, table(cpu_seconds=float("nan")), "quick", Path()).cpu_hours is None


def test_the_largest_budget_is_shown(tmp_path: Path) -> None:
    assert read(STUDY, tmp_path) is None
    for budget in ("quick", "full"):
        (tmp_path / budget).mkdir()
        table().to_csv(tmp_path / budget / "small.csv", index=False)
        found = read(STUDY, tmp_path)
        assert found is not None and found.budget == budget


def test_the_documents_table_lies_between_its_marks(tmp_path: Path) -> None:
    readme = tmp_path / "studies.md"
    readme.write_text("before\n<!-- studies -->\nold\n<!-- /studies -->\nafter\n")
    write_readme([summarize(STUDY, table(), "full", Path())], readme)
    text = readme.read_text()
    assert text.startswith("before\n<!-- studies -->\n| claim") and text.endswith(
        "<!-- /studies -->\nafter\n"
    )
    assert "| IRM helps | **inconclusive** | -9.00 ± " in text and "old" not in text
    one_seed = table()[table()["seed"] == 0]
    write_readme([summarize(STUDY, one_seed, "full", Path())], readme)
    assert "| **none: one seed** | " in readme.read_text()
    readme.write_text("no marks")
    with pytest.raises(ValueError, match="no <!-- studies -->"):
        write_readme([], readme)


@pytest.mark.slow
def test_a_run_that_is_to_be_explained_is_finished_when_it_is(whole: Path) -> None:
    study = load_study(whole / "recipes" / "small.yaml")
    run: Run = replace(study.runs("quick")[0], explain=True)
    assert finished(replace(run, explain=False), whole / "runs") and not finished(run, whole / "runs")
    report = run.folder(whole / "runs") / REPORT_FILE
    entries = {"a": {"digit_share": 0.2, "digit_area": 0.1}, "b": {"digit_share": 0.4, "digit_area": 0.1}}
    report.write_text(json.dumps({"layer": "conv2", "environments": entries}))
    results = read_run(run, whole / "runs")
    assert results is not None
    assert measure(results, "digit_share") == pytest.approx(0.3)
    report.unlink()


ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "hf_ood" / "results"


@pytest.mark.parametrize(
    "file",
    [file for budget in BUDGETS for file in sorted((RESULTS / budget).glob("*.csv"))],
    ids=lambda file: f"{file.parent.name} {file.stem}",
)
def test_committed_results_belong_to_a_study_and_are_whole(file: Path) -> None:
    study = load_study(ROOT / "hf_ood" / "recipes" / f"{file.stem}.yaml")
    table = read_table(file)
    assert set(table["arm"]) <= set(study.arms)
    summary = summarize(study, table, file.parent.name, RESULTS)
    least = 5 if file.parent.name == "full" else 2
    assert all(found.n >= least for row in summary.rows for found in row.measures.values())
