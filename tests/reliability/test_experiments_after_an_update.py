"""An experiment goes on after an update of code or packages, and says which runs are from before."""

from __future__ import annotations

from pathlib import Path

import pytest
from killed import write_patients

from hf_ood.experiments.dispatch import carry_out
from hf_ood.experiments.keyed_run import Run, finished
from hf_ood.runs.origin import made_on


def test_finished_runs_count_with_the_key_of_their_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {
        **{"dataset": str(write_patients(tmp_path / "patients.csv")), "feature_columns": ["age", "bmi"]},
        **{"environment_column": "hospital", "test_environments": ["C"], "model": "mlp", "max_steps": 2},
        **{"per_device_train_batch_size": 24, "use_cpu": True},
    }
    run, root = Run("study", "ERM", 0, settings), tmp_path / "runs"
    assert carry_out(run, root) is None
    folder, key = run.folder(root), run.key
    assert finished(run, root) and run.recorded_key(root) == key and "other versions" not in caplog.text
    monkeypatch.setattr("hf_ood.runs.origin.code_hash", lambda: "an edited line in irm.py")
    assert run.folder(root) == folder and run.key != key
    assert finished(run, root) and run.recorded_key(root) == key
    then = made_on(folder)["hf_ood's code"]
    assert f"made on other versions (hf_ood's code {then}, now an edited li)" in caplog.text
