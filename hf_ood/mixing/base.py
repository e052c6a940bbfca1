"""What is done to a training batch before the network sees it."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar


@dataclass
class Mixing(ABC):
    """Base class. A method is a dataclass: its fields are its hyper-parameters."""

    name: ClassVar[str]
    equation: ClassVar[str] = ""
    """What it does, in LaTeX, for model cards."""
    citation: ClassVar[str] = ""
    """The paper, as a BibTeX entry."""
