"""What must answer at once: the overview, the version, the completion and the first page of help."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from hf_ood.__main__ import GENERATED
from hf_ood.cli.generate import generated
from hf_ood.cli.help_pages import page
from hf_ood.errors import UsageError

HEAVY = ("torch", "transformers", "datasets", "pandas", "matplotlib", "sklearn")


@pytest.mark.parametrize(
    "flags", ["--help", "--version", "completion bash", "completion zsh", "train --help", "recipes --help"]
)
def test_nothing_heavy_is_imported(flags: str) -> None:
    program = (
        "import sys, runpy, atexit\n"
        f"atexit.register(lambda: print([n for n in {HEAVY!r} if n in sys.modules], file=sys.stderr))\n"
        "runpy.run_module('hf_ood', run_name='__main__')"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", program, *flags.split()], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0 and done.stdout
    assert done.stderr.strip().splitlines()[-1] == "[]"
    assert after.ru_utime - before.ru_utime < 2  # a bound that a loaded machine keeps


def test_the_generated_files_are_up_to_date() -> None:
    pytest.importorskip("optuna", reason="the completion knows the flags of hf-ood sweep")
    for name, content in generated().items():
        assert (GENERATED / name).read_text(encoding="utf-8") == content, "python -m hf_ood.cli.generate"


def test_a_topic_shows_its_flags_and_no_others() -> None:
    assert "--irm.penalty_weight" in page("irm") and "--vrex" not in page("irm")
    assert "--environment_column" in page("data") and "--learning_rate" not in page("data")
    assert "--torch_compile" in page("hardware")
    assert {"--irm.penalty_weight", "--environment_column", "--hub_token"} <= set(page("all").split())


def test_an_unknown_topic_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError):
        page("imr")
    assert "Did you mean 'irm'" in capsys.readouterr().err
