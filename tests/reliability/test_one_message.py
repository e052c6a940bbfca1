"""The funnel: what can be foreseen ends in one message; a bug keeps its traceback; --debug shows all."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from datasets.exceptions import DatasetGenerationError
from PIL import Image
from reliability.commands import ROOT, hf_ood, message_of
from safetensors import SafetensorError

from hf_ood.__main__ import COMMANDS
from hf_ood.cli.funnel import one_message, take_debug
from hf_ood.engine import NonFiniteLossError
from hf_ood.errors import UsageError
from hf_ood.trainer import CorruptCheckpointError


def generation_error() -> DatasetGenerationError:
    error = DatasetGenerationError("An error occurred while generating the dataset")
    error.__cause__ = ValueError("line 3 has five cells")
    return error


FORESEEN = {
    "line 3 has five cells": generation_error(),
    "too large to be opened": Image.DecompressionBombError("Image size exceeds limit"),
    "HeaderTooLarge": SafetensorError("HeaderTooLarge"),
    "is damaged": RuntimeError(
        "PytorchStreamReader failed reading zip archive: failed finding central directory"
    ),
    "not valid YAML": yaml.YAMLError("found unexpected end of stream"),
    "no longer finite": NonFiniteLossError("The loss is no longer finite"),
    "Cannot resume": CorruptCheckpointError("Cannot resume: it is cut"),
    "not yours to use": PermissionError(13, "Permission denied", "runs/a"),
    "a file is where a folder is wanted": NotADirectoryError(20, "Not a directory", "runs/a"),
    "can only be read": OSError(30, "Read-only file system", "runs/a"),
    "disk full while writing runs/a": OSError(28, "No space left on device", "runs/a"),
    "disk full": RuntimeError(
        "[enforce fail at inline_container.cc:664] . PytorchStreamWriter failed writing file"
    ),
    "not enough memory": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "row 7": ValueError(
        "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "x.py", line 1, in f\n    raise\nValueError: row 7: the image cannot be read\n'
    ),
}


@pytest.mark.parametrize("words", FORESEEN)
def test_what_libraries_raise_becomes_one_message(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    @one_message
    def main(argv: Sequence[str] | None = None) -> None:
        raise FORESEEN[words]

    with pytest.raises(UsageError) as raised:
        main(["--output_dir", "runs"])
    told = capsys.readouterr().err
    assert words in told and "Traceback" not in told
    assert raised.value.code == 2


def test_a_bug_keeps_its_traceback_and_says_where_to_report(capsys: pytest.CaptureFixture[str]) -> None:
    @one_message
    def main(argv: Sequence[str] | None = None) -> None:
        raise KeyError("environments")

    with pytest.raises(KeyError) as raised:
        main([])
    assert "github.com" in " ".join(raised.value.__notes__)
    with pytest.raises(SystemExit):  # no password of the flags in it either
        main(["--storage", "postgresql://me:verysecret@host/db"])
    told = capsys.readouterr().err
    assert "KeyError" in told and "report" in told and "verysecret" not in told


def test_debug_shows_the_traceback_before_the_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @one_message
    def main(argv: Sequence[str] | None = None) -> None:
        assert argv == ["--seed", "1"]
        raise ValueError("no such thing")

    def told() -> str:
        with pytest.raises(UsageError):
            main([*flags, "--seed", "1"])
        return capsys.readouterr().err

    flags: list[str] = []
    assert told() == "error: no such thing\n"
    flags = ["--debug"]
    assert "Traceback" in told()
    flags = []
    monkeypatch.setenv("HF_OOD_DEBUG", "1")
    assert "Traceback" in told()
    assert take_debug(["--debug", "underflow_overflow"])[0] == ["--debug", "underflow_overflow"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_the_flag_and_goes_through_the_funnel(command: str) -> None:
    if command in ("sweep", "bench"):
        pytest.importorskip("optuna")
    program: Any = import_module(f"hf_ood.cli.{command}")
    parser: argparse.ArgumentParser = program.make_parser()
    flag = next(action for action in parser._actions if "--debug" in action.option_strings)
    assert "traceback" in str(flag.help)
    assert program.main.__wrapped__


def test_a_failure_of_all_processes_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "from hf_ood.cli.funnel import one_message\n"
        "@one_message\ndef main(argv=None):\n    raise ValueError('there is no such column')\nmain([])\n"
    )
    command = "-m torch.distributed.run --nproc_per_node 2 --master_port 29755".split()
    finished = subprocess.run(
        [sys.executable, *command, str(tmp_path / "program.py")],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    assert finished.returncode
    assert finished.stderr.count("there is no such column") == 1


def damaged_run(folder: Path) -> Path:
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps({"environments": {}, "method": "erm"}))
    return folder


@pytest.mark.parametrize(
    "content", [b"[a", b"- a\n", b"\xff\xfe\x00binary\x00", b"null", b"", b"method: [erm\n", b"a: 1\na: 2\n"]
)
def test_damaged_settings_of_a_run_are_named(content: bytes, tmp_path: Path) -> None:
    from hf_ood.cli.evaluate import main

    folder = damaged_run(tmp_path / "run")
    (folder / "arguments.yaml").write_bytes(content)
    with pytest.raises(UsageError, match="2") as raised:
        main(["--run", str(folder)])
    assert f"{folder / 'arguments.yaml'}" in raised.value.message
    assert "damaged" in raised.value.message


@pytest.mark.nightly
def test_files_in_the_way_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        told = message_of(hf_ood("train", "--config", "quickstart", "--max_steps", 1, "--output_dir", place))
        assert str(place) in told and "choose another place" in told


@pytest.mark.nightly
def test_resuming_false_starts_anew(tmp_path: Path) -> None:
    flags = "--config quickstart --max_steps 2 --max_train_samples 3000 --resume_from_checkpoint false"
    finished = hf_ood("train", *flags.split(), "--output_dir", tmp_path / "run")
    assert finished.returncode == 0, finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["colored_mnist", "emoji_styles"])
def test_damaged_data_of_the_package_are_named(dataset: str, tmp_path: Path) -> None:
    """A copy of the package, as an interrupted installation leaves it."""
    shutil.copytree(ROOT / "hf_ood", tmp_path / "hf_ood", ignore=shutil.ignore_patterns("__pycache__"))
    os.truncate(tmp_path / "hf_ood" / "data" / dataset / "assets" / "train.parquet", 5000)
    command = [sys.executable, "-m", "hf_ood", "train", "--dataset", dataset, "--max_steps", "1"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    told = message_of(
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    )
    assert "train.parquet" in told and "pip install --force-reinstall" in told
