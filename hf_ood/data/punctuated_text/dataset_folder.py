"""The rated sentences as a folder that plain `datasets.load_dataset` reads."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..publish import write_dataset_folder
from .card import card_text
from .configurations import CONFIGURATIONS, Shift, check_options
from .sentences import fetch_package, read_rated_sentences


def write_punctuated_text(
    folder: str | Path,
    configurations: list[str],
    package: Path | None = None,
    shift: Shift | None = None,
    repo_id: str | None = None,
) -> Path:
    """Build configurations into a folder that `load_dataset` reads; fetch the package if it is not given.

    Raises `ValueError` for an unknown configuration, `ConnectionError` when pip cannot fetch the package.
    """
    for name in configurations:
        check_options(name)
    with tempfile.TemporaryDirectory() as place:
        sentences = read_rated_sentences(package or fetch_package(Path(place)))
    built = {name: CONFIGURATIONS[name](sentences, shift or Shift()) for name in configurations}
    return write_dataset_folder(folder, built, card_text(shift or Shift()), repo_id=repo_id)
