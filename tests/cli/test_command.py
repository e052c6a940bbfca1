"""The command line that results and cards tell."""

from __future__ import annotations

import shlex

import pytest

from hf_ood.cli.arguments import parse_arguments
from hf_ood.runs.published_command import command_line


@pytest.mark.parametrize(
    "given", [["--hub_token", "hf_secret"], ["--hub-token=hf_secret"], ["--token", "hf_secret"]]
)
def test_tokens_and_local_folders_are_left_out(given: list[str]) -> None:
    flags = ["--method", "irm", *given, "--output_dir", "/home/me/run", "--note", "two words"]
    told = command_line("trainers/train.py", flags)
    assert shlex.split(told) == ["python", "trainers/train.py", "--method", "irm", "--note", "two words"]


def test_several_processes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert command_line("s.py", ["--seed", "1"]) == "torchrun --nproc_per_node 2 s.py --seed 1"


def test_a_run_knows_its_command() -> None:
    flags = ["--method", "irm", "--irm.penalty_weight", "10", "--use_cpu", "true", "--output_dir", "x"]
    command = parse_arguments(flags).command
    assert command == "python trainers/train.py --method irm --irm.penalty_weight 10 --use_cpu true"
