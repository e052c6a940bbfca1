"""The command line that results and cards tell."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
import yaml

from hf_ood.cli.arguments import parse_arguments
from hf_ood.runs.published_command import command_line, run_command
from hf_ood.runs.settings import settings_of


@pytest.mark.parametrize(
    "given", [["--hub_token", "hf_secret"], ["--hub-token=hf_secret"], ["--token", "hf_secret"]]
)
def test_tokens_and_local_folders_are_left_out(given: list[str]) -> None:
    flags = ["--method", "irm", *given, "--output_dir", "/home/me/run", "--note", "two words"]
    told = command_line("trainers/train.py", flags)
    assert shlex.split(told) == ["hf-ood", "train", "--method", "irm", "--note", "two words"]


@pytest.mark.parametrize(
    ("started", "processes", "told"),
    [
        ("trainers/train.py", "1", "python trainers/train.py --seed 1"),
        ("trainers/sweep.py", "1", "python trainers/train.py --seed 1"),
        ("trainers/train.py", "2", "torchrun --nproc_per_node 2 trainers/train.py --seed 1"),
        ("hf-ood train", "1", "hf-ood train --seed 1"),
        ("hf-ood sweep", "1", "hf-ood train --seed 1"),
        ("my_script.py", "1", "hf-ood train --seed 1"),
        ("hf-ood train", "2", "torchrun --nproc_per_node 2 -m hf_ood train --seed 1"),
    ],
)
def test_the_command_runs_wherever_it_was_recorded(
    started: str, processes: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [started])
    monkeypatch.setenv("WORLD_SIZE", processes)
    assert command_line("trainers/train.py", ["--seed", "1"]) == told


def test_scripts_have_their_commands_names() -> None:
    assert command_line("trainers/measure_shift.py", ["--all"]) == "hf-ood shift --all"


def test_a_recipe_as_flags_is_the_same_run(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    content = {
        "method": "irm+rsc",
        "irm": {"penalty_weight": 1e-05},
        "vrex": {"penalty_weight": 3.0},
        "train_environments": ["red_on_black", "green_on_black"],
        "num_train_epochs": 1,
        "use_cpu": True,
        "lr_scheduler_type": "cosine",
    }
    recipe.write_text(yaml.safe_dump(content))
    spec = parse_arguments(["--config", str(recipe)])
    told = shlex.split(run_command(spec))
    assert told[:2] == ["hf-ood", "train"]
    assert not any("vrex" in flag or "config" in flag for flag in told)
    assert settings_of(parse_arguments(told[2:])) == settings_of(spec)
    recipe.write_text(yaml.safe_dump({**content, "stages": [{"name": "a"}, {"name": "b"}]}))
    staged = run_command(parse_arguments(["--config", str(recipe)]))
    assert staged == "hf-ood train --config arguments.yaml"


def test_a_run_knows_its_command() -> None:
    flags = ["--method", "irm", "--irm.penalty_weight", "10", "--use_cpu", "true", "--output_dir", "x"]
    command = parse_arguments(flags).command
    assert command == "hf-ood train --method irm --irm.penalty_weight 10 --use_cpu true"
