"""Recipes: settings of runs as YAML files, whose mistakes are told with their lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..yaml_files import KeyPath, read_mapping
from .settings import Settings, SettingsError, spec_from_settings
from .spec import RunSpec

BESIDE, BENCH = "beside", "bench"


@dataclass(frozen=True)
class Recipe:
    """What a file says, and in which line; `lines`: by the path to a setting, as `("irm", "l2")`.

    `beside`: further runs of a comparison, by name: the settings in which each differs. `bench`: what
    `hf-ood bench` makes of the recipe.
    """

    file: str
    settings: Settings
    lines: dict[KeyPath, int]
    beside: dict[str, Settings] = field(default_factory=dict)
    bench: Any = field(default_factory=dict)

    def where(self, path: Sequence[str | int]) -> str:
        """`quickstart.yaml, line 7`: the line of a setting, or of the nearest one that holds it."""
        for length in range(len(path), 0, -1):
            if line := self.lines.get(tuple(path[:length])):
                return f"{self.file}, line {line}"
        return self.file

    def spec(self, command: str = "") -> RunSpec:
        """The run that it describes. Raises `ValueError` with file and line."""
        try:
            return spec_from_settings(self.settings, command)
        except SettingsError as error:
            raise ValueError(f"{self.where(error.path)}: {error}") from error
        except ValueError as error:
            raise ValueError(f"{self.file}: {error}") from error


def read_recipe(file: Path | str) -> Recipe:
    """Raises `ValueError`, with the line, for what is not YAML, for a key that comes twice, and for a file
    that is no mapping; `OSError` for a file that cannot be read."""
    content, lines = read_mapping(file)
    recipe = Recipe(str(file), content, lines)
    beside, bench = content.pop(BESIDE, {}), content.pop(BENCH, {})
    if not isinstance(beside, dict) or not all(isinstance(entry, dict) for entry in beside.values()):
        raise ValueError(f"{recipe.where([BESIDE])}: {BESIDE} must be runs by name, each with its settings.")
    return replace(recipe, beside=beside, bench=bench)
