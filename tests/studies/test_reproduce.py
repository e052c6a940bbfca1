"""A study from its file to its page: resumed after `kill -9`, and with a damaged result."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from hf_ood.studies.reproduce import main

ROOT = Path(__file__).parents[2]
STUDY = {
    "title": "Does IRM help?",
    "note": "Zeros and ones only.",
    "settings": {"dataset_config": "fixed_colors", "colored_mnist": {"label_rule": "zero_vs_one"}},
    "measures": ["mean_accuracy", "blue_on_white"],
    "curve": "test_mean_accuracy",
    "arms": {"ERM": {}, "0.01": {"learning_rate": 0.01, "method": "irm"}},
    "budgets": {"quick": {"num_train_epochs": 1, "max_train_samples": 600, "seeds": 2}},
    "report": {"ERM": {"blue_on_white": 51.0}},
    "claims": [{"text": "IRM helps", "better": "0.01", "than": "ERM"}],
}


def command(folder: Path, runs: str, out: str, *more: str) -> list[str]:
    recipes = folder / "recipes"
    recipes.mkdir(exist_ok=True)
    (recipes / "small.yaml").write_text(yaml.safe_dump(STUDY))
    places = ["--recipes", recipes, "--runs_dir", folder / runs, "--results_dir", folder / out]
    return [*map(str, places), *more]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    assert main(command(folder, "runs", "out", "--executor", "in_process")) == 0
    return folder


def values(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "quick" / "small.csv", dtype={"arm": str}).drop(columns="cpu_seconds")


def test_the_table_has_every_run_and_measure(whole: Path) -> None:
    table = values(whole / "out")
    assert set(table["measure"]) == {"mean_accuracy", "blue_on_white", "test_mean_accuracy@1"}
    assert len(table) == 2 * 2 * 3
    assert set(table["arm"]) == {"ERM", "0.01"}
    assert table["value"].between(0, 100).all()


def test_the_tables_show_report_claim_and_verdict(whole: Path) -> None:
    text = (whole / "out" / "report.md").read_text()
    for expected in (
        "Does IRM help?",
        "(n = 2)",
        "| 51.0 |",
        "| IRM helps | small (quick) | 0.01 | ERM |",
        "replicated",
    ):
        assert expected in text
    page = (whole / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 8 and 'href="#small"' in page
    assert "http" not in page.replace("http-equiv", "")  # self-contained


def test_finished_runs_are_not_repeated_and_the_page_comes_from_the_tables_alone(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (whole / "runs").rglob("results.json")}
    assert main(command(whole, "runs", "out")) == 0
    assert "4 of 4 runs are finished, 0 to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (whole / "runs").rglob("results.json")} == before
    text = (whole / "out" / "report.md").read_text()
    assert main(command(whole, "nowhere", "out", "--from_results")) == 0
    assert (whole / "out" / "report.md").read_text() == text


def test_a_killed_study_resumes_to_the_same_tables(whole: Path, tmp_path: Path) -> None:
    arguments = command(tmp_path, "runs", "out", "--executor", "workers", "--workers", "2")
    script = [sys.executable, str(ROOT / "trainers" / "reproduce.py"), *arguments]
    process = subprocess.Popen(
        script, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "runs").rglob("results.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.5)  # workers end with their parent
    assert not _alive(process.pid)
    assert 1 <= len(list((tmp_path / "runs").rglob("results.json"))) < 4
    assert main(command(tmp_path, "runs", "out", "--executor", "in_process")) == 0
    pd.testing.assert_frame_equal(values(tmp_path / "out"), values(whole / "out"))


def _alive(group: int) -> bool:
    listing = subprocess.run(["ps", "-eo", "pgid,stat"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines()[1:]]
    return any(int(pgid) == group and not state.startswith("Z") for pgid, state in rows)


@pytest.mark.parametrize("damage", ["cut", "another"])
def test_a_damaged_result_is_reported_and_run_again(
    damage: str, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = values(whole / "out")
    file = sorted((whole / "runs").rglob("fixed_colors-erm-seed1*/results.json"))[0]
    text = file.read_text()
    file.write_text(text[: len(text) // 2] if damage == "cut" else text.replace('"seed": 1', '"seed": 0'))
    assert main(command(whole, "runs", "out", "--executor", "in_process")) == 0
    shown = capsys.readouterr().out
    assert "run again:" in shown and str(file) in shown and "3 of 4 runs are finished" in shown
    pd.testing.assert_frame_equal(values(whole / "out"), good)


def test_a_run_that_fails_is_named_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(tmp_path, "runs", "out", "--executor", "in_process", "--seeds", "1")
    broken = {**STUDY, "arms": {"too many": {"max_train_samples": 10**6}, "ERM": {}}, "claims": []}
    (tmp_path / "recipes" / "small.yaml").write_text(yaml.safe_dump(broken))
    assert main(arguments) == 1
    shown = capsys.readouterr().out
    assert "too many, seed 0" in shown and "max_train_samples=1000000" in shown
    assert set(values(tmp_path / "out")["arm"]) == {"ERM"}


def test_list_dry_run_and_wrong_names(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(whole, "runs", "out", "--list")) == 0
    assert "Does IRM help?" in capsys.readouterr().out
    assert main(command(whole, "elsewhere", "out", "--dry_run", "--only", "ERM")) == 0
    shown = capsys.readouterr().out
    assert "0 of 2 runs are finished" in shown and "ERM, seed 1" in shown and "0.01" not in shown
    assert not (whole / "elsewhere").exists()
    with pytest.raises(SystemExit):
        main(command(whole, "runs", "out", "--study", "smal"))
    assert "Did you mean 'small'" in capsys.readouterr().err
