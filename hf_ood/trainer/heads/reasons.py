"""What heads have to be like to be trained together, and what they are told that are not."""

from __future__ import annotations

from typing import Any

from transformers.trainer_utils import IntervalStrategy

from ...methods.masking import MixStyle
from ...methods.registry import Method
from ..checks import launched_processes
from ..ood_config import DEFAULT_METRIC, OODConfig
from .choice import METRICS

OPTIMIZERS = ("adamw_torch", "adamw_torch_fused")
SCHEDULES_BY_METRIC = ("reduce_lr_on_plateau", "greedy")
PREFIX = "eval_validation_"
# The arguments that training together follows, and those that do not change what is trained.
FOLLOWED = {
    "adam_beta1", "adam_beta2", "adam_epsilon", "data_seed", "dataloader_drop_last",
    "environment_proportions", "eval_steps", "eval_strategy", "greater_is_better", "label_smoothing_factor",
    "learning_rate", "load_best_model_at_end", "lr_scheduler_kwargs", "lr_scheduler_type", "max_grad_norm",
    "max_steps", "metric_for_best_model", "num_train_epochs", "optim", "per_device_train_batch_size",
    "sample_with_replacement", "save_steps", "save_strategy", "seed", "warmup_steps", "weight_decay",
}  # fmt: skip
WITHOUT_EFFECT = {
    "accept_missing_keys", "dataloader_num_workers", "dataloader_persistent_workers", "dataloader_pin_memory",
    "dataloader_prefetch_factor", "disable_tqdm", "do_eval", "do_predict", "do_train", "freeze_batch_norm",
    "log_level", "log_level_replica", "logging_dir", "logging_first_step", "logging_nan_inf_filter",
    "logging_steps", "logging_strategy", "output_dir", "per_device_eval_batch_size", "project",
    "remove_unused_columns", "report_to", "run_name", "save_on_signal", "save_only_model", "save_total_limit",
    "trackio_space_id", "use_cpu",
}  # fmt: skip


def why_alone(method: Method, training: OODConfig, validates: bool = True) -> str | None:
    """Why a head of this method cannot be trained together with others; None where it can.

    `validates`: whether there is a validation set. What the answer says holds for `OODTrainer` no less: it
    trains the head as it trains any network.
    """
    return why_not_the_method(method) or why_not(training, validates)


def why_not_the_method(method: Method) -> str | None:
    """Why no head of this method can be trained together with others; None where it can."""
    if method.update is not None:
        return f"{method.update.name} makes the steps of its weights itself"
    if not method.objective.additive:
        return f"{method.objective.name} is no function of sums over samples"
    if method.objective.needs_head:
        return f"{method.objective.name} reads out other features than the data's"
    if method.objective.needs_start:
        return f"{method.objective.name} runs a frozen copy of the network beside it"
    if isinstance(method.feature_transform, MixStyle):
        return "mixstyle mixes statistics of maps, and heads see vectors"
    return None


def why_not(training: OODConfig, validates: bool = True) -> str | None:
    """Why no head can be trained together with others under these arguments; None where they can."""
    given = training.given()
    others = sorted(name for name in given if name not in FOLLOWED | WITHOUT_EFFECT)
    if others:
        return f"{others[0]} is for networks that are trained one by one"
    if launched_processes() > 1:
        return "several processes share each step"
    if _value(training.optim) not in OPTIMIZERS:
        return f"optim={_value(training.optim)} is not AdamW"
    if _value(training.lr_scheduler_type) in SCHEDULES_BY_METRIC:
        return f"the learning rate follows a metric ({_value(training.lr_scheduler_type)})"
    return _why_not_the_choice(training) if validates and training.load_best_model_at_end else None


def _why_not_the_choice(training: OODConfig) -> str | None:
    metric = (training.metric_for_best_model or DEFAULT_METRIC).removeprefix("eval_")
    if metric.removeprefix("validation_") not in METRICS:
        return f"{metric} chooses the weights, and heads that are trained together go by {', '.join(METRICS)}"
    if training.save_strategy == IntervalStrategy.STEPS and training.save_steps != (
        training.eval_steps or training.logging_steps
    ):
        return "weights are saved at other steps than they are evaluated at"
    return None


def _value(option: Any) -> str:
    return str(getattr(option, "value", option))
