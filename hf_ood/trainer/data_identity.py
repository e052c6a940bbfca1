"""Which rows a checkpoint was trained on, so that training does not go on with others unnoticed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data import EnvironmentDataset
from ..data.fingerprint import fingerprint
from ..manifest import read_manifest

SHOWN = {
    "label_names": "classes",
    "environment_names": "environments",
    "rows": "number of rows",
    "fingerprint": "contents of the rows",
}


def data_identity(dataset: EnvironmentDataset) -> dict[str, Any]:
    """Names of classes and environments, the number of rows and their SHA-256: what a manifest keeps."""
    return {
        "label_names": dataset.label_names,
        "environment_names": dataset.environment_names,
        "rows": len(dataset),
        "fingerprint": fingerprint({"train": dataset}),
    }


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """What differs between two identities, in words, `theirs` before `ours`."""
    found = []
    for key, name in SHOWN.items():
        if ours.get(key) != theirs.get(key):
            told = "" if key == "fingerprint" else f" ({theirs.get(key)}, now {ours.get(key)})"
            found.append(f"{name}{told}")
    return found


def refuse_other_data(checkpoint: str | Path, dataset: EnvironmentDataset) -> None:
    """Raise `ValueError` where the checkpoint was trained on other rows; one that does not say is taken."""
    theirs = (read_manifest(Path(checkpoint)) or {}).get("data")
    if theirs is None:
        return
    if different := differences(data_identity(dataset), theirs):
        raise ValueError(
            f"{checkpoint} was trained on other data: {', '.join(different)}. Give it the data that it was "
            "trained on, or start over (with its weights: from_pretrained, or --start_from)."
        )
