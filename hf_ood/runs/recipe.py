"""Recipes: settings of runs as YAML files, whose mistakes are told with their lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from .settings import Settings, SettingsError, spec_from_settings
from .spec import RunSpec

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Recipe:
    """What a file says, and in which line; `lines`: by the path to a setting, as `("irm", "l2")`."""

    file: str
    settings: Settings
    lines: dict[KeyPath, int]

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
    text = Path(file).read_text(encoding="utf-8")
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        raise ValueError(_not_yaml(str(file), error)) from error
    if root is None or not isinstance(root, yaml.MappingNode):
        raise ValueError(f"{file} must hold `flag: value` lines.")
    lines: dict[KeyPath, int] = {}
    _note_lines(root, (), lines, str(file))
    return Recipe(str(file), content, lines)


def _not_yaml(file: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line = f", line {mark.line + 1}" if mark else ""
    tab = " Indent with spaces." if "\\t" in str(error.problem) else ""
    return f"{file}{line} is not valid YAML: {error.problem or error.context}.{tab}"


def _note_lines(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], file: str) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = (*path, str(key.value))
            line = key.start_mark.line + 1
            if name in lines:
                raise ValueError(f"{file}, line {line}: {key.value} was given in line {lines[name]} already.")
            lines[name] = line
            _note_lines(value, name, lines, file)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            lines[(*path, number)] = value.start_mark.line + 1
            _note_lines(value, (*path, number), lines, file)
