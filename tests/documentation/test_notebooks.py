"""The notebooks run from the first cell to the last."""

from __future__ import annotations

from pathlib import Path

import pytest
from documents import FOLDER

nbformat = pytest.importorskip("nbformat", reason="notebooks need hf_ood[docs]")
nbclient = pytest.importorskip("nbclient", reason="notebooks need hf_ood[docs]")
pytest.importorskip("ipykernel", reason="notebooks need hf_ood[docs]")

NOTEBOOKS = sorted((FOLDER / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks() -> None:
    assert [file.stem for file in NOTEBOOKS] == ["report_in_ten_minutes", "your_own_data"]


@pytest.mark.nightly
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(file, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    ran = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in ran)
    tables = [output for cell in ran for output in cell.outputs if "text/html" in output.get("data", {})]
    assert tables, "no table is shown"
