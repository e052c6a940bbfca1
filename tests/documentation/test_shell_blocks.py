"""Every command in the README's and the pages' `bash` blocks is one that its program understands."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest
from documents import ROOT, code_blocks, pages

from hf_ood.cli.arguments import parse
from hf_ood.methods.registry import build_method
from hf_ood.resources import recipe_file
from hf_ood.runs.several import is_several

# A script, and the console command that is the same program.
SCRIPTS = {
    "trainers/train.py": "train",
    "trainers/evaluate.py": "evaluate",
    "trainers/explain.py": "explain",
    "trainers/measure_shift.py": "shift",
    "trainers/reproduce.py": "reproduce",
    "trainers/sweep.py": "sweep",
    "trainers/bench.py": "bench",
    "trainers/push.py": "publish",
    "dataset_scripts/colored_mnist/build.py": "datasets",
    "hf_ood/launch/slurm.sh": "train",
}
LAUNCHERS = ("accelerate", "torchrun", "python", "sbatch")


def commands() -> Iterator[tuple[str, list[str]]]:
    """The pages' command lines: where each stands, and its words."""
    for page in pages():
        for block in code_blocks(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                for part in line.split(" && "):
                    words = shlex.split(part, comments=True)
                    if words:
                        yield page, words


FOUND = list(commands())


@pytest.mark.parametrize(
    ("page", "words"), FOUND, ids=[f"{page} {' '.join(words)}"[:90] for page, words in FOUND]
)
def test_a_command_is_understood(page: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    program = words[0]
    if program == "pip":
        assert_installs(words)
    elif program == "hf-ood":
        assert_parses(words[1], words[2:])
    elif program in LAUNCHERS:
        (script,) = [word for word in words if word in SCRIPTS]
        place = words.index(script)
        words = (
            " ".join(words).replace(" --ddp_backend gloo", "").split(" ")
        )  # it asks the group of processes
        for name in re.findall(r"hf_ood/launch/\S+", " ".join(words[:place])):
            assert Path(name).exists(), name
        assert_parses(SCRIPTS[script], words[place + 1 :])
    else:
        assert program == "pytest", f"{page}: nobody checks {program}"


def assert_parses(command: str, flags: list[str]) -> None:
    """The program's own parser takes the flags; files that they name are there."""
    for flag, value in pairwise(flags):
        if flag == "--config" and "/" in value:
            assert recipe_file(value).exists(), value
    if command == "train":
        parsed = parse(flags)
        several = is_several(parsed.recipe.settings)
        for spec in parsed.specs()[0] if several else [parsed.spec()]:
            for stage in spec.stages.values() or [spec]:
                build_method(stage.method.name, stage.options)
        return
    if command in ("sweep", "bench"):
        pytest.importorskip("optuna", reason="sweeps need hf_ood[sweep]")
    _, unknown = import_module(f"hf_ood.cli.{command}").make_parser().parse_known_args(flags)
    assert not unknown, unknown


def assert_installs(words: list[str]) -> None:
    """Constraints and extras that are named exist."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    if "-c" in words:
        assert (ROOT / words[words.index("-c") + 1]).exists()
    for named in re.findall(r"\[(.*?)\]", " ".join(words)):
        assert set(named.split(",")) <= set(extras)
