"""Colored MNIST as a folder that plain `datasets.load_dataset` reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..publish import write_dataset_folder
from .builder import DEFAULT_CONFIGURATION, load_colored_mnist
from .card import colored_mnist_text
from .configurations import CONFIGURATIONS


def write_colored_mnist(
    folder: str | Path,
    configurations: Iterable[str] = CONFIGURATIONS,
    samples: Mapping[str, bytes] | None = None,
    repo_id: str | None = None,
    **options: Any,
) -> Path:
    """Build configurations of Colored MNIST into a folder; `options` as in `ColoredMNISTConfig`.

    Then `load_dataset(folder, "unseen_colors")` works without this package. `samples`, `repo_id`: as in
    `write_dataset_folder`. Returns the folder.
    """
    built = {name: load_colored_mnist(name, **options) for name in configurations}
    return write_dataset_folder(
        folder,
        built,
        colored_mnist_text(list(built), options),
        default=DEFAULT_CONFIGURATION if DEFAULT_CONFIGURATION in built else None,
        samples=samples,
        repo_id=repo_id,
    )
