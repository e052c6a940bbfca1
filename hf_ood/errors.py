"""Mistakes of a user, in words: what commands print instead of a traceback, and names that do not exist."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence

MOST_NAMED = 40  # an error of pages hides what it says


class UsageError(SystemExit):
    """A command that cannot be carried out as it was given: printed without a traceback, exit status 2."""

    def __init__(self, message: str):
        print(f"error: {message}", file=sys.stderr)  # noqa: T201 (a command line's errors go to the terminal)
        super().__init__(2)
        self.message = message


def unknown_name(kind: str, name: str, known: Sequence[str]) -> str:
    """The message for a name that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
    return f"Unknown {kind} {name!r}.{hint} There are: {', '.join(known[:MOST_NAMED])}{more}."
