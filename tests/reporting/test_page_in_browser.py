"""The page of studies as a reader's browser shows it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from hf_ood.evaluation.verdicts import Verdict, interval
from hf_ood.reporting.studies import write_page
from hf_ood.reporting.summaries import ClaimRow, Curve, Illustration, StudySummary, TableRow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --enable-logging=stderr --window-size=390,844 "
    "--virtual-time-budget=5000 --dump-dom"
).split()
# Added to a copy of the page: what only a browser knows.
PROBE = """<pre id="found"></pre><script>
window.addEventListener("load", () => {
  const links = [...document.querySelectorAll("nav a")].map(link => link.getAttribute("href").slice(1));
  document.getElementById("found").textContent = JSON.stringify({
    title: document.title,
    images: [...document.images].map(image => image.naturalWidth * image.naturalHeight),
    broken: links.filter(name => !document.getElementById(name)), links: links.length,
    width: window.innerWidth, content: document.documentElement.scrollWidth });
});
</script>"""


def make_summary() -> StudySummary:
    values = interval([70.0, 72.0, 71.5])
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2])
    names = ["mean_accuracy", "fixed_colors/mean_accuracy"]
    return StudySummary(
        name="small",
        title="A study with a rather long title: what a phone has to break into several lines",
        note="A note.",
        budget="quick",
        cpu_hours=0.5,
        measures=names,
        rows=[TableRow(arm, dict.fromkeys(names, values), {names[0]: 80.0}) for arm in ("ERM", "IRM")],
        claims=[ClaimRow("IRM helps", "IRM", "ERM", names[0], values, Verdict.INCONCLUSIVE)],
        choices=[],
        curves=[Curve("ERM", [1.0, 2.0], [values, values])],
        pictures=[Illustration("small-picture", "A picture of a run", figure)],
    )


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (apt-get install chromium)")
def test_a_browser_shows_every_figure_and_link(tmp_path: Path) -> None:
    figure = Figure(figsize=(8, 1))
    figure.subplots().plot([1, 2])
    page = write_page([make_summary()], [Illustration("figure_1", "Figure 1", figure)], tmp_path)
    assert "<script" not in page.read_text()
    copy = tmp_path / "probed.html"
    copy.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    shown = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'browser'}", copy.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    answer = re.search(r'<pre id="found">(.*?)</pre>', shown.stdout, re.DOTALL)
    assert answer, shown.stderr
    found = json.loads(answer[1])
    assert found["title"] == "Colored MNIST, reproduced"
    assert len(found["images"]) == 3 and all(found["images"])
    assert found["links"] == 3 and found["broken"] == []
    assert found["content"] <= found["width"] <= 500  # nothing sticks out on a phone
    assert "CONSOLE" not in shown.stderr
