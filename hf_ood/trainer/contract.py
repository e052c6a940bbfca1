"""The private names of `transformers.Trainer` that this package overrides or calls, and their signatures.

`Trainer` promises nothing about them. They are checked when the package is imported, so that a release which
renames one is an error then, and never a hook that no one calls.
"""

from __future__ import annotations

import inspect

import transformers
from transformers import Trainer

TESTED = ("5.23.0", "5.24.0")  # the first and the last release that the core tests were run on

# Name -> its parameters after `self`.
OVERRIDDEN: dict[str, tuple[str, ...]] = {
    "_clip_grad_norm": ("model",),
    "_get_collator_with_removed_columns": ("data_collator", "description"),
    "_get_dataloader": (
        "dataset",
        "description",
        "batch_size",
        "sampler_fn",
        "is_training",
        "dataloader_key",
    ),
    "_get_num_items_in_batch": ("batch_samples", "device"),
    "_get_train_sampler": ("train_dataset",),
    "_evaluate": ("trial", "ignore_keys_for_eval", "skip_scheduler"),
    "_init_training_state": (
        "max_steps",
        "num_update_steps_per_epoch",
        "num_train_epochs",
        "resume_from_checkpoint",
        "trial",
    ),
    "_load_best_model": (),
    "_load_from_checkpoint": ("resume_from_checkpoint", "model"),
    "_maybe_log_save_evaluate": (
        "tr_loss",
        "grad_norm",
        "model",
        "trial",
        "epoch",
        "ignore_keys_for_eval",
        "start_time",
        "learning_rate",
    ),
    "_prepare_for_training": ("max_steps", "train_dataloader", "resume_from_checkpoint"),
    "_run_epoch": (
        "model",
        "epoch",
        "train_dataloader",
        "steps_in_epoch",
        "num_update_steps_per_epoch",
        "trial",
        "ignore_keys_for_eval",
        "start_time",
        "resume_from_checkpoint",
        "epochs_trained",
        "steps_trained_in_current_epoch",
    ),
    "_save_checkpoint": ("model", "trial"),
    "_save_optimizer_and_scheduler": ("output_dir",),
}
CALLED: dict[str, tuple[str, ...]] = {
    "_get_learning_rate": (),
    "_get_output_dir": ("trial",),
    "_load_rng_state": ("checkpoint",),
    "_prepare_inputs": ("inputs",),
}
# Attributes of a trainer that the loop sets or reads: found in its source.
ATTRIBUTES = ("_globalstep_last_logged", "_total_loss_scalar", "_tr_loss", "_train_batch_size")


def differences() -> list[str]:
    """What the installed `Trainer` does not have, or has with other parameters."""
    found = []
    for name, expected in (OVERRIDDEN | CALLED).items():
        method = getattr(Trainer, name, None)
        if method is None:
            found.append(f"{name} is gone")
            continue
        parameters = tuple(inspect.signature(method).parameters)[1:]
        if parameters != expected:
            found.append(f"{name} takes ({', '.join(parameters)}), not ({', '.join(expected)})")
    source = inspect.getsource(Trainer)
    return found + [f"{name} is gone" for name in ATTRIBUTES if f"self.{name}" not in source]


def check() -> None:
    """Raise `ImportError` where `transformers.Trainer` is not what this package builds on."""
    found = differences()
    if found:
        raise ImportError(
            f"transformers {transformers.__version__} has another Trainer than hf_ood builds on: "
            f"{'; '.join(found)}. hf_ood is tested with transformers {TESTED[0]} to {TESTED[1]}: "
            f"pip install 'transformers=={TESTED[1]}'."
        )
