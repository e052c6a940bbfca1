"""Builds of a small dataset in processes of their own, which are killed on the way."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, disable_progress_bars

from hf_ood.data import CardText
from hf_ood.data.publish import write_dataset_folder

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


def build_until(folder: Path, texts: list[str], configurations: tuple[str, ...], killed_at: int) -> None:
    """Build, and die of `kill -9` at this many steps into files beside or in the folder; -1: say how many."""
    steps = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal steps
        place = str(arguments[0]) if arguments else ""
        if event in STEPS and (str(folder.parent) in place or event == "ctypes.dlsym"):
            if steps == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
            steps += 1

    sys.addaudithook(count)
    build(folder, texts, configurations)
    (folder.parent / "steps").write_text(str(steps))
