"""What a build left in a dataset folder, told from files of the user's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from datasets import DatasetDict
from huggingface_hub import DatasetCard
from yaml import YAMLError

CARD_FILE = "README.md"
SAMPLES_FOLDER = "samples"
TAG = "hf_ood"  # of every card that a build wrote
SHARD = re.compile(r".+-\d{5}-of-\d{5}\.parquet")


def built_configurations(folder: Path) -> set[str]:
    """The configurations that an earlier build wrote here; empty where its card is not a build's."""
    return card_configurations(folder / CARD_FILE) if _is_ours(folder / CARD_FILE) else set()


def _is_ours(card: Path) -> bool:
    """Whether a build wrote this card."""
    if not card.is_file():
        return False
    try:
        data = DatasetCard.load(card, ignore_metadata_errors=True).data.to_dict()
    except (ValueError, OSError, YAMLError):
        return False
    return TAG in (data.get("tags") or []) and bool(data.get("configs"))


def of_earlier_build(folder: Path, configurations: set[str]) -> Callable[[Path], bool]:
    """Which files of the folder its card describes."""
    ours = _is_ours(folder / CARD_FILE)
    pictures = {f"{name}.png" for name in configurations}

    def is_ours(file: Path) -> bool:
        if len(file.parts) == 1:
            return ours and file.name == CARD_FILE
        place, *inner = file.parts
        if len(inner) > 1:
            return False
        if place in configurations and SHARD.fullmatch(file.name):
            return True
        return place == SAMPLES_FOLDER and file.name in pictures

    return is_ours


def refuse_others_as_shards(
    folder: Path, configurations: Mapping[str, DatasetDict], is_ours: Callable[[Path], bool]
) -> None:
    """Raise `ValueError` for a file that `load_dataset` would read as part of a split, and is none."""
    for name, splits in configurations.items():
        for file in sorted((folder / name).glob("*")):
            if file.name.startswith(tuple(f"{split}-" for split in splits)) and not is_ours(
                file.relative_to(folder)
            ):
                raise ValueError(
                    f"{file} is not a file of an earlier build, and would be read as part of a split: move "
                    "it away, or choose another folder."
                )


def card_configurations(file: str | Path) -> set[str]:
    return {entry["config_name"] for entry in DatasetCard.load(file).data.to_dict().get("configs", [])}
