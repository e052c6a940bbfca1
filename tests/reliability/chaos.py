"""Trainings and commands that are killed at random moments, over folders that are damaged in between:

python tests/reliability/chaos.py --minutes 60 --seed 0

A trial is killed once or twice with SIGKILL, sometimes loses, cuts or blanks a file of what it had saved,
and goes on. It survives when it ends with the bytes of the undisturbed one; it may refuse damage that was
done, by the name of the file. Anything else is lost, and makes the exit status 1. Trials are processes forked
from this one, which has imported everything.
"""

# ruff: noqa: E402, T201

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "cli")]

import torch
from conftest import make_args, make_dataset, make_model
from small_source import save_small_source
from tqdm import tqdm
from transformers import set_seed

from hf_ood import OODTrainer
from hf_ood.cli.train import main as train_command
from hf_ood.methods.registry import build_method
from hf_ood.trainer import CorruptCheckpointError

Start = Callable[[Path, bool], None]  # trains in a folder; whether it goes on with what is there
METHODS = {
    "objective": "irm", "objective with state": "group_dro", "objective with networks": "dann",
    "masking": "rsc", "mixing": "lisa", "update": "sam", "averaging": "swad",
    "running variances": "fishr", "update by environment": "fish", "moving average": "ema",
    "several": "irm+rsc+swa",
}  # fmt: skip
FEW = (*list(METHODS)[1:7], "command in stages")  # one of each kind
OPTIONS: dict[str, dict[str, Any]] = {"irm": {"warmup_steps": 4}, "swa": {"start": 0.3}}
COMMANDS = {
    "command": ["--method", "irm+rsc+ema"],
    "command with the best checkpoint": ["--method", "erm", "--load_best_model_at_end", "true"],
    "command in stages": ["--config", "{stages}"],
}
STAGES = """method: erm
stages:
- name: first
- name: second
  method: irm
  start_from: previous
"""
CLOCKS = ("runtime", "per_second", "seconds", "total_flos", "_time", "versions", "command", "resumed")
ENDED, REFUSED, CRASHED = 0, 2, 70
HANGS = 300.0  # seconds after which a trial will not end by itself


# What is killed


def training(method: str) -> Start:
    """Eight steps of a small network, with a checkpoint every other one, and evaluations."""
    data, validation = make_dataset((24, 24, 24)), make_dataset((8, 8, 8), seed=1)
    options = {name: OPTIONS[name] for name in method.split("+") if name in OPTIONS}

    def start(folder: Path, resume: bool) -> None:
        set_seed(0)
        often = {"save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 4}
        args = make_args(folder, max_steps=8, logging_steps=3, report_to="none", **often)
        built = vars(build_method(method, options))
        trainer = OODTrainer(make_model(), args, **built, train_dataset=data, eval_dataset=validation)
        trainer.train(resume_from_checkpoint=resume or None)
        trainer.save_model(str(folder))
        (folder / "results.json").write_text(json.dumps(trainer.state.log_history))

    return start


def command(arguments: Sequence[str], room: Path) -> Start:
    """A whole run of the command line, its card and its plots included."""
    digits, stages = room / "digits", room / "stages.yaml"
    if not digits.exists():
        save_small_source(digits, 240, 60)
        stages.write_text(STAGES)
    flags = (
        f"--colored_mnist.source={digits} --max_steps=8 --eval_strategy=steps --eval_steps=2 "
        "--save_strategy=steps --save_steps=2 --logging_steps=3 --per_device_train_batch_size=30 "
        "--use_cpu=true --num_threads=1 --quiet --report_to=none"
    )

    def start(folder: Path, resume: bool) -> None:
        given = [argument.format(stages=stages) for argument in arguments]
        more = ["--resume_from_checkpoint=true"] if resume else []
        train_command([*given, *flags.split(), f"--output_dir={folder}", *more])

    return start


def outcome(folder: Path) -> dict[str, Any]:
    """What the end is compared by: the weights to the byte, the results but for what clocks tell."""
    results = json.loads((folder / "results.json").read_text())
    weights = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("model.safetensors")}
    ends = {name: value for name, value in weights.items() if "checkpoint-" not in name}
    return {"results": _timeless(results), **ends}


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: entry for key, entry in value.items() if not any(clock in key for clock in CLOCKS)}
        return {key: _timeless(entry) for key, entry in kept.items()}
    return [_timeless(entry) for entry in value] if isinstance(value, list) else value


# How it is killed


def carry_out(
    start: Start, folder: Path, resume: bool, kill_after: float | None = None
) -> tuple[int | None, str]:
    """In a process of its own -> its exit status (None: it was killed), and what it printed."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.with_suffix(".log")
    child = os.fork()
    if child == 0:
        status = CRASHED
        try:
            stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(stream, 1)
            os.dup2(stream, 2)
            torch.set_num_threads(1)
            tqdm.set_lock(threading.RLock())  # its usual one is all processes', and who is killed keeps it
            start(folder, resume)
            status = ENDED
        except SystemExit as stopped:
            status = stopped.code if isinstance(stopped.code, int) else CRASHED
        except (ValueError, CorruptCheckpointError) as error:  # what Python raises where a command refuses
            print(f"error: {error}", file=sys.stderr)
            status = REFUSED
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    end = time.monotonic() + (HANGS if kill_after is None else kill_after)
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
        time.sleep(0.005)
    if ended == (0, 0):
        os.kill(child, signal.SIGKILL)
        ended = os.waitpid(child, 0)
    status = ended[1]
    told = log.read_text(errors="replace") if log.exists() else ""
    return (None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)), told


def remove(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def blank(file: Path) -> None:
    """Its second half, as a file system leaves it that lost power."""
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.seek(size // 2)
        stream.write(bytes(size - size // 2))


FAULTS = (remove, cut, blank)


def damage(folder: Path, rng: random.Random) -> tuple[str, Path] | None:
    """Do something to a file of the latest checkpoint, if there is one; what, and to which."""
    checkpoints = sorted(
        folder.rglob("checkpoint-*"), key=lambda path: (str(path.parent), int(path.name[11:]))
    )
    files = [file for file in sorted(checkpoints[-1].rglob("*")) if file.is_file()] if checkpoints else []
    if not files:
        return None
    file, fault = rng.choice(files), rng.choice(FAULTS)
    fault(file)
    return fault.__name__, file


@dataclass
class Trial:
    """`faults`: what was done, by kind; `end`: survived, refused or lost; `told`: what shows it."""

    family: str
    faults: list[str]
    end: str
    told: str = ""


def trial(family: str, start: Start, whole: dict[str, Any], seconds: float, folder: Path, seed: int) -> Trial:
    """Kill, perhaps damage, perhaps kill again, and go on to the end."""
    rng = random.Random(f"{family} {seed}")
    faults, damaged, resume = [], None, False
    for _ in range(rng.choice((1, 1, 2))):
        status, told = carry_out(start, folder, resume, rng.uniform(0, seconds))
        faults.append("ended before it was killed" if status == ENDED else "kill")
        if status not in (None, ENDED, REFUSED):
            return Trial(family, faults, "lost", f"exit status {status}:\n{told}")
        if rng.random() < 0.3 and status is None and (done := damage(folder, rng)):
            faults.append(f"{done[0]} {done[1].name}")
            damaged = done[1]
        resume = bool(list(folder.rglob("checkpoint-*")))
    status, told = carry_out(start, folder, resume)
    refused = False
    if status == REFUSED:
        named = damaged is not None and (damaged.name in told or damaged.parent.name in told)
        nothing = "no whole checkpoint" in told.lower() or "nothing to resume" in told.lower()
        if not named and not nothing:
            return Trial(family, faults, "lost", f"refused without the damaged file's name:\n{told}")
        refused = True
        status, told = carry_out(start, folder, False)  # the way out: start over
    if status != ENDED:
        return Trial(family, faults, "lost", f"exit status {status}:\n{told}")
    if outcome(folder) != whole:
        return Trial(family, faults, "lost", f"another end than undisturbed:\n{told}")
    return Trial(family, faults, "refused" if refused else "survived")


def families(room: Path) -> Iterator[tuple[str, Start]]:
    for name, method in METHODS.items():
        yield name, training(method)
    for name, arguments in COMMANDS.items():
        yield name, command(arguments, room)


def trials(name: str, start: Start, room: Path, seed: int) -> Iterator[Trial]:
    """Trials of one family for ever."""
    whole = room / f"whole {name}"
    began = time.monotonic()
    status, told = carry_out(start, whole, False)
    if status != ENDED:
        raise RuntimeError(f"{name} does not end undisturbed:\n{told}")
    seconds, end, folder = time.monotonic() - began, outcome(whole), room / "trial"
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        yield trial(name, start, end, seconds, folder, seed)
        seed += 1


def by_kills(family: Iterator[Trial], number: int) -> Iterator[Trial]:
    """Until so many kills."""
    kills = 0
    while kills < number:
        each = next(family)
        kills += each.faults.count("kill")
        yield each


def in_turn(every: Sequence[Iterator[Trial]], until: float) -> Iterator[Trial]:
    """A trial of each family, again and again, until that time."""
    for family in itertools.cycle(every):
        if time.monotonic() > until:
            return
        yield next(family)


def summary(done: Sequence[Trial]) -> str:
    """Counts by family and by kind of fault."""
    lines = [f"{'family':48s} {'trials':>7s} {'survived':>9s} {'refused':>8s} {'lost':>5s}"]
    for family in dict.fromkeys(each.family for each in done):
        ends = Counter(each.end for each in done if each.family == family)
        counts = f"{ends.total():7d} {ends['survived']:9d} {ends['refused']:8d} {ends['lost']:5d}"
        lines.append(f"{family:48s} {counts}")
    kinds = Counter(
        fault.split()[0] for each in done for fault in each.faults if not fault.startswith("ended")
    )
    ends = Counter(each.end for each in done)
    told = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    return "\n".join([*lines, f"faults: {told}", f"ends: {dict(ends)}"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, help="how long, over all families in turn")
    parser.add_argument(
        "--kills", type=int, default=20, help="without --minutes: of each kind of method, half of a command"
    )
    parser.add_argument("--few", action="store_true", help=f"only {', '.join(FEW)}")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    finished: list[Trial] = []
    with tempfile.TemporaryDirectory() as scratch:
        room = Path(scratch)
        chosen = [(name, start) for name, start in families(room) if not given.few or name in FEW]
        every = {name: trials(name, start, room, given.seed) for name, start in chosen}
        if given.minutes is not None:
            coming = in_turn([*every.values()], time.monotonic() + 60 * given.minutes)
        else:
            number = {name: given.kills // 2 if name in COMMANDS else given.kills for name in every}
            coming = itertools.chain.from_iterable(by_kills(every[name], number[name]) for name in every)
        for each in coming:
            finished.append(each)
            if each.end == "lost":
                print(f"LOST: {each.family}: {', '.join(each.faults)}\n{each.told}\n", flush=True)
    print(summary(finished))
    sys.exit(any(each.end == "lost" for each in finished))
