"""Every block of Python in the README and in the pages runs as it is printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from documents import ROOT, code_blocks, pages, run_blocks

pytestmark = pytest.mark.slow

# Pages whose blocks need something to be given, or a Hub, or processes: the tests that run them.
ELSEWHERE = {
    "../README.md": ["cli/test_own_data.py"],
    "comparing.md": ["cli/test_compare.py"],
    "engine.md": ["invariants/test_hand_written_loop.py", "invariants/test_loop_over_processes.py"],
    "extending.md": ["cli/test_arguments.py"],
    "publishing.md": ["hub/test_publishing_page.py"],
    "scaling.md": ["documentation/test_scaling_page.py"],
    "your_trainer.md": ["trainer/test_any_trainer.py", "trainer/test_trl.py"],
}
WITH_PYTHON = [page for page in pages() if code_blocks(page, "python")]


@pytest.mark.parametrize("page", [page for page in WITH_PYTHON if page not in ELSEWHERE])
def test_the_blocks_of_a_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_blocks(page, code_blocks(page, "python"))


def test_blocks_that_run_elsewhere_do() -> None:
    assert not set(ELSEWHERE) - set(WITH_PYTHON)
    for page, files in ELSEWHERE.items():
        for file in files:
            assert Path(page).name in (ROOT / "tests" / file).read_text(), f"{file} does not run {page}"
