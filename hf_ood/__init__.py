"""Out-of-distribution generalisation for the Hugging Face ecosystem.

What there is stands in `__init__.pyi`; it is imported when it is first asked for.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import lazy_loader

from .moved import find_old_names

find_old_names()
__version__ = "0.1.0"
_exported, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """A public name, or a room: `hf_ood.data` is there without an import of its own."""
    if name not in __all__ and not name.startswith("_") and find_spec(f"{__name__}.{name}"):
        return import_module(f"{__name__}.{name}")
    return _exported(name)
