"""Folders that are named after data lie where they should."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile_names import HOSTILE

from hf_ood.cli.evaluate import EvaluationArguments
from hf_ood.cli.evaluate import default_output_dir as evaluation_folder
from hf_ood.runs.folder import default_output_dir
from hf_ood.runs.settings import spec_from_settings
from hf_ood.runs.spec import RunSpec


@pytest.mark.parametrize("name", [*HOSTILE, "../../x", "/etc"])
def test_a_folder_is_inside_its_place(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = spec_from_settings({"dataset": "scans", "dataset_config": name, "method": "irm+rsc"})
    arguments = EvaluationArguments(model=name, dataset="scans", dataset_config=name)
    for folder, place in (
        (default_output_dir(spec), "runs"),
        (evaluation_folder(arguments, "test"), "evaluations"),
    ):
        parts = Path(folder).parts
        assert len(parts) == 2 and parts[0] == place and len(parts[1].encode()) < 255
        Path(folder).mkdir(parents=True)
        assert Path(folder).resolve().parent == tmp_path / place


def test_other_names_are_other_folders() -> None:
    arguments = [EvaluationArguments(model="m", dataset="d", dataset_config=name) for name in HOSTILE]
    assert len({evaluation_folder(one, "test") for one in arguments}) == len(HOSTILE)


def test_several_processes_have_a_folder_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of theirs holds the samples of all, so that it is another run."""
    spec = RunSpec()
    monkeypatch.setenv("WORLD_SIZE", "1")
    alone = default_output_dir(spec)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert default_output_dir(spec) != alone
