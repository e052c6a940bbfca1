"""A dossier as one self-contained page, and as a section of a card."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape

from ...files import all_or_nothing
from ...names import markdown, markdown_code, visible
from .content import Evidence, content
from .environments import summary_of
from .forest import draw_forest
from .rounds import Rounds
from .rounds_content import rounds_content

TEMPLATES = Path(__file__).parents[1] / "templates"
PAGE_FILE, MARKDOWN_FILE = "dossier.html", "dossier.md"


def write_dossier(evidence: Evidence, folder: Path) -> Path:
    """Write `dossier.html`, which needs no other file, and `dossier.md`. Returns the page's path; raises what
    `content` raises."""
    return write_page(content(evidence), evidence.pictures, folder)


def write_rounds(
    rounds: Rounds, folder: Path, method: str | None = None, protocol: str | None = None
) -> Path:
    """The same of a sweep or a bench; `method` and `protocol` as of `rounds_content`, whose errors it
    raises."""
    return write_page(rounds_content(rounds, method, protocol), {}, folder)


def write_page(shown: Mapping[str, Any], pictures: Mapping[str, bytes], folder: Path) -> Path:
    """Write what `content` or `rounds_content` gave, with pictures (name -> PNG)."""
    environments = shown["left_out"]
    drawn = io.BytesIO()
    draw_forest(environments, summary_of(environments)).savefig(drawn, dpi=150, format="png")
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"visible": visible, "markdown": markdown, "code": markdown_code}
    images = {name: _inline(picture) for name, picture in pictures.items()}
    page = templates.get_template("dossier.html").render(
        **shown, forest=_inline(drawn.getvalue()), images=images
    )
    section = templates.get_template("dossier.md").render(**shown)
    with all_or_nothing(folder, last=PAGE_FILE) as files:
        (files / MARKDOWN_FILE).write_text(section, encoding="utf-8")
        (files / PAGE_FILE).write_text(page, encoding="utf-8")
    return folder / PAGE_FILE


def _inline(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode()
