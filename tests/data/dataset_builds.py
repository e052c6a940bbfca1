"""Builds of a small dataset in processes of their own, which are killed on the way."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, disable_progress_bars

from hf_ood.data import CardText
from hf_ood.data.publish import write_dataset_folder

OLD, NEW = ["x", "y"], ["p", "q", "r", "s"]
STEPS = ("open", "os.rename", "os.mkdir", "os.link", "os.remove", "os.rmdir", "shutil.rmtree", "ctypes.dlsym")


def small_dataset(texts: list[str]) -> DatasetDict:
    names = ClassLabel(names=["a", "b"])
    features = Features({"text": Value("string"), "label": names, "environment": names})
    rows = {"text": texts, "label": [0, 1] * (len(texts) // 2), "environment": [0, 1] * (len(texts) // 2)}
    return DatasetDict({split: Dataset.from_dict(rows, features=features) for split in ("train", "test")})


def build(folder: Path, texts: list[str], configurations: tuple[str, ...], **options: Any) -> Path:
    disable_progress_bars()
    return write_dataset_folder(
        folder, {name: small_dataset(texts) for name in configurations}, CardText("Texts", "mit"), **options
    )


def content(folder: Path) -> dict[str, str]:
    """The folder's files by their paths in it: digests, or where links lead."""
    return {
        file.relative_to(folder).as_posix(): os.readlink(file)
        if file.is_symlink()
        else hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_symlink() or file.is_file()
    }


def build_until(folder: Path, killed_at: int) -> None:
    """Build, and die of `kill -9` at this many steps into files beside or in the folder."""
    steps = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal steps
        place = str(arguments[0]) if arguments else ""
        if event in STEPS and (str(folder.parent) in place or event == "ctypes.dlsym"):
            if steps == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
            steps += 1

    sys.addaudithook(count)
    build(folder, NEW, ("one", "two"))


def main(folder: Path) -> None:
    """Builds that are killed at their first step, at their second, ... until one ends; after each, a line
    with the exit status and what is in the folder. Each is forked from this process."""
    for step in itertools.count():
        child = os.fork()
        if child == 0:
            build_until(folder, step)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        print(json.dumps([os.waitstatus_to_exitcode(status), content(folder)]), flush=True)  # noqa: T201
        if not os.WIFSIGNALED(status):
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
