"""Real full disks: whatever was being written, one message says where, how much lacks, and the way on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from reliability.commands import hf_ood, message_of, small_disk

from hf_ood.files import all_or_nothing

STEPS = (
    "--config quickstart --max_steps 12 --max_train_samples 3000 --eval_strategy steps --eval_steps 3 "
    "--save_strategy steps --save_steps 3 --num_threads 1"
).split()
FULL = re.compile(r"disk full while writing (\S+): [\d.]+ [MG]B free(, about [\d.]+ MB needed)?; free space")


def test_a_full_disk_names_the_folder_and_what_it_had_stays(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64) as disk:
        (disk / "kept.txt").write_text("old")
        with (
            pytest.raises(OSError, match="disk full while writing") as raised,
            all_or_nothing(disk, last="kept.txt", needed=10**6) as files,
        ):
            (files / "kept.txt").write_text("new" * 10**5)
        assert FULL.search(str(raised.value))
        assert (disk / "kept.txt").read_text() == "old"
        assert [file.name for file in disk.iterdir()] == ["kept.txt"]


@pytest.mark.nightly
def test_a_checkpoint_that_has_no_room_leaves_those_before_and_training_goes_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2048) as disk:
        run = [*STEPS, "--output_dir", disk / "run"]
        told = message_of(hf_ood("train", *run))
        found = FULL.search(told)
        assert found and found[2] and f"{disk}/run/checkpoint-9" == found[1]
        assert told.endswith("repeat the command with --resume_from_checkpoint true.")
        assert {folder.name for folder in (disk / "run").glob("checkpoint-*")} == {
            "checkpoint-3",
            "checkpoint-6",
        }
        told = message_of(hf_ood("train", *run, "--resume_from_checkpoint", "true"))
        assert FULL.search(told)  # it is still full, and nothing is lost by trying
        assert (disk / "run" / "checkpoint-6" / "manifest.json").exists()


@pytest.mark.nightly
def test_files_larger_than_the_shell_allows(tmp_path: Path) -> None:
    told = message_of(hf_ood("train", *STEPS, "--output_dir", tmp_path / "run", limit_blocks=300))
    assert "ulimit -f" in told and "checkpoint-3" in told


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("kilobytes", "command"),
    [
        (1024, "datasets --dataset_config unseen_colors --output_dir {}/made"),
        (20, "shift --dataset_config unseen_colors --max_samples 200 --output_dir {}/shift"),
        (
            100,
            "sweep --config quickstart --methods erm --executor in_process --results_dir {}/sweep",
        ),
    ],
    ids=["data set", "plot", "SQLite"],
)
def test_other_writers(kilobytes: int, command: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kilobytes) as disk:
        flags = command.format(disk).split()
        if flags[0] == "sweep":
            flags += ["--runs_dir", str(tmp_path / "runs")]
        assert FULL.search(message_of(hf_ood(*flags)))


@pytest.mark.nightly
def test_a_full_cache_of_tables_is_named(tmp_path: Path) -> None:
    rows = "".join(f"{i * 0.12345},{i * 0.777},{i % 2},{'xyz'[i % 3]}\n" for i in range(60_000))
    (tmp_path / "table.csv").write_text("a,b,label,environment\n" + rows)
    with small_disk(tmp_path / "disk", 400) as disk:
        flags = f"--dataset {tmp_path}/table.csv --feature_columns a b --model mlp --test_environments z"
        run = ["train", *flags.split(), "--max_steps", 3, "--output_dir", tmp_path / "run"]
        found = FULL.search(message_of(hf_ood(*run, HF_DATASETS_CACHE=str(disk))))
        assert found and found[1] == str(disk)


def test_a_terminal_that_takes_no_more() -> None:
    with open("/dev/full", "w") as full:
        finished = subprocess.run(
            [sys.executable, "-m", "hf_ood", "recipes"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert finished.returncode in (1, 2) and "Traceback" not in finished.stderr
    assert "disk full" in finished.stderr
