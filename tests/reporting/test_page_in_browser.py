"""The page of studies as a reader's browser shows it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from hf_ood.evaluation.verdicts import Place, Verdict, interval
from hf_ood.reporting.claims_figure import draw_claims
from hf_ood.reporting.studies import write_docs_page, write_page
from hf_ood.reporting.study_figure import draw_study
from hf_ood.reporting.summaries import (
    ClaimRow,
    Curve,
    Illustration,
    PrintedRow,
    StudySummary,
    TableRow,
    counts,
    judged,
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (  # without the size of the window
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --enable-logging=stderr "
    "--virtual-time-budget=5000 --dump-dom"
).split()
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine (apt-get install chromium)"
)
# Added to a copy of the page: what only a browser knows.
PROBE = """<pre id="found"></pre><script>
window.addEventListener("load", () => {
  const links = [...document.querySelectorAll("nav a")].map(link => link.getAttribute("href").slice(1));
  document.getElementById("found").textContent = JSON.stringify({
    title: document.title,
    images: [...document.images].map(image => image.naturalWidth * image.naturalHeight),
    broken: links.filter(name => !document.getElementById(name)), links: links.length,
    width: window.innerWidth, content: document.documentElement.scrollWidth,
    verdicts: [...document.querySelectorAll("td.verdict")].map(cell => cell.getBoundingClientRect().right),
    visible: [...document.querySelectorAll("td.verdict")].map(cell => {
      const [box, inside] = [cell.closest(".wide"), cell].map(part => part.getBoundingClientRect());
      return box.left <= inside.left && inside.right <= box.right && inside.width > 0; }),
    second: [...document.querySelectorAll("th.verdict")].every(cell => cell.cellIndex === 1),
    cut: [...document.querySelectorAll(".wide")].filter(box => box.scrollWidth > box.clientWidth).length });
});
</script>"""


def make_summary(measures: int = 2) -> StudySummary:
    values = interval([70.0, 72.0, 71.5])
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2])
    names = ["mean_accuracy", "fixed_colors/mean_accuracy", "yellow_on_white", "blue_on_white"][:measures]
    long = "VAE, two stages: pretrain and then fine-tune"
    return StudySummary(
        name="small",
        title="A study with a rather long title: what a phone has to break into several lines",
        note="A note.",
        budget="quick",
        cpu_hours=0.5,
        measures=names,
        rows=[TableRow(arm, dict.fromkeys(names, values), {names[0]: 80.0}) for arm in ("ERM", "IRM")],
        claims=[ClaimRow("IRM helps", long, long, names[0], values, Verdict.INCONCLUSIVE)],
        choices=[],
        curves=[Curve("ERM", [1.0, 2.0], [values, values])],
        pictures=[Illustration("small-picture", "A picture of a run", figure)],
        printed=[PrintedRow(long, names[0], "report", 80.0, values, Place.BELOW)],
        seeds=(3, 3),
        planned=5,
        commits=["0123456789", ""],
    )


def in_a_browser(page: Path, width: int, folder: Path) -> dict[str, Any]:
    """What the probe finds in a window of `width` pixels."""
    copy = folder / "probed.html"
    copy.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    shown = subprocess.run(
        [
            str(CHROMIUM),
            *FLAGS,
            f"--window-size={width},844",
            f"--user-data-dir={folder / 'browser'}",
            copy.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    answer = re.search(r'<pre id="found">(.*?)</pre>', shown.stdout, re.DOTALL)
    assert answer, shown.stderr
    assert "CONSOLE" not in shown.stderr
    return json.loads(answer[1])


@needs_browser
def test_a_browser_shows_every_figure_and_link(tmp_path: Path) -> None:
    figure = Figure(figsize=(8, 1))
    figure.subplots().plot([1, 2])
    page = write_page([make_summary()], [Illustration("figure_1", "Figure 1", figure)], tmp_path)
    assert "<script" not in page.read_text()
    found = in_a_browser(page, 390, tmp_path)
    assert found["title"] == "Colored MNIST, reproduced"
    assert len(found["images"]) == 4 and all(found["images"])
    assert found["links"] == 3 and found["broken"] == []
    assert found["content"] <= found["width"] <= 500  # nothing sticks out on a phone


@needs_browser
@pytest.mark.parametrize("width", [1024, 390])
def test_every_verdict_is_in_sight_without_scrolling(width: int, tmp_path: Path) -> None:
    """Of claims and of printed figures, by bounding boxes, in the window and in the box that scrolls."""
    page = write_page([make_summary(measures=4)], [], tmp_path)
    found = in_a_browser(page, width, tmp_path)
    assert len(found["verdicts"]) == 3 and found["second"]
    assert all(right <= min(width, found["width"]) for right in found["verdicts"])
    assert found["visible"] == [True] * 3
    assert found["content"] <= found["width"]


@needs_browser
def test_verdicts_and_wide_tables_fit_a_window_of_1300_pixels(tmp_path: Path) -> None:
    """The verdict is the second column; four measures with their curves, as in Table 2, need no scrolling."""
    found = in_a_browser(write_page([make_summary(measures=4)], [], tmp_path), 1300, tmp_path)
    assert len(found["verdicts"]) == 3 and found["second"]
    assert all(right < 1000 for right in found["verdicts"])
    assert found["cut"] == 0 and found["content"] <= found["width"]


def test_a_study_of_many_measures_is_drawn_in_rows() -> None:
    figure = draw_study(make_summary(measures=4))
    assert len(figure.axes) == 5 and figure.get_figwidth() <= 10.5
    lines = [axes.get_subplotspec().rowspan.start for axes in figure.axes]  # type: ignore[union-attr]
    assert lines == [0, 0, 0, 1, 2]


def test_a_table_of_many_claims_is_corrected_together_and_drawn_in_one_picture() -> None:
    values = interval([70.0, 72.0, 71.5])
    rows = [
        ClaimRow("a", "A", "B", "mean_accuracy", values, Verdict.HOLDS, 1.0, p_value=0.03, seeds_needed=4),
        ClaimRow("b", "A", "B", "mean_accuracy", values, Verdict.HOLDS, 1.0, p_value=0.001, seeds_needed=2),
        ClaimRow("c", "A", "B", "mean_squared_error", values, Verdict.INCONCLUSIVE, None, p_value=0.5),
        ClaimRow("d", "A", "B", "mean_accuracy", interval([1.0]), None),
    ]
    claims = judged([replace(make_summary(), claims=rows[:2]), replace(make_summary(), claims=rows[2:])])
    assert [each.survives for each in claims] == [False, True, False, False]
    assert [each.seeds_needed for each in claims] == ["4", "2", "> 1000", ""]
    assert [(number, word) for number, word, _ in counts(claims)] == [
        (2, "hold"),
        (0, "are reversed"),
        (0, "show no difference"),
        (1, "is open (inconclusive)"),
        (1, "has one seed"),
    ]
    points, errors = draw_claims(claims).axes
    assert len(points.get_yticks()) == 3 and len(errors.get_yticks()) == 1
    draw_claims([])


def test_the_documents_page_has_its_pictures_beside_it(tmp_path: Path) -> None:
    table = tmp_path / "results" / "full" / "small.csv"
    document = tmp_path / "docs" / "report.md"
    write_docs_page([replace(make_summary(), table=table)], document)
    text = document.read_text()
    pictures = re.findall(r"\]\((pictures/[^)]+)\)", text)
    assert sorted(pictures) == ["pictures/report/claims.png", "pictures/report/small.png"]
    assert all((document.parent / picture).read_bytes().startswith(b"\x89PNG") for picture in pictures)
    assert "/hf_ood/results/full/small.csv)" in text and str(tmp_path) not in text
    assert "3 seeds of 5 stated" in text and "computed at 0123456789 and by code from before" in text
    assert "| **below** | 80.0 | 71.17 ± " in text
    write_docs_page([], document)
    assert not (document.parent / pictures[1]).exists()
