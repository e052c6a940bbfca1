"""Recipes, studies and kept results that are damaged, or in another encoding: named, with the line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hf_ood.cli.reproduce import main as reproduce
from hf_ood.experiments.keyed_run import Run, read_run
from hf_ood.experiments.study.study import load_study
from hf_ood.experiments.study.table import read_table
from hf_ood.resources import RESULTS
from hf_ood.runs.recipe import read_recipe

RECIPE = "method: irm\nirm: {penalty_weight: 10}\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (RECIPE.encode("utf-16"), "UTF-16"),
        (RECIPE.encode("utf-16-le"), "zero bytes"),
        ("method: irm\n# größer\n".encode("latin-1"), "line 2 is not UTF-8"),
        (b"method: irm\nmethod: erm\n", "line 2: method was given in line 1"),
        (b"irm: {l2: 1, l2: 2}\n", "l2 was given"),
        (b"method: irm\x07\n", "not valid YAML"),
        (b"", "must hold"),
        (b"- a\n", "must hold"),
        (b"null: 3\n", "no name"),
        (b"a: " + b"[" * 5000, "not valid YAML"),
    ],
)
def test_recipes_that_cannot_be_read_are_named(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=words) as raised:
        read_recipe(file)
    assert str(file) in str(raised.value)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(RECIPE.encode("utf-8-sig"))
    assert read_recipe(tmp_path / "mine.yaml").settings == {"method": "irm", "irm": {"penalty_weight": 10}}


def test_a_key_that_is_no_word_is_an_unknown_one(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("1: 3\n")
    with pytest.raises(ValueError, match="line 1: Unknown key '1'"):
        read_recipe(tmp_path / "mine.yaml").spec()


@pytest.mark.parametrize("setting", ["method", "dataset", "seed", "learning_rate", "irm"])
def test_nothing_in_place_of_a_value_is_refused_with_its_line(setting: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"# a comment\n{setting}: null\n")
    with pytest.raises(ValueError, match=r"mine\.yaml, line 2"):
        read_recipe(tmp_path / "mine.yaml").spec()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("title: T\narms: null\n", "line 2: arms"),
        ("title: null\narms: {a: {}}\n", "line 1: title"),
        ("title: T\narms: {a: 3}\n", "line 2: arms.a"),
        ("title: T\narms: {a: null}\nclaims:\n- {text: x, better: a}\n", "line 4: claims.0.than"),
        ("title: T\narms: {a: null}\nmeasures: null\n", "line 3: measures"),
        ("title: T\narms: {a: null}\narms: {b: null}\n", "line 3: arms was given"),
        ("title: T\n", "lacks 'arms'"),
    ],
)
def test_studies_are_checked_with_their_lines(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(ValueError, match=words):
        load_study(tmp_path / "mine.yaml")


def kept(folder: Path) -> Path:
    """A table as the package has it, in a folder of results."""
    file = folder / "quick" / "figure_9.csv"
    file.parent.mkdir(parents=True)
    shutil.copy(RESULTS / "quick" / "figure_9.csv", file)
    return file


def damage(file: Path, how: str) -> None:
    lines = file.read_text().splitlines(keepends=True)
    if how == "half":
        file.write_text("".join(lines)[: len("".join(lines)) // 2])
    elif how == "empty":
        file.write_text("")
    elif how == "zeros":
        file.write_bytes(b"\0" * file.stat().st_size)
    elif how == "a run in part":
        file.write_text("".join([lines[0], *lines[2:]]))
    else:
        cells = lines[1].split(",")
        lines[1] = ",".join([*cells[:4], how, *cells[5:]])
        file.write_text("".join(lines))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["half", "empty", "zeros", "null", "NaN", "inf", ""])
def test_damaged_tables_are_found_and_named(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = kept(tmp_path)
    assert len(read_table(file))
    damage(file, how)
    with pytest.raises(ValueError, match=r"figure_9\.csv is damaged"):
        read_table(file)
    with pytest.raises(SystemExit):
        reproduce(["--from_results", "--results_dir", str(tmp_path)])
    told = capsys.readouterr().err
    assert str(file) in told and "hf-ood reproduce --study figure_9 --budget quick" in told


@pytest.mark.parametrize(
    "content",
    ["null", "[]", "{", '{"seed": 0}', '{"seed": 0, "environments": null, "history": [], "cpu_seconds": 1}',
     '{"seed": 0, "environments": {}, "history": [], "cpu_seconds": NaN}',
     '{"seed": 0, "environments": {}, "history": [], "cpu_seconds": 1, "mean_accuracy": null}'],
)  # fmt: skip
def test_results_that_say_nothing_are_done_again(content: str, tmp_path: Path) -> None:
    run = Run(
        "mine", "arm", 0, {"method": "erm", "dataset": "linear_unit_tests", "dataset_config": "example_1"}
    )
    folder = run.folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(content)
    with pytest.raises(
        ValueError, match=r"results\.json"
    ):  # at which every command runs it again, and says so
        read_run(run, tmp_path)
    (folder / "results.json").write_text(
        json.dumps({"seed": 0, "environments": {}, "history": [], "cpu_seconds": 1.5, "mean_accuracy": 0.5})
    )
    assert read_run(run, tmp_path)
