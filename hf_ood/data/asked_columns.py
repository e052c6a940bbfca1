"""What a user says about the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .targets import CLASSIFICATION


@dataclass(frozen=True)
class Columns:
    """What a dataset's columns hold.

    `image`: None: the only column of images. `text`: one column, or two for sentence pairs; None: images.
    `environment`: one column, or several whose combinations are the environments. `features`: columns of
    numbers, lists of numbers and categories, which together are vectors; None: images or texts. `audio`:
    None: the only column of sounds, where the model takes sounds. `task`: what the label says:
    `classification`, `regression` (`label` holds numbers), or `multi_label` (`label` names several columns of
    0 and 1, or one of lists).
    """

    label: str | Sequence[str] = "label"
    environment: Sequence[str] = ("environment",)
    image: str | None = None
    text: Sequence[str] | None = None
    features: Sequence[str] | None = None
    audio: str | None = None
    task: str = CLASSIFICATION

    @property
    def labels(self) -> list[str]:
        return [self.label] if isinstance(self.label, str) else list(self.label)
