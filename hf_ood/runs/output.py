"""What a run shows while it trains: bars on a terminal, a line for each evaluation in a file, or nothing."""

from __future__ import annotations

import sys
from typing import Any

import datasets
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from ..evaluation.measures import HEADLINES
from ..trainer import OODConfig, OODTrainer

OVER = ("mean", "worst")


class OneLine(TrainerCallback):
    """A line for each evaluation: `step 281 of 1124, validation: mean 97.10 %, worst 96.40 %, loss 0.084`."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        line = evaluation_line(logs or {})
        if line and state.is_world_process_zero:
            print(f"step {state.global_step} of {state.max_steps}, {line}", flush=True)  # noqa: T201


def evaluation_line(logs: dict[str, Any]) -> str | None:
    """`validation: mean 97.10 %, worst 96.40 %, loss 0.084`, or `mean RMSE 1.2`; None for a log that is of no
    evaluation."""
    runtime = next((name for name in logs if name.startswith("eval_") and name.endswith("_runtime")), None)
    if runtime is None:
        return None
    prefix = runtime.removesuffix("runtime")
    measure = next((name for name in HEADLINES.values() if f"{prefix}mean_{name}" in logs), "")
    parts = [
        f"{of} {shown(logs[f'{prefix}{of}_{measure}'], measure)}"
        for of in OVER
        if f"{prefix}{of}_{measure}" in logs
    ]
    loss = [f"loss {logs[prefix + 'loss']:.3f}"] if prefix + "loss" in logs else []
    split = prefix.removeprefix("eval_").rstrip("_").replace("_", " ") or "evaluation"
    return f"{split}: {', '.join([*parts, *loss])}"


def shown(value: float, measure: str) -> str:
    """`97.10 %`, or a regression's error in its own unit."""
    return f"RMSE {value:.4g}" if measure == "rmse" else f"{100 * value:.2f} %"


def choose_output(training: OODConfig, quiet: bool) -> None:
    """No bars where nobody sees them move."""
    if quiet or not sys.stderr.isatty():
        training.disable_tqdm = True
    if training.disable_tqdm:
        logging.disable_progress_bar()
        datasets.disable_progress_bars()


def say_less(trainer: OODTrainer, quiet: bool) -> None:
    """Lines in place of dictionaries, or nothing."""
    trainer.remove_callback(PrinterCallback)
    if trainer.args.disable_tqdm and not quiet:
        trainer.add_callback(OneLine)
