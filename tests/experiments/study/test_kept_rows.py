"""Rows that are kept: written as runs end, and done wherever they were carried out."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from small_study import STUDY, command, values
from test_executors import start, wait_for

from hf_ood.cli.reproduce import main
from hf_ood.experiments.study import Study, load_study
from hf_ood.experiments.study.kept import read
from hf_ood.experiments.study.rows import KeptRows, add_rows, merge_rows
from hf_ood.experiments.study.table import COLUMNS, read_table
from hf_ood.runs.origin import commit, commit_of

IN_PROCESS = ("--executor", "in_process")


def small(folder: Path) -> Study:
    return load_study(folder / "recipes" / "small.yaml")


def rows_for(
    study: Study, arm: str, seed: int, settings: str | None = None, key: str = "key"
) -> pd.DataFrame:
    run = next(run for run in study.runs("quick", seed + 1, [arm]) if run.seed == seed)
    names = [*study.measures, f"{study.curve}@1"]
    common = (settings or run.settings_key, key, "commit", 1.0)
    return pd.DataFrame([("small", arm, seed, name, 50.0, *common) for name in names], columns=COLUMNS)


@pytest.mark.slow
def test_a_row_says_of_which_settings_code_and_commit_it_is(whole: Path) -> None:
    table = read_table(whole / "out" / "quick" / "small.csv")
    run = small(whole).runs("quick")[0]
    first = table[(table["arm"] == run.arm) & (table["seed"] == run.seed)]
    assert set(first["settings"]) == {run.settings_key} and set(first["key"]) == {run.key}
    assert set(table["commit"]) == {commit()} == {commit_of(run.folder(whole / "runs"))}
    assert re.fullmatch(r"([0-9a-f]{10}\+?)?", commit())


@pytest.mark.slow
def test_a_committed_row_is_done_on_a_machine_that_has_no_run(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole / "out" / "quick", tmp_path / "out" / "quick")
    assert main(command(tmp_path, "runs", "out")) == 0
    assert "4 of 4 runs are finished, 0 to do." in capsys.readouterr().out
    assert not (tmp_path / "runs").exists() and not (tmp_path / "out" / "cards").exists()
    pd.testing.assert_frame_equal(values(tmp_path / "out"), values(whole / "out"))


@pytest.mark.slow
def test_a_killed_study_loses_the_run_under_way_and_goes_on_without_its_folders(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out" / "quick" / "small.csv"
    process = start(command(tmp_path, "first machine", "out", *IN_PROCESS), tmp_path / "output.txt")
    wait_for(file.exists)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = values(tmp_path / "out")
    done = len(kept.drop_duplicates(["arm", "seed"]))
    assert 1 <= done < 4
    assert main(command(tmp_path, "second machine", "out", *IN_PROCESS)) == 0
    shown = capsys.readouterr().out
    assert f"{done} of 4 runs are finished, {4 - done} to do." in shown and "Expected: about" in shown
    pd.testing.assert_frame_equal(values(tmp_path / "out"), values(whole / "out"))


@pytest.mark.slow
def test_rows_of_earlier_code_count_marked_until_they_are_made_again(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("out", "runs"):
        shutil.copytree(whole / part, tmp_path / part)
    monkeypatch.setattr("hf_ood.runs.origin.code_hash", lambda: "an edited line in irm.py")
    only = ("--only", "ERM", *IN_PROCESS)
    assert main(command(tmp_path, "runs", "out", *only)) == 0
    assert "2 of them were made by earlier code or on other versions" in capsys.readouterr().out
    before = read_table(tmp_path / "out" / "quick" / "small.csv")
    assert main(command(tmp_path, "runs", "out", *only, "--rerun")) == 0
    assert "0 of 2 runs are finished, 2 to do." in capsys.readouterr().out
    after = read_table(tmp_path / "out" / "quick" / "small.csv")
    pd.testing.assert_series_equal(after["value"], before["value"])
    made_again = after["key"] != before["key"]
    assert set(after["arm"][made_again]) == {"ERM"} and set(after["arm"][~made_again]) == {"0.01"}
    assert main(command(tmp_path, "runs", "out", *only, "--rerun")) == 0  # it goes on where it was
    assert "2 of 2 runs are finished, 0 to do." in capsys.readouterr().out


@pytest.mark.slow
def test_a_seed_is_verified_to_the_digit(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole / "out" / "quick", tmp_path / "out" / "quick")
    file = tmp_path / "out" / "quick" / "small.csv"
    monkeypatch.setattr("hf_ood.runs.origin.code_hash", lambda: "an edited line in irm.py")
    arguments = command(tmp_path, "runs", "out", *IN_PROCESS, "--verify", "small", "--seed", "1")
    assert main([*arguments, "--only", "ERM"]) == 0
    shown = capsys.readouterr().out
    assert "small: ERM, seed 1: the committed one (commit" in shown and "other code or versions" in shown
    run = small(tmp_path).runs("quick", only=["ERM"])[1]
    keys = read_table(file).set_index(["arm", "seed"])["key"]
    assert set(keys["ERM", 1]) == {run.key} and set(keys["ERM", 0]) != {run.key}  # no longer marked
    table = read_table(file)
    changed = (table["arm"] == "ERM") & (table["seed"] == 1) & (table["measure"] == "blue_on_white")
    table.loc[changed, "value"] = 12.5
    table.to_csv(file, index=False)
    assert main([*arguments, "--only", "ERM"]) == 1
    shown = capsys.readouterr().out
    assert "NOT the committed one" in shown and "blue_on_white 12.5 committed, " in shown
    assert "machines of one kind" in shown
    assert read_table(file).loc[changed, "value"].item() == 12.5


def test_verify_says_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (["--verify"], ["--seed", "1"], ["--verify", "--seed", "1"]):
        with pytest.raises(SystemExit):
            main(command(tmp_path, "runs", "out", *flags))
        assert "STUDY --verify --seed N" in capsys.readouterr().err
    arguments = command(tmp_path, "runs", "out", "small", "--verify", "--seed", "7")
    with pytest.raises(SystemExit):
        main(arguments)
    assert "nothing to compare with" in capsys.readouterr().err
    add_rows(small(tmp_path), "quick", rows_for(small(tmp_path), "ERM", 0), tmp_path / "out" / "quick")
    with pytest.raises(SystemExit):
        main(arguments)
    assert "of seed 7 at the quick budget no row of these settings is kept" in capsys.readouterr().err


def test_rows_count_in_every_study_that_has_the_run_under_any_name(tmp_path: Path) -> None:
    command(tmp_path, "runs", "out")
    study = small(tmp_path)
    kept = KeptRows([rows_for(study, "ERM", 0)])
    renamed = replace(study, name="other", arms={"plain": {}}, measures=["blue_on_white"])
    found = kept.find(renamed, renamed.runs("quick")[0])
    assert found is not None and set(found["study"]) == {"other"} and set(found["arm"]) == {"plain"}
    assert list(found["measure"]) == ["blue_on_white", "test_mean_accuracy@1"]
    more = replace(renamed, measures=["blue_on_white", "worst_accuracy"])
    assert kept.find(more, more.runs("quick")[0]) is None  # a measure that was not kept
    assert kept.find(renamed, renamed.runs("quick")[1]) is None  # another seed


def test_rows_of_this_code_come_before_earlier_ones(tmp_path: Path) -> None:
    command(tmp_path, "runs", "out")
    study = small(tmp_path)
    run = study.runs("quick", only=["ERM"])[0]
    earlier = rows_for(study, "ERM", 0, key="earlier").assign(value=1.0)
    kept = KeptRows([earlier, rows_for(study, "ERM", 0, key=run.key).assign(value=2.0)])
    found = kept.find(study, run)
    assert found is not None and set(found["value"]) == {2.0}
    assert KeptRows([earlier]).find(study, run) is not None
    assert KeptRows([earlier]).find(study, run, only_now=True) is None


def test_a_table_never_mixes_two_protocols(tmp_path: Path) -> None:
    command(tmp_path, "runs", "out")
    study = small(tmp_path)
    old = pd.concat([rows_for(study, "ERM", 0, settings="other"), rows_for(study, "ERM", 1)])
    assert merge_rows(study, "quick", old, old.iloc[:0]) is old
    merged = merge_rows(study, "quick", old, rows_for(study, "0.01", 0))
    assert list(merged.drop_duplicates(["arm", "seed"])[["arm", "seed"]].itertuples(index=False)) == [
        ("0.01", 0),
        ("ERM", 1),
    ]
    again = merge_rows(study, "quick", merged, rows_for(study, "ERM", 1).assign(value=60.0))
    assert set(again[again["arm"] == "ERM"]["value"]) == {60.0}


WRITE = """
import sys
from pathlib import Path
from hf_ood.experiments.study import load_study
from hf_ood.experiments.study.rows import add_rows
from hf_ood.experiments.study.table import read_table
folder = Path(sys.argv[1])
study = load_study(folder / "recipes" / "small.yaml")
rows = read_table(folder / "more.csv")
add_rows(study, "quick", rows, folder / "out")
"""


@pytest.mark.slow
def test_a_table_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    command(tmp_path, "runs", "out")
    study = small(tmp_path)
    add_rows(study, "quick", rows_for(study, "ERM", 0), tmp_path / "out")
    file = tmp_path / "out" / "small.csv"
    before = file.read_bytes()
    pd.concat([rows_for(study, "ERM", seed) for seed in range(1, 60)]).to_csv(
        tmp_path / "more.csv", index=False
    )
    failed = subprocess.run(
        [sys.executable, "-c", WRITE, str(tmp_path)],
        capture_output=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
    )
    assert failed.returncode != 0 and file.read_bytes() == before
    assert len(read_table(file)) == 3


@pytest.mark.parametrize("content", ["arm,seed\nERM,0\n", "", "study,arm\n\x00,"])
def test_a_damaged_table_is_named(content: str, tmp_path: Path) -> None:
    file = tmp_path / "small.csv"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"small\.csv is damaged"):
        read_table(file)


def test_a_table_from_before_settings_were_kept_is_read_and_counts_for_no_run(tmp_path: Path) -> None:
    command(tmp_path, "runs", "out")
    study = small(tmp_path)
    file = tmp_path / "small.csv"
    rows_for(study, "0.01", 0).drop(columns=["settings", "commit"]).to_csv(file, index=False)
    table = read_table(file)
    assert set(table["arm"]) == {"0.01"} and set(table["settings"]) == set(table["commit"]) == {""}
    assert not KeptRows([table]).runs


def test_a_quick_result_never_takes_the_place_of_a_full_one_that_came_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(tmp_path, "runs", "out")
    study = small(tmp_path)
    package, own = tmp_path / "package", tmp_path / "own"
    monkeypatch.setattr("hf_ood.experiments.study.kept.RESULTS", package)
    both = pd.concat([rows_for(study, arm, seed) for arm in STUDY["arms"] for seed in (0, 1)])
    add_rows(study, "full", both, package / "full")
    add_rows(study, "quick", both, own / "quick")
    found = read(study, own)
    assert found is not None and found.budget == "full" and found.table == package / "full" / "small.csv"
    add_rows(study, "full", both, own / "full")
    found = read(study, own)
    assert found is not None and found.table == own / "full" / "small.csv"


def test_a_full_study_that_has_only_begun_is_not_shown_in_place_of_a_quick_one(tmp_path: Path) -> None:
    command(tmp_path, "runs", "out")
    study = small(tmp_path)
    add_rows(study, "full", rows_for(study, "ERM", 0), tmp_path / "full")
    found = read(study, tmp_path)
    assert found is not None and (found.budget, found.extent) == (
        "full",
        "1 of 2 arms so far, 1 seed of 5 stated",
    )
    both = pd.concat([rows_for(study, arm, seed) for arm in STUDY["arms"] for seed in (0, 1)])
    add_rows(study, "quick", both, tmp_path / "quick")
    found = read(study, tmp_path)
    assert found is not None and (found.budget, found.extent) == ("quick", "2 seeds")
    assert found.computed_at == "at commit" and not found.other_settings
