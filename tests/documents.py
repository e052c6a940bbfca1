"""Code of the documents, run as it is printed."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs"


def pages() -> list[str]:
    """Every page of the site, relative to `docs/`, and the README."""
    return ["../README.md", *sorted(str(page.relative_to(FOLDER)) for page in FOLDER.rglob("*.md"))]


def code_blocks(document: str, language: str) -> list[str]:
    """A document's blocks in a language, in order."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", (FOLDER / document).read_text(), re.DOTALL | re.MULTILINE
    )


def run_blocks(document: str, blocks: list[str], **given: Any) -> dict[str, Any]:
    """Run blocks of Python one after the other, as one module that may use what is `given` -> all that it
    names."""
    module = ModuleType(re.sub(r"\W", "_", document))
    sys.modules[module.__name__] = module  # where dataclasses look for the names of annotations
    vars(module).update(given)
    for number, block in enumerate(blocks):
        exec(compile(block, f"{document}, block {number}", "exec"), vars(module))
    return vars(module)


def run_block(document: str, number: int, **given: Any) -> dict[str, Any]:
    """Run a document's block of Python (from 0), which may use what is `given` -> all that it names."""
    return run_blocks(f"{document}_{number}", [code_blocks(document, "python")[number]], **given)
