"""The numbers of a dossier, and whether they are those of the files that it is made from."""

from __future__ import annotations

from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from hf_ood.reporting.dossier.numbers import at


class Numbers(HTMLParser):
    """The `data` elements of a page (value, where from, text), and the text outside them."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[float, str, str]] = []
        self.outside = ""
        self.inside: tuple[float, str] | None = None
        self.skipped = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.skipped += tag in ("style", "code")
        if tag == "data":
            self.inside = float(str(named["value"])), str(named["title"])

    def handle_endtag(self, tag: str) -> None:
        self.skipped -= tag in ("style", "code")
        if tag == "data":
            self.inside = None

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.found.append((*self.inside, data))
        elif not self.skipped:
            self.outside += f"{data} "


def looked_up(page: Path, files: Mapping[str, Any]) -> int:
    """How many numbers were found in `files` (name -> content), where the page says they are; each is the one
    there, and shown as such, whether it is there or computed."""
    found = 0
    for value, source, text in Numbers(page.read_text()).found:
        shown, digits = float(text.rstrip(" %").replace(",", "")), len(text.rstrip(" %").partition(".")[2])
        assert shown in (round(100 * value, digits), round(value, digits)), (text, source)
        file, _, path = source.partition("/")
        if file in files and ":" not in path and not path.endswith("minus in-domain"):
            assert at(files[file], path) == value, source
            found += 1
    return found
