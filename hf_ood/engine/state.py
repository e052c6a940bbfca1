"""What lives between steps, and how it is kept beside a checkpoint's weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import safetensors
from safetensors.torch import load_file, save_file
from torch import Tensor


class Stateful(Protocol):
    """Something that lives between steps. `kind` names its method: state of another one does not fit."""

    @property
    def kind(self) -> str: ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None: ...


def state_file(part: str) -> str:
    """The file of a part's state in a checkpoint."""
    return f"{part}.safetensors"


def save_parts(parts: Mapping[str, Stateful], folder: str | Path, writes: bool = True) -> None:
    """One file for each part. All processes call it, since a part may ask the others; those that do not
    `write` leave it at that."""
    for name, part in parts.items():
        state = {key: value.contiguous() for key, value in part.state_dict().items()}
        if writes:
            save_file(state, Path(folder) / state_file(name), metadata={"kind": part.kind})


def load_parts(parts: Mapping[str, Stateful], folder: str | Path) -> None:
    """Restore what `save_parts` saved.

    Raises `ValueError` for a part that the folder lacks or holds of another method, and for one that it
    holds and nobody asks for.
    """
    folder = Path(folder)
    for name, part in parts.items():
        file = folder / state_file(name)
        if not file.exists():
            raise ValueError(
                f"{folder} holds no {file.name}: it was not trained with {part.kind}. Start again, or resume "
                "without it."
            )
        with safetensors.safe_open(file, framework="pt") as saved:
            metadata = saved.metadata() or {}
        kind = metadata.get("kind") or metadata.get(name) or part.kind
        if kind != part.kind:
            raise ValueError(
                f"{folder} was trained with {kind}, not with {part.kind}: start again, or resume with {kind}."
            )
        part.load_state_dict(load_file(file))
