"""JSON as the standard has it: what is undefined is null, never NaN or Infinity, which others cannot read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def json_text(value: Any, indent: int | None = None) -> str:
    """The value as JSON, with null for every number that is not finite."""
    return json.dumps(defined(value), indent=indent, ensure_ascii=False, allow_nan=False)


def defined(value: Any) -> Any:
    """The value with None for every number in it that is not finite; mappings, lists and tuples are looked
    into."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: defined(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [defined(inner) for inner in value]
    return value


def read_object(file: Path) -> dict[str, Any]:
    """A JSON file that holds an object. Raises `ValueError` naming the file when it is damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse)
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} is damaged (it holds {type(found).__name__}, not an object)")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
