"""Mistakes of a user, in words: what commands print instead of a traceback, and names that do not exist."""

from __future__ import annotations

import difflib
import os
import sys
import time
from collections.abc import Sequence

MOST_NAMED = 40  # an error of pages hides what it says
MAIN_PROCESS_FIRST = 3.0  # seconds: a launcher ends the other processes well before


class ForeseenError(Exception):
    """A failure whose message says all that there is to say: commands print it, and no traceback."""


class UsageError(SystemExit):
    """A command that cannot be carried out as it was given: printed without a traceback, exit status 2."""

    def __init__(self, message: str):
        tell(f"error: {message}")
        super().__init__(2)
        self.message = message


def tell(message: str) -> None:
    """Print a message to the terminal, once for all processes of a launcher.

    What goes wrong in all of them is said by the main one, at whose end the launcher ends the others while
    they wait; what goes wrong in another one alone is said by that one.
    """
    rank = int(os.environ.get("RANK") or 0)
    if rank:
        time.sleep(MAIN_PROCESS_FIRST)
        message = f"process {rank}: {message}"
    print(message, file=sys.stderr, flush=True)  # noqa: T201 (a command line's errors go to the terminal)


def unknown_name(kind: str, name: str, known: Sequence[str]) -> str:
    """The message for a name that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
    return f"Unknown {kind} {name!r}.{hint} There are: {', '.join(known[:MOST_NAMED])}{more}."
