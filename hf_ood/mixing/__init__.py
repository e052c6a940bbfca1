"""What is done to a training batch before the network sees it. A new one is one file here, and its name in
`MIXINGS`."""

from .base import Mixing

MIXINGS: dict[str, type[Mixing]] = {}

__all__ = ["MIXINGS", "Mixing"]
