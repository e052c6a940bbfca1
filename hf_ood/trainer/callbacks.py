"""What a run shows while it trains, and what a method does after steps and evaluations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers import (
    EarlyStoppingCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_callback import CallbackHandler, ProgressCallback

from ..engine import WeightAverage
from ..evaluation.measures import HEADLINES, measure_of
from ..methods.updates import Update


class MethodCallback(TrainerCallback):
    """Lets an update finish what the optimizer did to the weights, and tells an averaging of every step and
    every validation; the training ends with what it gives, unless the best checkpoint was loaded."""

    def __init__(self, update: Update | None, validation_loss: str):
        self.update, self.validation_loss = update, validation_loss
        self.average: WeightAverage | None = None  # the trainer's, once a training has begun
        self.take_up: Callable[[], None] = lambda: None  # what a trainer does before its first step
        self.epoch_ended = False  # whether the epoch's end came since the last step

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.take_up()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.epoch_ended = False

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.epoch_ended = True

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.update is not None:
            self.update.after_step()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.average is not None:
            self.average.update(state.global_step, state.max_steps)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        loss = kwargs["metrics"].get(self.validation_loss)
        if self.average is not None and loss is not None:
            self.average.averaging.evaluated(loss)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        chosen = args.load_best_model_at_end and state.best_model_checkpoint
        if self.average is not None and not chosen:
            self.average.finish()


class EnvironmentProgress(ProgressCallback):
    """A progress bar with the running loss, and one line of accuracies per environment for each
    evaluation."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not logs or not state.is_world_process_zero or self.training_bar is None:
            return
        if "loss" in logs:
            shown = ["loss", *(["accuracy"] if "accuracy" in logs else [])]
            self.training_bar.set_postfix({name: f"{logs[name]:.3f}" for name in shown})
        line = accuracy_line(logs)
        if line:
            self.training_bar.write(f"epoch {state.epoch:6.2f}  {line}")


def accuracy_line(logs: dict[str, Any]) -> str:
    """`validation  mean 98.2%  worst 97.9%  red_on_black 98.4% ...` from the log of one evaluation; macro F1
    where samples have several labels, RMSE of a regression."""
    found = [(key, m) for m in HEADLINES.values() for key in logs if key.endswith(f"_mean_{m}")]
    whole, measure = next(((key, m) for key, m in found if key.startswith("eval_")), ("", ""))
    if not whole:
        return ""
    prefix, form = whole.removesuffix(f"mean_{measure}"), ".3f" if measure == "rmse" else ".1%"
    measured = {
        key.removeprefix(prefix).removesuffix(f"_{measure}"): value
        for key, value in logs.items()
        if key.startswith(prefix) and measure_of(key) == measure and key != f"{prefix}{measure}"
    }
    split = prefix.removeprefix("eval_").removesuffix("_")
    return f"{split:10s}  " + "  ".join(f"{name} {value:{form}}" for name, value in measured.items())


@contextmanager
def early_stopping_hears(handler: CallbackHandler, of_its_split: bool) -> Iterator[None]:
    """Early stopping hears of the evaluation within only if it is of the split whose metric it goes by: of
    others it would say that the metric is missing and that it is off."""
    kept = handler.callbacks
    if not of_its_split:
        handler.callbacks = [c for c in kept if not isinstance(c, EarlyStoppingCallback)]
    try:
        yield
    finally:
        handler.callbacks = kept
