"""Names from data on the terminal: no markup, no emoji codes, no control sequences."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from ..names import one_line, visible


def plain(name: object) -> Text:
    """A name, or a sentence with names in it, for a cell, a heading or a title of a rich table."""
    return Text(visible(name))


def say(console: Console, sentence: str) -> None:
    """Print a sentence as it is, lines as long as they are."""
    console.print(Text("\n".join(map(one_line, sentence.split("\n")))), soft_wrap=True)
