"""A dataset folder is the old one or the new one, whenever its build is killed."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
from data.dataset_builds import build, build_until, small_dataset
from datasets import DatasetDict, load_dataset

from hf_ood.data import CardText
from hf_ood.data.publish import write_dataset_folder

OLD, NEW = ["x", "y"], ["p", "q", "r", "s"]


def content(folder: Path) -> dict[str, bytes | str]:
    return {
        file.relative_to(folder).as_posix(): os.readlink(file) if file.is_symlink() else file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_symlink() or file.is_file()
    }


def with_own_files(folder: Path) -> dict[str, bytes | str]:
    build(folder, OLD, ("one", "gone"), samples={"gone": b"a picture"})
    (folder / "notes").mkdir()
    (folder / "one" / "mine.txt").write_text("mine")
    (folder / "notes" / "diary.md").write_text("dear diary")
    (folder / "samples" / "mine.png").write_bytes(b"my picture")
    (folder / "here").symlink_to("notes")
    own = ("one/mine.txt", "notes/diary.md", "samples/mine.png", "here")
    return {name: value for name, value in content(folder).items() if name in own}


@pytest.mark.slow
def test_killed_at_any_point_the_folder_is_whole(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["data.dataset_builds"])
    folder = tmp_path / "data"
    own = with_own_files(folder)
    before = content(folder)
    build(tmp_path / "fresh" / "data", NEW, ("one", "two"))
    after = {**content(tmp_path / "fresh" / "data"), **own}

    def run(killed_at: int) -> int | None:
        process = processes.Process(target=build_until, args=(folder, NEW, ("one", "two"), killed_at))
        process.start()
        process.join(60)
        return process.exitcode

    scratch = tmp_path / "fresh" / "again"
    process = processes.Process(target=build_until, args=(scratch, NEW, ("one", "two"), -1))
    process.start()
    process.join(60)
    least = int((scratch.parent / "steps").read_text())
    outcomes, step = [], 0
    while (code := run(step)) == -9:
        found = content(folder)
        assert found in (before, after), f"neither the old nor the new folder after {step} steps"
        outcomes.append(found == after)
        step += 1
    assert code == 0 and content(folder) == after
    assert step >= least and outcomes == sorted(outcomes) and {*outcomes} == {False, True}
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")], "nothing is left beside it"


def test_what_earlier_builds_left_is_gone_and_what_they_did_not_write_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = with_own_files(tmp_path / "data")
    build(tmp_path / "data", NEW, ("one", "two"))
    build(tmp_path / "fresh", NEW, ("one", "two"))
    assert content(tmp_path / "data") == {**content(tmp_path / "fresh"), **own}
    read = load_dataset(str(tmp_path / "data"), "two", split="test", cache_dir=str(tmp_path / "cache"))
    assert read["text"][:] == NEW
    assert "no longer has the configurations gone" in caplog.text


@pytest.mark.parametrize("name", ["README.md", "one/train-00000-of-00001.parquet", "one/train-notes.parquet"])
def test_files_of_the_users_are_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / "data" / "one").mkdir(parents=True)
    (tmp_path / "data" / name).write_bytes(b"mine")
    with pytest.raises(ValueError, match=f"{name}.* is not a file of an earlier build"):
        build(tmp_path / "data", NEW, ("one",))
    assert content(tmp_path / "data") == {name: b"mine"}
    assert [file.name for file in tmp_path.iterdir()] == ["data"]


def test_a_build_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = with_own_files(tmp_path / "data")
    before = content(tmp_path / "data")
    with pytest.raises(ValueError, match="no column 'environment'"):
        splits = small_dataset(NEW).remove_columns("environment")
        write_dataset_folder(tmp_path / "data", {"one": splits}, CardText("Texts", "mit"))
    assert content(tmp_path / "data") == before and own
    monkeypatch.chdir(tmp_path / "data" / "notes")
    with pytest.raises(ValueError, match="run this from outside it"):
        build(tmp_path / "data", NEW, ("one",))


@pytest.mark.parametrize("name", ["../out", "a/b", "..", "", "a b", "[red]", "samples", "n" * 200, "-x"])
def test_names_that_are_no_folders_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="A configuration cannot be called"):
        build(tmp_path / "data", NEW, (name,))
    assert not list(tmp_path.iterdir())
    splits = DatasetDict({"x/../../y": small_dataset(NEW)["train"]})
    with pytest.raises(ValueError, match="A split cannot be called"):
        write_dataset_folder(tmp_path / "data", {"one": splits}, CardText("Texts", "mit"))
