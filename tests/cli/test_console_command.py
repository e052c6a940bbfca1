"""`hf-ood`: one name for all programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hf_ood.__main__ import COMMANDS, SHELLS, main, overview


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    told = capsys.readouterr().out
    assert told.strip() == overview()
    assert all(name in told for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_under_its_own_name(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if command in ("sweep", "bench"):
        pytest.importorskip("optuna", reason="sweeps need hf_ood[sweep]")
    monkeypatch.setattr(sys, "argv", ["hf-ood"])
    try:
        main([command, "--help"])
    except SystemExit as end:
        assert not end.code
    assert f"usage: hf-ood {command}" in capsys.readouterr().out


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["trian"])
    assert "'train'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_by_the_console_command_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hf-ood"])
    folder = tmp_path / "run"
    with pytest.raises(SystemExit) as end:
        main(
            f"train --output_dir {folder} --max_train_samples 60 --per_device_train_batch_size 30 "
            "--num_train_epochs 1 --use_cpu true".split()
        )
    assert end.value.code == 0
    assert '"command": "hf-ood train' in (folder / "results.json").read_text()


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_knows_commands_and_dotted_flags(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", shell])
    script = capsys.readouterr().out
    assert "--irm.penalty_weight" in script
    assert all(command in script for command in COMMANDS if command != "sweep")


def test_bash_reads_the_completion(capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"])
    script = capsys.readouterr().out
    check = f"{script}\nCOMP_WORDS=(hf-ood tr); COMP_CWORD=1; _shtab_hf_ood; echo ${{COMPREPLY[@]}}"
    shown = subprocess.run(["bash", "-c", check], capture_output=True, text=True)
    assert shown.stdout.split() == ["train"], shown.stderr
