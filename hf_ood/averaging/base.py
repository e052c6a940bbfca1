"""What becomes of the weights that a training passes through."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar


@dataclass
class Averaging(ABC):
    """Base class. A method is a dataclass: its fields are its hyper-parameters."""

    name: ClassVar[str]
    equation: ClassVar[str] = ""
    """What it does, in LaTeX, for model cards."""
    citation: ClassVar[str] = ""
    """The paper, as a BibTeX entry."""
