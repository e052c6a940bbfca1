"""One list says what is built in, and every command asks it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import hf_ood
from hf_ood.cli import datasets, evaluate, predict, shift
from hf_ood.data.built_in import BUILT_IN
from hf_ood.errors import UsageError
from hf_ood.hub.model_card import hub_datasets
from hf_ood.runs.data import load_splits
from hf_ood.runs.sections import data_options, sections
from hf_ood.runs.spec import DataSpec, RunSpec

PACKAGE = Path(hf_ood.__file__).parent


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_entry_says_what_a_command_has_to_know(name: str) -> None:
    data = BUILT_IN[name]
    assert data.name == name and data.summary.endswith(".")
    assert data.default in (None, *data.configurations) and all(data.configurations.values())
    assert data.tensors or data.write
    assert data_options(data) and (name in sections()) == (data.tensors is not None)
    assert DataSpec(dataset=name).configuration == (data.default or "default")
    assert (PACKAGE / "data" / name / "__init__.py").is_file()


STUDIES = ["coverage_data.py"]  # what these are about is certain data sets


def test_no_other_file_knows_one_by_its_name() -> None:
    for file in PACKAGE.rglob("*.py"):
        if file.relative_to(PACKAGE).parts[:1] == ("data",) or file.name in STUDIES:
            continue
        compared = [
            constant.value
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, (ast.Compare, ast.Assign, ast.Dict))
            for constant in ast.walk(node)
            if isinstance(constant, ast.Constant) and constant.value in BUILT_IN
        ]
        assert not compared, f"{file.relative_to(PACKAGE)} asks for {compared}: ask hf_ood.data.built_in."


def test_every_configuration_is_made_as_the_list_says() -> None:
    for example, split in (("example_1", "train"), ("example_3", "test")):
        small = BUILT_IN["linear_unit_tests"].tensors(example, samples=4)  # type: ignore[misc]
        assert len(small[split]) == 12
    spec = RunSpec(DataSpec("linear_unit_tests", "example_2"), options={"linear_unit_tests": {"samples": 4}})
    assert load_splits(spec)["train"].label_names == ["camel", "cow"]


def test_a_fingerprint_changes_with_the_digits_alone(tmp_path: Path) -> None:
    digits = BUILT_IN["colored_mnist"]
    (tmp_path / "digit.png").write_bytes(b"other digits")
    assert digits.fingerprint({"seed": 1}) == digits.fingerprint({})
    assert digits.fingerprint({"source": str(tmp_path)}) != digits.fingerprint({})


def test_what_a_card_names_as_source() -> None:
    assert hub_datasets("colored_mnist") == ["ylecun/mnist"]
    assert hub_datasets("linear_unit_tests") is None and hub_datasets("punctuated_text") is None


def test_the_listing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    datasets.main(["--list"])
    told = capsys.readouterr().out
    for name, data in BUILT_IN.items():
        assert f"{name}: {data.summary}" in told and (not data.default or f"{data.default} (default)" in told)
        assert all(configuration in told for configuration in data.configurations)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--dataset linear_unit_tests", "linear_unit_tests is made in memory .* there is no folder to write"),
        ("--dataset coloured_mnist", r"'coloured_mnist'\. Did you mean 'colored_mnist'.*--list"),
        ("--dataset punctuated_text --config source", "Did you mean 'sources'"),
        ("--dataset punctuated_text --label_noise 2", r"2\.0 is not a share"),
        ("--dataset punctuated_text --min_rating 5", r"min_rating must lie in 0\.\.4"),
        (
            "--dataset punctuated_text --package gone.tar.gz",
            "There is no file gone.tar.gz: fetch it with pip",
        ),
        ("--dataset_config fixed_color", "Did you mean 'fixed_colors'"),
    ],
)
def test_what_cannot_be_written(
    flags: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        datasets.main(flags.split())
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        (
            evaluate,
            "--model m --dataset linear_unit_tests",
            "hf-ood evaluate reads .* It is for hf-ood train",
        ),
        (evaluate, "--model m --dataset punctuated_text", "hf-ood datasets --dataset punctuated_text"),
        (predict, "--model m linear_unit_tests", "hf-ood predict reads .* It is for hf-ood train"),
        (predict, "--model m colored_mnist", "Write it as a folder, hf-ood datasets --dataset colored_mnist"),
        (shift, "--dataset punctuated_text", "hf-ood datasets --dataset punctuated_text"),
    ],
)
def test_a_command_says_what_it_cannot_do_with_one(
    command: Any,
    flags: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        command.main(flags.split())
    assert re.search(message, capsys.readouterr().err)


def test_training_on_one_that_is_not_written_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="Write it once: hf-ood datasets --dataset punctuated_text"):
        load_splits(RunSpec(DataSpec("punctuated_text", text_column=["text"])))
