"""How every dataclass of this package declares an option: its default, the sentence that `--help` shows, and
where a sweep looks for it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Search:
    """The space of an option: `low` to `high`, evenly, or evenly in its logarithm; `source`: whose it is."""

    low: float
    high: float
    source: str
    log: bool = False


def option(default: Any, help: str, search: Search | None = None) -> Any:
    """A dataclass field; a list as default is copied for each instance."""
    metadata: dict[str, Any] = {"help": help, **({"search": search} if search else {})}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)
