"""A run that was killed, whenever and however often, ends as the undisturbed one, or says what is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from killed import FLAGS, assert_same_run, finish, kill_when, results_of, start, write_patients
from safetensors.torch import load_file

from hf_ood.cli.train import main as train
from hf_ood.errors import UsageError
from hf_ood.manifest import checkpoints_in

RESUME = ("--resume_from_checkpoint", "true")
STEPS = ("--max_steps", "7", "--method", "irm+ema")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_patients(tmp_path_factory.mktemp("data") / "patients.csv"))


@pytest.fixture(scope="module")
def whole(table: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(["--dataset", table, *FLAGS, *STEPS, "--output_dir", str(folder)])
    return folder


@pytest.fixture
def flags(table: str, tmp_path: Path) -> list[str]:
    return ["--dataset", table, *FLAGS, *STEPS, "--output_dir", str(tmp_path / "run")]


@pytest.fixture
def interrupted(whole: Path, tmp_path: Path) -> Path:
    """The folder of a run that was killed between its last checkpoint and its results."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    remove_results(folder)
    return folder


def error_of(capsys: pytest.CaptureFixture[str], flags: list[str]) -> str:
    with pytest.raises(UsageError):
        train(flags)
    return capsys.readouterr().err


@pytest.mark.slow
def test_killed_between_the_last_step_and_the_results(whole: Path, flags: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    kill_when((run / "checkpoint-7" / "manifest.json").exists, *flags)
    assert checkpoints_in(run)[-1].name == "checkpoint-7" and not (run / "results.json").exists()
    train([*flags, *RESUME])
    assert_same_run(run, whole)
    assert results_of(run)["steps"] == 7


def test_a_finished_run_stays_as_it_is(whole: Path, table: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {file.name: file.read_bytes() for file in whole.iterdir() if file.is_file()}
    results = train(["--dataset", table, *FLAGS, *STEPS, "--output_dir", str(whole), *RESUME])
    assert "is finished: nothing is left to train" in capsys.readouterr().out
    assert results["steps"] == 7
    assert {file.name: file.read_bytes() for file in whole.iterdir() if file.is_file()} == before


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 4, 6, 7])
def test_a_run_ends_alike_from_every_checkpoint(
    step: int, whole: Path, interrupted: Path, flags: list[str]
) -> None:
    for checkpoint in checkpoints_in(interrupted):
        if int(checkpoint.name[11:]) > step:
            shutil.rmtree(checkpoint)
    train([*flags, *RESUME])
    assert_same_run(interrupted, whole)


def test_killed_before_the_first_checkpoint(whole: Path, interrupted: Path, flags: list[str]) -> None:
    for checkpoint in checkpoints_in(interrupted):
        if checkpoint.name == "checkpoint-2":
            (checkpoint / "manifest.json").unlink()  # killed while it was written
            (checkpoint / "trainer_state.json").unlink()
        else:
            shutil.rmtree(checkpoint)
    train([*flags, *RESUME])
    assert_same_run(interrupted, whole)


def test_killed_while_the_final_files_moved_into_place(whole: Path, flags: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / "manifest.json").unlink()
    (run / "model.safetensors").write_bytes(b"half of it")
    train([*flags, *RESUME])
    assert_same_run(run, whole)


@pytest.mark.parametrize("part", ["optimizer.pt", "objective.safetensors", "averaging.safetensors"])
def test_a_missing_part_is_named_or_passed_over(
    part: str, whole: Path, interrupted: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    last = interrupted / "checkpoint-7"
    (last / part).unlink()
    said = error_of(capsys, [*flags, "--resume_from_checkpoint", str(last)])
    assert f"{part} is missing. The newest whole checkpoint is {interrupted / 'checkpoint-6'}" in said
    train([*flags, *RESUME])
    assert_same_run(interrupted, whole)


def test_nothing_whole_is_said(
    interrupted: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for checkpoint in checkpoints_in(interrupted):
        weights = checkpoint / "model.safetensors"
        size = weights.stat().st_size
        weights.write_bytes(weights.read_bytes()[: size // 2] + bytes(size - size // 2))
    said = error_of(capsys, [*flags, *RESUME])
    assert "no whole checkpoint" in said and "checkpoint-7/model.safetensors is damaged" in said


def test_other_versions_are_said_and_recorded(
    whole: Path, interrupted: Path, flags: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    note = interrupted / "origin.json"
    origin = json.loads(note.read_text())
    origin["begun_on"] |= {"torch": "2.0.1", "hf_ood's code": "another"}
    note.write_text(json.dumps(origin))
    train([*flags, *RESUME])
    said = caplog.text
    now = json.loads((whole / "origin.json").read_text())["begun_on"]
    assert f"torch 2.0.1, now {now['torch']}" in said and "code another, now" in said
    found = results_of(interrupted)
    changed = {name: now[name] for name in ("torch", "hf_ood's code")}
    assert found.pop("resumed_on") == [changed] == json.loads(note.read_text())["resumed_on"]
    assert found == results_of(whole)


def test_other_rows_are_refused(
    interrupted: Path, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = write_patients(tmp_path / "patients.csv", ill="sick")
    table, own = Path(flags[1]), Path(flags[1]).read_bytes()
    try:
        shutil.copy(edited, table)
        assert "classes (['ill', 'well'], now ['sick', 'well'])" in error_of(capsys, [*flags, *RESUME])
    finally:
        table.write_bytes(own)


def test_a_step_may_be_divided_otherwise(
    interrupted: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(interrupted / "checkpoint-7")
    said = error_of(capsys, [*flags, "--per_device_train_batch_size", "12", *RESUME])
    assert "samples of a step (24, now 12) differ" in said
    divided = ["--per_device_train_batch_size", "12", "--gradient_accumulation_steps", "2"]
    assert train([*flags, *divided, *RESUME])["steps"] == 7


@pytest.mark.slow
def test_a_new_start_finds_nothing_of_the_earlier_one(whole: Path, flags: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / "notes.txt").write_text("the user's own")
    old = run / "earlier" / "checkpoint-7"
    kill_when(lambda: old.exists() and (run / "checkpoint-2" / "manifest.json").exists(), *flags)
    earlier = {path.name for path in (run / "earlier").iterdir()}
    assert {"results.json", "model.safetensors", "manifest.json", "checkpoint-2"} <= earlier
    assert not (run / "results.json").exists() and (run / "notes.txt").exists()
    train([*flags, *RESUME])
    assert_same_run(run, whole)


@pytest.mark.slow
def test_a_second_process_is_refused_until_the_first_one_dies(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = [*flags, "--max_steps", "100000", "--dataloader_num_workers", "1"]
    first = start(*long)
    try:
        while not checkpoints_in(tmp_path / "run"):
            assert first.poll() is None
            time.sleep(0.01)
        begun = time.monotonic()
        assert "Another process is at work in" in error_of(capsys, long)
        assert "Another process is at work in" in error_of(capsys, [*long, *RESUME])
        assert time.monotonic() - begun < 10
    finally:
        os.kill(first.pid, signal.SIGKILL)  # its workers outlive it for a moment
        first.wait()
    kill_when(lambda: True, *long)
    kill_when((tmp_path / "run" / "earlier").exists, *long)
    assert (tmp_path / "run" / "earlier").exists()  # the folder was free


@pytest.fixture(scope="module")
def staged(table: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A whole run of two stages, and its flags but for the folder."""
    place = tmp_path_factory.mktemp("staged")
    stages = [
        {"name": "body", "max_steps": 7},
        {"name": "head", "method": "irm+swad", "max_steps": 5, "per_device_train_batch_size": 12},
    ]
    (place / "recipe.yaml").write_text(json.dumps({"stages": stages}))
    flags = ["--config", str(place / "recipe.yaml"), "--dataset", table, *FLAGS]
    train([*flags, "--output_dir", str(place / "run")])
    return place / "run", flags


def remove_results(folder: Path) -> None:
    for file in json.loads((folder / "manifest.json").read_text())["files"]:
        (folder / file).unlink()
    (folder / "manifest.json").unlink()


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["the whole run's files", "stage 2's files", "stage 2", "stage 1's files"])
def test_a_run_in_stages_ends_alike_wherever_it_was_killed(
    lost: str, staged: tuple[Path, list[str]], tmp_path: Path
) -> None:
    whole, flags = staged
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    remove_results(run)
    if lost == "stage 2's files":
        remove_results(run / "2-head")
    elif lost != "the whole run's files":
        shutil.rmtree(run / "2-head")
    if lost == "stage 1's files":
        remove_results(run / "1-body")
    train([*flags, "--output_dir", str(run), *RESUME])
    for folder in ("1-body", "2-head", ""):
        assert_same_run(run / folder, whole / folder)
    before = (run / "results.json").read_bytes()
    train([*flags, "--output_dir", str(run), *RESUME])
    assert (run / "results.json").read_bytes() == before


@pytest.mark.nightly
def test_two_processes_go_on_as_they_were_and_as_one(flags: list[str], tmp_path: Path) -> None:
    halved = ["--per_device_train_batch_size", "12"]
    status, said = finish(*flags, *halved, processes=2)
    assert status == 0, said
    run, whole, alone = tmp_path / "run", tmp_path / "whole", tmp_path / "alone"
    shutil.copytree(run, whole)
    for name in ("manifest.json", "results.json", "model.safetensors"):
        (run / name).unlink()
    for step in (6, 7):
        shutil.rmtree(run / f"checkpoint-{step}")
    shutil.copytree(run, alone)
    status, said = finish(*flags, *halved, *RESUME, processes=2)
    assert status == 0, said
    assert_same_run(run, whole)
    train([*flags[:-1], str(alone), *RESUME])
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (alone, whole))
    for name, weight in theirs.items():  # the same samples, summed up in another order
        torch.testing.assert_close(ours[name], weight, msg=name)
    history = [results_of(folder)["history"] for folder in (alone, whole)]
    for one, other in zip(*history, strict=True):
        for entry in (one, other):  # Trainer's own means count rows that fill up a process's batch twice
            del entry["validation_loss"], entry["test_loss"]
        assert one == pytest.approx(other, rel=1e-4)
