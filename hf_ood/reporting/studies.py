"""Studies as one page: verdicts, tables, figures; HTML with everything inside it, and Markdown."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape
from matplotlib.figure import Figure

from ..evaluation.verdicts import RULE
from ..files import replace_text
from ..names import markdown
from .study_figure import draw_study
from .summaries import Illustration, StudySummary

TEMPLATES = Path(__file__).parent / "templates"
CLAIMS_BLOCK = re.compile(r"(<!-- studies -->\n).*?(<!-- /studies -->)", re.DOTALL)


def write_page(
    summaries: Sequence[StudySummary], illustrations: Sequence[Illustration], folder: Path
) -> Path:
    """Write `report.html` (self-contained) and `report.md` (tables); returns the first."""
    context = {"summaries": summaries, "illustrations": illustrations, "rule": RULE}
    images = {summary.name: _inline(draw_study(summary)) for summary in summaries}
    for picture in (*illustrations, *(picture for summary in summaries for picture in summary.pictures)):
        images[picture.name] = _inline(picture.content)
    page = folder / "report.html"
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(page, _render("studies.html", **context, images=images))
    replace_text(folder / "report.md", _render("studies.md", **context))
    return page


def write_readme(summaries: Sequence[StudySummary], readme: Path) -> None:
    """Put the table of claims between a document's `<!-- studies -->` marks.

    Raises `ValueError` when there are none.
    """
    text = readme.read_text(encoding="utf-8")
    if not CLAIMS_BLOCK.search(text):
        raise ValueError(f"{readme} has no <!-- studies --> ... <!-- /studies --> marks.")
    table = _render("claims.md", summaries=summaries)
    replace_text(readme, CLAIMS_BLOCK.sub(lambda marks: marks[1] + table + marks[2], text))


def _render(template: str, **context: object) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["name"] = markdown
    return environment.get_template(template).render(**context)


def _inline(content: Figure | Path) -> str:
    if isinstance(content, Path):
        data = content.read_bytes()
    else:
        buffer = io.BytesIO()
        content.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
        data = buffer.getvalue()
    return "data:image/png;base64," + base64.b64encode(data).decode()
