"""Every option of `TrainingArguments` and of `Trainer`, classed: inherited, honoured or refused.

Inherited is what stays `Trainer`'s own business: the comparisons of `test_options.py` show that it changes
`OODTrainer` as it changes `Trainer`. Honoured is what the engine takes over: a test marked `shows` shows the
effect. Refused is an error when the trainer is made (`test_refused_options.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import TypeVar

from transformers import Trainer, TrainingArguments

INHERITED: dict[str, str] = {
    "optimiser": (
        "learning_rate optim optim_args optim_target_modules weight_decay adam_beta1 adam_beta2 adam_epsilon "
        "optimizer_cls_and_kwargs"
    ),
    "schedule": "lr_scheduler_kwargs warmup_steps",
    "length of the training": "per_device_train_batch_size num_train_epochs max_steps",
    "logging": (
        "logging_strategy logging_steps logging_first_step log_on_each_node log_level log_level_replica "
        "report_to run_name project trackio_space_id trackio_bucket_id trackio_static_space_id "
        "include_num_input_tokens_seen skip_memory_metrics debug callbacks"
    ),
    "evaluation": (
        "eval_strategy eval_steps eval_delay eval_on_start per_device_eval_batch_size eval_use_gather_object "
        "eval_accumulation_steps"
    ),
    "saving": (
        "output_dir save_strategy save_steps save_total_limit save_on_each_node enable_jit_checkpoint "
        "processing_class"
    ),
    "resuming": "ignore_data_skip restore_callback_states_from_checkpoint",
    "Hub": ("push_to_hub hub_token hub_private_repo hub_model_id hub_strategy hub_always_push hub_revision"),
    "precision": "bf16 bf16_full_eval fp16_full_eval tf32",
    "memory": (
        "activation_checkpointing activation_checkpointing_kwargs gradient_checkpointing "
        "gradient_checkpointing_kwargs use_cache torch_empty_cache_steps"
    ),
    "the network's noise": "neftune_noise_alpha full_determinism",
    "loading": (
        "dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers "
        "dataloader_prefetch_factor dataloader_multiprocessing_context dataloader_in_order length_column_name"
    ),
    "devices and processes": (
        "use_cpu accelerator_config average_tokens_across_devices ddp_find_unused_parameters "
        "ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph ddp_backend ddp_timeout deepspeed"
    ),
    "read by scripts alone": "do_train do_eval do_predict resume_from_checkpoint local_rank",
}

# Of the inherited: why no comparison is made.
NOT_COMPARED: dict[str, str] = {
    **dict.fromkeys("log_level log_level_replica log_on_each_node".split(), "of the library's own messages"),
    **dict.fromkeys(
        "report_to run_name project trackio_space_id trackio_bucket_id trackio_static_space_id".split(),
        "trackers are callbacks, which get the same logs",
    ),
    **dict.fromkeys(
        "push_to_hub hub_token hub_private_repo hub_model_id hub_strategy hub_always_push "
        "hub_revision".split(),
        "tests/hub pushes through clients in processes of their own",
    ),
    **dict.fromkeys(
        "ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph ddp_backend "
        "ddp_timeout save_on_each_node eval_use_gather_object".split(),
        "of several processes: tests/invariants trains on two",
    ),
    **dict.fromkeys(
        "do_train do_eval do_predict resume_from_checkpoint local_rank".split(),
        "Trainer does not read it",
    ),
    "deepspeed": "needs a package and a GPU",
    "tf32": "needs a GPU",
    "dataloader_pin_memory": "needs a GPU",
    "use_cpu": "every test sets it",
    "output_dir": "every test sets it",
    "average_tokens_across_devices": "counts the tokens of a network that takes num_items_in_batch",
    "activation_checkpointing": "test_backbones.py",
    "activation_checkpointing_kwargs": "goes with activation_checkpointing",
    "gradient_checkpointing": "the old name of activation_checkpointing",
    "gradient_checkpointing_kwargs": "the old name of activation_checkpointing_kwargs",
    "dataloader_multiprocessing_context": "a process that is spawned takes seconds to start",
    "enable_jit_checkpoint": "acts on a signal to the process; saves through _save_checkpoint as ever",
    "debug": "prints; hooks on the network alone",
}

HONOURED: dict[str, str] = {
    "model": "any network whose outputs have logits; others by `per_sample`",
    "args": "any TrainingArguments; a copy is read, never the caller's own",
    "train_dataset": "an EnvironmentDataset, or a datasets.Dataset with a column of environments",
    "eval_dataset": "the same; environments and classes are matched by name",
    "data_collator": "gets rows without their environment, which reaches the batch beside it",
    "model_init": "the network is looked at when training begins",
    "compute_loss_func": "gives the loss of each sample",
    "compute_metrics": "gets labels alone, and environments as attributes; beside the library's measures",
    "preprocess_logits_for_metrics": "gets labels alone; the logits are measured beside it",
    "optimizers": "takes the objective's own parameters along",
    "label_smoothing_factor": "smooths the loss beneath every objective; evaluations are of the plain loss",
    "gradient_accumulation_steps": "exact: the objective of the whole step",
    "max_grad_norm": "clips the norm of all gradients, the objective's own included",
    "lr_scheduler_type": "those that follow a metric follow it in its direction",
    "auto_find_batch_size": "a retry starts the method's state anew",
    "train_sampling_strategy": "orders samples under natural proportions; beside others refused",
    "dataloader_drop_last": "of training; evaluations keep every sample",
    "remove_unused_columns": "the environment always stays",
    "label_names": "the environment goes beside them",
    "seed": "orders samples in every environment",
    "data_seed": "orders samples in place of the seed",
    "logging_nan_inf_filter": "on or off, a loss that is not finite stops the training",
    "disable_tqdm": "the progress bar shows environments",
    "prediction_loss_only": "checkpoints are chosen by the loss",
    "include_for_metrics": "what a user's compute_metrics asks for beside labels and environments",
    "save_only_model": "such a checkpoint cannot be resumed from, and says so",
    "load_best_model_at_end": "chosen by default where evaluating and saving meet",
    "metric_for_best_model": "checked before the first step against what there will be",
    "greater_is_better": "known for every measure of the library",
    "torch_compile": "with additive objectives; hooks in the middle of a network are refused",
    "torch_compile_backend": "goes with torch_compile",
    "torch_compile_mode": "goes with torch_compile",
}

REFUSED: dict[str, str] = {
    "batch_eval_metrics": "an environment's measures need all of its samples",
    "eval_do_concat_batches": "False: as above",
    "use_liger_kernel": "computes the loss inside of the network",
    "liger_kernel_config": "goes with use_liger_kernel",
    "parallelism_config": "sizes above 1 that have several processes see the same samples",
    "fsdp": "on a CPU, where Accelerate ignores it",
    "fsdp_config": "goes with fsdp",
    "fp16": "on a CPU, where Accelerate ignores it",
}

# Names that one of the two tested releases of transformers does not have -> which one has them.
OF_ONE_RELEASE: dict[str, str] = {}

TestFunction = TypeVar("TestFunction", bound=Callable[..., None])
SHOWN: dict[str, list[str]] = {}


def shows(*names: str) -> Callable[[TestFunction], TestFunction]:
    """Mark a test as the one that shows what these options do."""

    def keep(test: TestFunction) -> TestFunction:
        for name in names:
            SHOWN.setdefault(name, []).append(test.__name__)
        return test

    return keep


def inherited() -> set[str]:
    return {name for names in INHERITED.values() for name in names.split()}


def installed() -> set[str]:
    """Every option of the installed release."""
    parameters = set(inspect.signature(Trainer.__init__).parameters) - {"self"}
    return parameters | {field.name for field in fields(TrainingArguments)}
