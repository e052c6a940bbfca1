"""A dataset folder is the old one or the new one, whenever its build is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from data.dataset_builds import NEW, OLD, build, content, small_dataset
from datasets import DatasetDict, load_dataset

from hf_ood.data import CardText
from hf_ood.data.publish import write_dataset_folder


def with_own_files(folder: Path) -> dict[str, str]:
    build(folder, OLD, ("one", "gone"), samples={"gone": b"a picture"})
    (folder / "notes").mkdir()
    (folder / "one" / "mine.txt").write_text("mine")
    (folder / "notes" / "diary.md").write_text("dear diary")
    (folder / "samples" / "mine.png").write_bytes(b"my picture")
    (folder / "here").symlink_to("notes")
    own = ("one/mine.txt", "notes/diary.md", "samples/mine.png", "here")
    return {name: value for name, value in content(folder).items() if name in own}


@pytest.mark.nightly
def test_killed_at_any_point_the_folder_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    own = with_own_files(folder)
    before = content(folder)
    after = {**content(build(tmp_path / "fresh", NEW, ("one", "two"))), **own}
    command = [sys.executable, str(Path(__file__).with_name("dataset_builds.py")), str(folder)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr
    *killed, (code, last) = [json.loads(line) for line in finished.stdout.splitlines()]
    assert code == 0 and last == after and len(killed) > 20
    for step, (code, found) in enumerate(killed):
        assert code == -9 and found in (before, after), f"neither the old nor the new one after {step} steps"
    states = [found == after for _, found in killed]
    assert not states[0] and states[-1] and states == sorted(states)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data", "fresh"], "nothing is left beside it"


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
    assert list(content(tmp_path / "data")) == [name]
    assert (tmp_path / "data" / name).read_bytes() == b"mine"
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


def test_a_file_system_that_cannot_exchange_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hf_ood.files._exchange", lambda one, other: False)
    own = with_own_files(tmp_path / "data")
    fresh = content(build(tmp_path / "fresh", NEW, ("one",)))
    assert content(build(tmp_path / "data", NEW, ("one",))) == {**fresh, **own}
    (tmp_path / "data").rename(tmp_path / ".data.old-build")  # killed between its two moves
    assert content(build(tmp_path / "data", OLD, ("one",))).keys() == {**fresh, **own}.keys()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data", "fresh"]
