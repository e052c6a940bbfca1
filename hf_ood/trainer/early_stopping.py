"""Early stopping as an option of the training arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import (
    EarlyStoppingCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)


class EarlyStopping(EarlyStoppingCallback):
    """`EarlyStoppingCallback` that counts anew in every training, and on from the checkpoint in a resumed
    one, which therefore stops where the undisturbed one does."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        saved: Any = (state.stateful_callbacks or {}) if state.global_step else {}
        counted = saved.get(type(self).__name__, {}).get("attributes", {})
        self.early_stopping_patience_counter = counted.get("early_stopping_patience_counter", 0)
        super().on_train_begin(args, state, control, **kwargs)


def check_patience(patience: int | None, threshold: float) -> None:
    """Raise `ValueError` for values that stop nothing or never."""
    if patience is None:
        if threshold:
            raise ValueError("early_stopping_threshold does nothing alone: set early_stopping_patience too.")
        return
    if patience < 1:
        raise ValueError(f"early_stopping_patience must be at least 1 evaluation, not {patience}.")
    if threshold < 0:
        raise ValueError(f"early_stopping_threshold must be at least 0, not {threshold}.")


def early_stopping(args: TrainingArguments, callbacks: Sequence[TrainerCallback]) -> EarlyStopping | None:
    """The callback that resolved arguments ask for; None where they ask for none.

    Raises `ValueError` where there is nothing to compare, and where `callbacks` have one already.
    """
    patience = getattr(args, "early_stopping_patience", None)
    if patience is None:
        return None
    if any(isinstance(callback, EarlyStoppingCallback) for callback in callbacks):
        raise ValueError(
            "early_stopping_patience and an EarlyStoppingCallback both say when to stop: give one of them."
        )
    evaluation = str(getattr(args.eval_strategy, "value", args.eval_strategy))
    if evaluation == "no" or args.metric_for_best_model is None:
        raise ValueError(
            "early_stopping_patience compares evaluations, and there are none to compare: give an "
            "eval_dataset with a validation set, and eval_strategy 'epoch' or 'steps'; or leave it out."
        )
    return EarlyStopping(patience, getattr(args, "early_stopping_threshold", 0.0))
