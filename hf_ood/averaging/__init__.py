"""What becomes of the weights that a training passes through. A new one is one file here, and its name in
`AVERAGINGS`."""

from .base import Averaging

AVERAGINGS: dict[str, type[Averaging]] = {}

__all__ = ["AVERAGINGS", "Averaging"]
