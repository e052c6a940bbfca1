"""Signals that really come: a checkpoint, one sentence, and the same end after a resume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from cli.small_source import save_small_source
from conftest import make_args, make_dataset, make_model
from transformers import TrainerCallback, TrainingArguments, set_seed

from hf_ood import IRM, OODTrainer
from hf_ood.methods.averaging import EMA
from hf_ood.trainer.checkpoints import find_damage
from hf_ood.trainer.stop_on_signal import StoppedBySignal

SCRIPT = Path(__file__).parent / "signalled_run.py"
TRAINING, VALIDATION = make_dataset((24, 24, 24)), make_dataset((8, 8, 8), seed=1)  # 3 steps an epoch
STOPS = {"TERM": StoppedBySignal, "HUP": StoppedBySignal, "INT": KeyboardInterrupt}


@pytest.fixture(autouse=True)
def _listening() -> Iterator[None]:
    """A test run that was started in the background ignores Ctrl-C, and one under nohup SIGHUP."""
    usual = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGHUP: signal.SIG_DFL,
        signal.SIGTERM: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Sends(TrainerCallback):
    """Signals of its own process to it, at the beginning of a step."""

    def __init__(self, step: int, *names: str):
        self.step, self.names = step, names

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            for name in self.names:
                os.kill(os.getpid(), getattr(signal, f"SIG{name}"))


def make(folder: Path, callbacks: Sequence[TrainerCallback] = (), **changes: Any) -> OODTrainer:
    set_seed(0)
    settings = {"max_steps": 9, "logging_steps": 4, "eval_strategy": "epoch", "save_strategy": "no"}
    args = make_args(folder, report_to="none", **{**settings, **changes})
    data = {"train_dataset": TRAINING, "eval_dataset": VALIDATION}
    method = {"objective": IRM(warmup_steps=3), "averaging": EMA()}
    return OODTrainer(make_model(), args, **method, **data, callbacks=list(callbacks))


def history(trainer: OODTrainer) -> list[dict[str, Any]]:
    clock = ("runtime", "per_second", "total_flos", "_time")
    return [{k: v for k, v in e.items() if not any(c in k for c in clock)} for e in trainer.state.log_history]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> OODTrainer:
    trainer = make(tmp_path_factory.mktemp("whole"))
    trainer.train()
    return trainer


@pytest.mark.parametrize(
    ("name", "step", "saved"),
    [("TERM", 0, 1), ("INT", 1, 2), ("HUP", 2, 3), ("TERM", 4, 5), ("TERM", 5, 6), ("INT", 8, 9)],
)
def test_a_signal_leaves_a_whole_checkpoint_from_which_the_rest_is_the_same(
    name: str, step: int, saved: int, whole: OODTrainer, tmp_path: Path
) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(STOPS[name]) as stopped:
        make(tmp_path, [Sends(step, name)]).train()
    if name != "INT":
        assert stopped.value.code == 128 + getattr(signal, f"SIG{name}")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    (checkpoint,) = tmp_path.glob("checkpoint-*")
    assert checkpoint.name == f"checkpoint-{saved}" and find_damage(checkpoint) is None
    resumed = make(tmp_path)
    resumed.train(resume_from_checkpoint=True)
    assert history(resumed) == history(whole)
    for key, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[key], value), key


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, [Sends(2, "INT", "INT")]).train()
    assert not list(tmp_path.glob("checkpoint-*"))


def test_jit_checkpoints_are_these(tmp_path: Path) -> None:
    """Trainer's own end the training as if it were finished, after three seconds."""
    before = signal.getsignal(signal.SIGTERM)
    trainer = make(tmp_path, [Sends(3, "TERM")], enable_jit_checkpoint=True, save_on_signal=False)
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(StoppedBySignal):
        trainer.train()
    assert find_damage(tmp_path / "checkpoint-4") is None


def test_without_it_signals_do_what_they_did(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, [Sends(2, "INT")], save_on_signal=False).train()
    assert not list(tmp_path.glob("checkpoint-*"))


def test_plain_arguments_listen_too(tmp_path: Path) -> None:
    args = TrainingArguments(str(tmp_path), max_steps=4, use_cpu=True, report_to="none", disable_tqdm=True)
    trainer = OODTrainer(make_model(), args, train_dataset=TRAINING, callbacks=[Sends(1, "TERM")])
    with pytest.raises(StoppedBySignal):
        trainer.train()
    assert (tmp_path / "checkpoint-2").is_dir()


def wait_for(file: Path, text: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not (file.exists() and text in file.read_text()):
        assert time.monotonic() < end, file.read_text() if file.exists() else f"{file} was not written"
        time.sleep(0.1)


@pytest.mark.slow
def test_of_several_processes_one_that_gets_it_is_enough(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", SCRIPT]
    output = tmp_path / "output.txt"
    with output.open("w") as stream:
        process = subprocess.Popen([*command, tmp_path], stdout=stream, stderr=stream)
        try:
            wait_for(tmp_path / "1.txt", "\n")
            os.kill(int((tmp_path / "1.txt").read_text()), signal.SIGTERM)
            assert process.wait(120) != 0
        finally:
            process.kill()
    (checkpoint,) = tmp_path.glob("checkpoint-*")
    assert find_damage(checkpoint) is None, output.read_text()
    assert f"stopped after step {checkpoint.name[11:]}" in output.read_text()


@pytest.mark.slow
def test_a_command_says_how_to_go_on(tmp_path: Path) -> None:
    digits = save_small_source(tmp_path / "digits")
    settings = [
        f"--colored_mnist.source={digits}",
        "--max_steps=100000",
        "--save_strategy=steps",
        "--save_steps=20",
    ]
    run = [sys.executable, "-m", "hf_ood", "train", *settings, f"--output_dir={tmp_path / 'run'}"]
    output = tmp_path / "output.txt"
    with output.open("w") as stream:
        process = subprocess.Popen(
            [*run, "--logging_steps=5", "--use_cpu=true"], stdout=stream, stderr=stream
        )
        try:
            wait_for(tmp_path / "run" / "checkpoint-20" / "manifest.json", "{")
            process.terminate()
            assert process.wait(120) == 143, output.read_text()
        finally:
            process.kill()
    told = output.read_text()
    assert "Terminated. The same command with --resume_from_checkpoint true" in told
    assert "Traceback" not in told and list((tmp_path / "run").glob("checkpoint-*"))
