"""The small study, carried out once."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_study import command

from hf_ood.cli.reproduce import main


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    assert main(command(folder, "runs", "out", "--executor", "in_process")) == 0
    return folder
