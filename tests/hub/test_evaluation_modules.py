"""The `evaluate` modules as Spaces: pushed as they are, loaded by id where this package is not installed."""

from __future__ import annotations

import pytest
from hub.clients import Client
from hub.loopback import LoopbackHub

pytestmark = pytest.mark.slow

PUSH = """
from pathlib import Path
from huggingface_hub import HfApi
from hf_ood.evaluation import modules

for folder in sorted(Path(modules.__path__[0]).iterdir()):
    repository = f"alice/{folder.name}"
    HfApi().create_repo(repository, repo_type="space", space_sdk="static")
    files = ["*.py", "*.md"]
    HfApi().upload_folder(repo_id=repository, repo_type="space", folder_path=folder, allow_patterns=files)
"""
USE = """
import json
import evaluate

modules = [evaluate.load(f"alice/{name}") for name in ("environment_report", "worst_environment_accuracy")]
found = evaluate.combine(modules).compute(
    predictions=[0, 1, 1, 1],
    references=[0, 1, 0, 1],
    environments=["summer", "summer", "winter", "winter"],
    probabilities=[[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]],
)
print(json.dumps(found))
"""


def test_the_modules_are_loaded_by_their_hub_ids(hub: LoopbackHub, author: Client, stranger: Client) -> None:
    author.run(PUSH)
    found = stranger.run(USE)
    assert (found["worst_environment"], found["worst_environment_accuracy"]) == ("winter", 0.5)
    assert found["worst"]["accuracy"] == 0.5
    assert found["environments"]["summer"]["ece"] == pytest.approx(0.15)
