"""Below `::: hf_ood.NAME` of a method: its options, from where `--help` has them."""

from __future__ import annotations

import re
from dataclasses import MISSING, Field, fields
from typing import Any

import hf_ood
from hf_ood.discovery import INFERENCES
from hf_ood.methods.last_layer import LAST_LAYERS
from hf_ood.methods.losses import LOSSES
from hf_ood.methods.registry import METHODS
from hf_ood.runs.sections import LOSS

DIRECTIVE = re.compile(r"^::: hf_ood\.(\w+)$", re.MULTILINE)
# The page has its own heading; fields are in the table, and what a method overrides is its base's.
SHOWN = "    options: {members: false, show_root_heading: false, show_bases: false, show_signature: false}"
HEAD = "| option | default | what it is | a sweep draws from |\n|---|---|---|---|"


def on_page_markdown(markdown: str, **_: Any) -> str:
    return DIRECTIVE.sub(lambda found: found[0] + _of_method(getattr(hf_ood, found[1])), markdown)


def _of_method(cls: type) -> str:
    if cls not in (*METHODS.values(), *INFERENCES.values(), *LAST_LAYERS.values(), *LOSSES.values()):
        return ""
    section = LOSS if cls in LOSSES.values() else cls.name
    rows = [_row(section, field) for field in fields(cls) if "help" in field.metadata]
    table = "\n".join([f"\n\n{HEAD}", *rows]) if rows else ""
    return f"\n{SHOWN}{table}"


def _row(method: str, field: Field[Any]) -> str:
    default = field.default if field.default is not MISSING else field.default_factory()
    search = field.metadata.get("search")
    space = (
        "" if search is None else f"{search.low:g} to {search.high:g}{', log' * search.log} ({search.source})"
    )
    cells = (f"`{method}.{field.name}`", f"`{_short(default)}`", field.metadata["help"], space)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _short(default: Any) -> str:
    return f"{default:.4g}" if isinstance(default, float) else str(default)
