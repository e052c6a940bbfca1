"""Code of the documents, run as it is printed."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs"


def run_block(document: str, number: int, **given: Any) -> dict[str, Any]:
    """Run a document's block of Python (from 0), which may use what is `given` -> all that it names."""
    blocks = re.findall(r"```python\n(.*?)```", (FOLDER / document).read_text(), re.DOTALL)
    module = ModuleType(f"{document.removesuffix('.md')}_{number}")
    sys.modules[module.__name__] = module  # where dataclasses look for the names of annotations
    vars(module).update(given)
    exec(compile(blocks[number], f"{document}, block {number}", "exec"), vars(module))
    return vars(module)
