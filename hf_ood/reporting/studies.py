"""Studies as one page: verdicts, tables, figures; HTML with everything inside it, and Markdown."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape
from matplotlib.figure import Figure

from ..evaluation.verdicts import PRINTED_RULE, RULE, Place
from ..files import replace_text
from ..names import markdown
from .claims_figure import draw_claims
from .study_figure import draw_study
from .summaries import Illustration, StudySummary, counts, judged

CLAIMS = "claims"  # the picture of all claims
PICTURES = "pictures"
TABLES = "https://github.com/hf-ood/hf_ood/blob/main/hf_ood/results"
HOLM_RULE = (
    "n for a decision: about how many seeds would decide, if mean and spread stay as they are. Holm: whether "
    "the difference is still there when all claims count as one table of tests at 5 %, since of many claims "
    "some differ by chance (Holm 1979)."
)
TEMPLATES = Path(__file__).parent / "templates"
CLAIMS_BLOCK = re.compile(r"(<!-- studies -->\n).*?(<!-- /studies -->)", re.DOTALL)


def write_page(
    summaries: Sequence[StudySummary], illustrations: Sequence[Illustration], folder: Path
) -> Path:
    """Write `report.html` (self-contained) and `report.md` (tables); returns the first."""
    claims = judged(summaries)
    images = {summary.name: _inline(draw_study(summary)) for summary in summaries}
    images[CLAIMS] = _inline(draw_claims(claims))
    for picture in (*illustrations, *(picture for summary in summaries for picture in summary.pictures)):
        images[picture.name] = _inline(picture.content)
    tables = {summary.name: _inline_table(summary.table) for summary in summaries if summary.table}
    page = folder / "report.html"
    folder.mkdir(parents=True, exist_ok=True)
    context = _context(summaries)
    replace_text(
        page, _render("studies.html", **context, illustrations=illustrations, images=images, tables=tables)
    )
    links = {summary.name: _link(summary.table, folder) for summary in summaries if summary.table}
    replace_text(folder / "report.md", _render("studies.md", **context, tables=links, images={}))
    return page


def write_docs_page(summaries: Sequence[StudySummary], document: Path) -> None:
    """Write the page as a Markdown document, its pictures in files beside it."""
    folder = document.parent / PICTURES / document.stem
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {summary.name: draw_study(summary) for summary in summaries}
    pictures[CLAIMS] = draw_claims(judged(summaries))
    for name, figure in pictures.items():
        (folder / f"{name}.png").write_bytes(_png(figure, dpi=80))
    for old in folder.glob("*.png"):
        if old.stem not in pictures:
            old.unlink()
    images = {name: f"{PICTURES}/{document.stem}/{name}.png" for name in pictures}
    tables = {summary.name: _address(summary.table) for summary in summaries if summary.table}
    replace_text(document, _render("studies.md", **_context(summaries), tables=tables, images=images))


def _context(summaries: Sequence[StudySummary]) -> dict[str, object]:
    claims = judged(summaries)
    printed = [row for summary in summaries for row in summary.printed]
    return {
        "summaries": summaries,
        "claims": claims,
        "counted": list(counts(claims)),
        "surviving": sum(each.survives for each in claims),
        "places": {place: sum(row.place is place for row in printed) for place in Place},
        "rule": RULE,
        "printed_rule": PRINTED_RULE,
        "holm_rule": HOLM_RULE,
    }


def write_readme(summaries: Sequence[StudySummary], readme: Path) -> None:
    """Put the table of claims between a document's `<!-- studies -->` marks.

    Raises `ValueError` when there are none.
    """
    text = readme.read_text(encoding="utf-8")
    if not CLAIMS_BLOCK.search(text):
        raise ValueError(f"{readme} has no <!-- studies --> ... <!-- /studies --> marks.")
    table = _render("claims.md", claims=judged(summaries))
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
    data = content.read_bytes() if isinstance(content, Path) else _png(content, dpi=110)
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _png(figure: Figure, dpi: int) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")
    return buffer.getvalue()


def _inline_table(table: Path) -> str:
    return "data:text/csv;base64," + base64.b64encode(table.read_bytes()).decode()


def _link(table: Path, folder: Path) -> str:
    """From a page in `folder` to a table: beside it, or the one that came with the package."""
    if table.is_relative_to(folder):
        return table.relative_to(folder).as_posix()
    return _address(table)


def _address(table: Path) -> str:
    return f"{TABLES}/{table.parent.name}/{table.name}"
