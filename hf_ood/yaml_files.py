"""YAML files of users, whose mistakes are told with their lines."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

import yaml

KeyPath = tuple[str | int, ...]


def read_mapping(file: Path | str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """What a YAML file says, and in which line.

    `lines`: by the path to a setting, as `("irm", "l2")`. Raises `ValueError`, with the line, for what is not
    YAML in UTF-8, for a key that comes twice, and for a file that is no mapping; `OSError` for a file that
    cannot be read.
    """
    text = read_utf8(Path(file))
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        if root is None or not isinstance(root, yaml.MappingNode):
            raise ValueError(f"{file} must hold `flag: value` lines.")
        lines: dict[KeyPath, int] = {}
        _note_lines(root, (), lines, str(file), set())
        content = _with_names(yaml.safe_load(text))
    except yaml.MarkedYAMLError as error:
        raise ValueError(_not_yaml(str(file), error)) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{file} is not valid YAML: {' '.join(str(error).split())}.") from error
    return content, lines


def _with_names(value: Any) -> Any:
    """Keys as text: YAML reads 0.1, on and 2024-01-01 as something else."""
    if isinstance(value, dict):
        return {str(key): _with_names(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_names(inner) for inner in value]
    return value


def read_utf8(file: Path) -> str:
    """The text of a file, with or without a byte-order mark. Raises `ValueError` for another encoding."""
    content = file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        which = "UTF-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "another encoding"
        raise ValueError(
            f"{file}, line {line} is not UTF-8 text but {which}, or damaged: save it as UTF-8."
        ) from error
    if "\0" in text:
        raise ValueError(f"{file} is not UTF-8 text: it holds zero bytes, as UTF-16 and damaged files do.")
    return text


def _not_yaml(file: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line = f", line {mark.line + 1}" if mark else ""
    tab = " Indent with spaces." if "\\t" in str(error.problem) else ""
    return f"{file}{line} is not valid YAML: {error.problem or error.context}.{tab}"


def _note_lines(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], file: str, seen: set[int]) -> None:
    """`seen`: the nodes so far; one that comes again by an alias is not gone through again."""
    if isinstance(node, yaml.CollectionNode):
        if id(node) in seen:
            return
        seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = (*path, str(key.value))
            line = key.start_mark.line + 1
            if name in lines:
                raise ValueError(f"{file}, line {line}: {key.value} was given in line {lines[name]} already.")
            if key.tag == "tag:yaml.org,2002:null":
                raise ValueError(f"{file}, line {line}: a setting has no name.")
            lines[name] = line
            _note_lines(value, name, lines, file, seen)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            lines[(*path, number)] = value.start_mark.line + 1
            _note_lines(value, (*path, number), lines, file, seen)
