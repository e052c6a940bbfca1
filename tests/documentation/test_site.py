"""The site is built without a warning, and the pages' equations are in it as MathML."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from documents import ROOT

pytestmark = pytest.mark.slow

pytest.importorskip("mkdocs", reason="the site needs hf_ood[docs]")
for package in ("material", "mkdocstrings", "latex2mathml"):
    pytest.importorskip(package, reason="the site needs hf_ood[docs]")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_a_methods_page_has_equation_options_and_example(site: Path) -> None:
    page = (site / "methods" / "invariance" / "index.html").read_text()
    for expected in ("<math", "irm.penalty_weight", "Requirements", "Relations", "Examples"):
        assert expected in page
    assert r"\frac" not in page and "arithmatex" not in page


def test_pages_ask_no_other_host_for_anything(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert "fonts.googleapis" not in text and 'src="http' not in text, page


def test_everything_public_is_documented_in_the_site(site: Path) -> None:
    import hf_ood

    pages = "".join(page.read_text() for page in site.rglob("index.html"))
    missing = [name for name in hf_ood.__all__ if f'id="hf_ood.{name}"' not in pages]
    assert not missing
