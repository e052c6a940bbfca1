"""Arguments and methods that do not go together are refused before training starts."""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments
from transformers.utils import logging

from ..engine import is_sharded
from ..methods.averaging import Averaging
from ..methods.losses import SampleLoss
from ..methods.mixing import Mixing
from ..methods.objectives import Objective
from ..methods.registry import Method
from ..methods.updates import Update
from ..options import refuse_not_finite
from .environment_options import BALANCES_CLASSES, EnvironmentOptions

logger = logging.get_logger(__name__)


def check_class(trainer: str, method: Any, expected: type) -> None:
    """A named trainer runs its own method and no other."""
    if not isinstance(method, expected):
        raise TypeError(
            f"{trainer} takes {expected.__name__}, not {type(method).__name__}; OODTrainer takes any."
        )


def launched_processes() -> int:
    """How many processes the launcher (torchrun, accelerate launch) has started for this run."""
    return int(os.environ.get("WORLD_SIZE", 1))


def check_processes(args: TrainingArguments) -> None:
    if args.world_size < launched_processes():
        raise ValueError(
            f"{launched_processes()} processes were launched, and the arguments know of {args.world_size}: "
            "each would train a whole run, into the same folder. Without a GPU set use_cpu=True and "
            "ddp_backend='gloo'; OODConfig does so itself."
        )


def check_precision(precision: str, device: torch.device) -> None:
    """Accelerate leaves float16 out on a CPU, without a word: everything would be in float32."""
    if precision == "fp16" and device.type == "cpu":
        raise ValueError(
            "fp16 does nothing on a CPU: Accelerate has no loss scale there and would train in "
            "float32. Use --bf16 true, which a CPU can, or leave --fp16 out."
        )


def check_divisible(objective: Objective, args: TrainingArguments, processes: int) -> None:
    if not objective.additive and (args.gradient_accumulation_steps > 1 or processes > 1):
        raise ValueError(
            f"{objective.name} is not a function of sums over samples: on parts of a batch it is another "
            "objective. Use one process and gradient_accumulation_steps=1 (with a larger batch), or "
            "another method."
        )


def check_evaluation(args: TrainingArguments, measured: bool) -> None:
    """`measured`: the library computes measures of each environment."""
    if args.batch_eval_metrics:
        raise ValueError(
            "batch_eval_metrics computes metrics batch by batch, and the measures of an environment need all "
            "of its samples: leave it out, and set eval_accumulation_steps to spare the device's memory."
        )
    if measured and not args.eval_do_concat_batches:
        raise ValueError(
            "eval_do_concat_batches=False leaves predictions in batches, and the measures of an environment "
            "need all of its samples together: leave it out."
        )


def check_arguments(args: TrainingArguments, options: EnvironmentOptions, method: Method) -> None:
    """Refuse options of `Trainer` that would do nothing here, or something else than they say, and numbers
    that are none."""
    refuse_not_finite({own.name: getattr(args, own.name) for own in fields(args) if own.init})
    for part in vars(method).values():
        if is_dataclass(part) and not isinstance(part, type):
            name = getattr(part, "name", type(part).__name__)
            refuse_not_finite({f"{name}.{own.name}": getattr(part, own.name) for own in fields(part)})
    for degree in ("tp_size", "cp_size", "sp_size"):
        if (getattr(args.parallelism_config, degree, 1) or 1) > 1:
            raise ValueError(
                f"parallelism_config.{degree} has several processes see the same samples, which the sums "
                "over processes would count twice: divide the data alone (torchrun, FSDP)."
            )
    if args.fsdp and args.device.type == "cpu":
        raise ValueError(
            "fsdp does nothing on a CPU: Accelerate would train every process's whole copy, without a word. "
            "Leave it out, or load the network with from_pretrained(..., distributed_config="
            "DistributedConfig(fsdp_size=...)), which divides it on a CPU too."
        )
    strategy = str(getattr(args.train_sampling_strategy, "value", args.train_sampling_strategy))
    if strategy != "random" and options.environment_proportions != "natural":
        raise ValueError(
            f"train_sampling_strategy={strategy!r} orders the samples in another way than "
            f"environment_proportions={options.environment_proportions!r}: set environment_proportions to "
            "'natural', or leave train_sampling_strategy out."
        )
    if args.use_liger_kernel:
        raise ValueError(
            "use_liger_kernel computes the loss inside of the network, where no objective sees its samples: "
            "leave it out."
        )
    if method.update is not None and args.torch_empty_cache_steps is not None:
        raise ValueError(
            f"{method.update.name} makes its steps itself and would never empty the cache: leave "
            "torch_empty_cache_steps out."
        )
    optimizer = str(getattr(args.optim, "value", args.optim))
    if optimizer in ("lomo", "adalomo"):
        raise ValueError(
            f"optim={optimizer!r} moves the weights while gradients are computed, before the whole step is "
            "known: use another optimizer."
        )


def check_division(model: nn.Module, by_accelerate: bool) -> None:
    """Processes divide the samples, and the weights only where `Trainer` knows of it.

    `by_accelerate`: Accelerate divides the weights (`TrainingArguments.fsdp`, DeepSpeed).
    """
    config = getattr(getattr(model, "config", None), "distributed_config", None)
    for degree in ("tp_size", "pp_size", "ep_size"):
        if (getattr(config, degree, 1) or 1) > 1:
            raise ValueError(
                f"DistributedConfig({degree}=...) has several processes see the same samples, which the sums "
                "over processes would count twice: use fsdp_size alone."
            )
    known = by_accelerate or getattr(model, "is_distributed_loading_by_transformers", False)
    if is_sharded(model) and not known:
        raise ValueError(
            "The network was divided by hand (fully_shard), of which Trainer does not know: it would wrap it "
            "once more. Load it with from_pretrained(..., distributed_config=DistributedConfig("
            "fsdp_size=...)), or train it with hf_ood.engine.ExactStep in a loop of your own."
        )


def check_given_loss(
    loss: SampleLoss | None, smoothing: float, given: str | None, mixing: Mixing | None
) -> None:
    """There is one loss. `given`: the user's function or hook that gives each sample's, or None."""
    if loss is not None and smoothing:
        raise ValueError(
            "label_smoothing_factor and loss= both say what a sample's loss is: give CrossEntropy("
            f"label_smoothing={smoothing}) as loss."
        )
    if given and (loss is not None or smoothing):
        other = "loss=" if loss is not None else "label_smoothing_factor"
        raise ValueError(f"{given} gives the loss of each sample, so {other} would do nothing: leave it out.")
    if given and mixing is not None:
        raise ValueError(
            f"{mixing.name} makes labels that are shares of classes, which a loss of your own does not know: "
            "use loss= (a SampleLoss), or train without it."
        )


def check_loss(loss: SampleLoss | None, mixing: Mixing | None, proportions: str) -> None:
    """A loss meets samples that it knows, and classes as often as it counts on."""
    if loss is None:
        return
    if mixing is not None and not loss.takes_shares:
        raise ValueError(
            f"{mixing.name} makes labels that are shares of classes, and {loss.name} takes samples of a "
            "single one: use another loss, or train without mixing."
        )
    if loss.counts_classes and proportions in BALANCES_CLASSES:
        raise ValueError(
            f"environment_proportions={proportions!r} draws the classes equally often, and {loss.name} "
            "corrects for how often they occur in the training data: both at once would favour what is rare. "
            "Use one of the two."
        )


def check_update(
    update: Update,
    objective: Objective,
    mixing: Mixing | None,
    compiled: bool,
    sharded: bool,
) -> None:
    """What an update asks for exists: whole gradients on every process, risks of single environments, and
    derivatives of gradients."""
    if update.differentiates_gradients and compiled:
        raise ValueError(
            f"{update.name} differentiates gradients, which those of a compiled network do not allow: leave "
            "--torch_compile out."
        )
    if sharded:
        raise ValueError(
            f"{update.name} needs every process to hold all weights, which FSDP and DeepSpeed divide: "
            "train with plain data parallelism (torchrun), or without an update."
        )
    if update.by_environment and not objective.linear:
        raise ValueError(
            f"{update.name} takes the gradient of each environment's risk, and {objective.name} is no mean "
            f"over environments: combine {update.name} with erm, or {objective.name} with sam."
        )
    if update.by_environment and mixing is not None:
        raise ValueError(
            f"{update.name} takes one environment at a time, and {mixing.name} mixes them: use one of the "
            "two."
        )


def check_own_networks(objective: Objective, update: Update | None, sharded: bool) -> None:
    """An objective's own networks are whole on every process, and move with the optimizer's step."""
    if not objective.parameters():
        return
    if sharded:
        raise ValueError(
            f"{objective.name} trains a network of its own, which FSDP and DeepSpeed do not shard: "
            "launch with plain data parallelism (torchrun), or use another method."
        )
    if update is not None:
        raise ValueError(
            f"{objective.name} trains a network of its own, which {update.name} would not "
            "move: use one of the two."
        )


def check_near_the_start(options: EnvironmentOptions, precision: str, sharded: bool, given: bool) -> None:
    """Refuse `l2_sp` where weights are divided or gradients scaled, and `layer_decay` with an optimizer that
    was `given`."""
    if options.l2_sp and sharded:
        raise ValueError(
            "l2_sp keeps whole starting weights, but FSDP and DeepSpeed divide them over processes: leave "
            "one of the two out."
        )
    if options.l2_sp and precision == "fp16":
        raise ValueError("l2_sp adds to gradients, which fp16 scales: use bf16, or leave l2_sp out.")
    if options.layer_decay < 1 and given:
        raise ValueError(
            "layer_decay divides the groups of an optimizer that the trainer makes, and optimizers=... "
            "brings one: give its groups their rates, or leave layer_decay out."
        )


def check_averaging(averaging: Averaging, validates: bool, sharded: bool) -> None:
    if sharded:
        raise ValueError(
            f"{averaging.name} averages whole weights, but FSDP and DeepSpeed divide them over "
            "processes: use DDP, or leave it out."
        )
    if averaging.needs_validation and not validates:
        raise ValueError(
            f"{averaging.name} goes by the validation loss: give an eval_dataset with a "
            "'validation' set, and eval_strategy 'steps' or 'epoch'."
        )
