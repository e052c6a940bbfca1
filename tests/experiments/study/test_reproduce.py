"""A study from its file to its page, and with a damaged result."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml
from huggingface_hub import ModelCard
from small_study import STUDY, command, values

from hf_ood.cli.reproduce import main

pytestmark = pytest.mark.slow


def test_the_table_has_every_run_and_measure(whole: Path) -> None:
    table = values(whole / "out")
    curves = {"test_mean_accuracy@1", "validation_mean_accuracy@1"}
    assert set(table["measure"]) == {"mean_accuracy", "blue_on_white"} | curves
    assert len(table) == 2 * 2 * 4
    assert set(table["arm"]) == {"ERM", "0.01"}
    assert table["value"].between(0, 100).all()


def test_the_tables_show_report_claim_and_verdict(whole: Path) -> None:
    text = (whole / "out" / "report.md").read_text()
    for expected in (
        "Does IRM help?",
        "(n = 2)",
        "| 51.0 |",
        "| IRM helps | **inconclusive** | ",
        "| 0.01 | ERM | small (quick) |",
    ):
        assert expected in text
    page = (whole / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 12 and 'href="#small"' in page
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


@pytest.mark.parametrize("damage", ["cut", "another"])
def test_a_damaged_result_is_reported_and_run_again(
    damage: str, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = values(whole / "out")
    file = sorted((whole / "runs").rglob("fixed_colors-erm-seed1*/results.json"))[0]
    text = file.read_text()
    file.write_text(text[: len(text) // 2] if damage == "cut" else text.replace('"seed": 1', '"seed": 0'))
    out = f"without rows, {damage}"
    assert main(command(whole, "runs", out, "--executor", "in_process")) == 0
    shown = capsys.readouterr().out
    assert "run again:" in shown and str(file) in shown and "3 of 4 runs are finished" in shown
    pd.testing.assert_frame_equal(values(whole / out), good)


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


def test_list_and_wrong_names(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(whole, "runs", "out", "--list")) == 0
    assert "Does IRM help?" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(command(whole, "runs", "out", "--study", "smal"))
    assert "Did you mean 'small'" in capsys.readouterr().err


def test_pictures_and_cards_of_main_arms_are_kept(whole: Path) -> None:
    kept = whole / "out" / "quick" / "pictures" / "small-erm-curves.png"
    assert kept.read_bytes().startswith(b"\x89PNG")
    card = ModelCard.load(whole / "out" / "cards" / "small-erm.md")
    assert {result.metric_name for result in card.data.eval_results} >= {"accuracy on blue_on_white"}
    assert "±" in card.text  # both seeds
    assert "hf-ood reproduce --study small --only ERM --budget quick" in card.text
    assert str(whole) not in card.content
