"""What turns gradients into a step of the weights. A new one is one file here, and its name in
`UPDATES`."""

from .base import Update

UPDATES: dict[str, type[Update]] = {}

__all__ = ["UPDATES", "Update"]
