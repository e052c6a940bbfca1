"""Refuse, before any training starts, what could not work or would silently compute something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments
from transformers.utils import logging

from ..data import EnvironmentDataset
from ..engine import is_sharded
from ..methods.averaging import Averaging
from ..methods.losses import SampleLoss
from ..methods.masking import FeatureTransform
from ..methods.mixing import Mixing
from ..methods.objectives import Objective
from ..methods.registry import Method
from ..methods.updates import Update
from .environment_options import EnvironmentOptions

logger = logging.get_logger(__name__)
OFTEN = 20  # draws of one sample in an epoch that are worth a warning


def check_class(trainer: str, method: Any, expected: type) -> None:
    """A named trainer runs its own method and no other."""
    if not isinstance(method, expected):
        raise TypeError(
            f"{trainer} takes {expected.__name__}, not {type(method).__name__}; OODTrainer takes any."
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
    """Refuse options of `Trainer` that would do nothing here, or something else than they say."""
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


def check_environments(dataset: EnvironmentDataset, method: Objective | Update) -> None:
    counts = dataset.environment_counts()
    if len(counts) < method.min_environments:
        raise ValueError(
            f"{method.name} compares environments: it needs at least {method.min_environments}, the "
            f"training set has {len(counts)} ({', '.join(counts)}). Train on more, or use erm or rsc."
        )


def check_batches(
    dataset: EnvironmentDataset,
    args: TrainingArguments,
    options: EnvironmentOptions,
    batch: int,
    processes: int,
) -> None:
    """There is at least one batch, and no environment is smaller than its part of one. What trains less than
    it says is a warning."""
    fills_up = processes > 1  # Accelerate draws the first samples again where the last batch is too small
    if len(dataset) < batch * processes and (args.dataloader_drop_last or fills_up):
        raise ValueError(
            f"{len(dataset)} training samples do not fill one batch of {batch} on each of {processes} "
            "process(es): lower per_device_train_batch_size."
        )
    proportions = options.environment_proportions
    counts = dataset.group_counts() if proportions == "groups" else dataset.environment_counts()
    smallest, kind = (
        min(counts, key=counts.__getitem__),
        "Group" if proportions == "groups" else "Environment",
    )
    share = -(-batch // len(counts))  # at most
    if proportions == "natural":
        return
    if not options.sample_with_replacement and counts[smallest] < share:
        raise ValueError(
            f"{kind} {smallest!r} has {counts[smallest]} samples, fewer than its {share} of a batch of "
            f"{batch}: lower per_device_train_batch_size, or set environment_proportions='natural' or "
            "sample_with_replacement=True, or leave it out."
        )
    step = args.gradient_accumulation_steps * processes
    places = -(-batch * step // len(counts))
    if not options.sample_with_replacement and counts[smallest] < places:
        logger.warning(
            f"{kind} {smallest!r} has {counts[smallest]} samples and fills {places} places of each "
            f"step of {batch * step}: its samples count several times in one step."
        )
    draws = len(dataset) / len(counts) / counts[smallest]
    if draws > OFTEN:
        logger.warning(
            f"{kind} {smallest!r} has {counts[smallest]} of {len(dataset)} samples and fills "
            f"1/{len(counts)} of every batch: each of them is drawn {draws:.0f} times in an epoch. Leave it "
            "out, or set environment_proportions='natural'."
        )
    if batch < len(counts):
        logger.warning(
            f"A batch of {batch} has no room for {len(counts)} {kind.lower()}s: each step sees "
            f"{batch * step} samples of some of them. Raise per_device_train_batch_size to {len(counts)} or "
            "more."
        )


def check_labels(
    dataset: EnvironmentDataset,
    objective: Objective,
    transform: FeatureTransform | None,
    model: nn.Module,
) -> None:
    """Labels are there, of one class or one number each, and the model has an output for each of them."""
    config = getattr(model, "config", None)
    if getattr(config, "problem_type", None) == "multi_label_classification" or (
        dataset.has_labels and dataset.labels.dim() > 1
    ):
        raise ValueError(
            "Several labels a sample: there is no single cross-entropy. Give the trainer a method "
            "per_sample(model, inputs) -> losses [B], logits [B, C], environments [B] (for instance "
            "binary_cross_entropy_with_logits(...).mean(1)), or train one model for each label."
        )
    if not dataset.has_labels:
        raise ValueError(
            "The training set has no labels: name their column 'label' or 'labels'. Texts are none before "
            "data.class_encode_column('label')."
        )
    num_labels = getattr(config, "num_labels", None)
    if dataset.labels.is_floating_point():
        if objective.needs_classes:
            raise ValueError(
                f"{objective.name} compares samples of one class, and a regression has none: use another "
                "method."
            )
        if transform is not None and transform.needs_classes:
            raise ValueError(
                f"{transform.name} looks for the features that speak for a sample's class, and a regression "
                "has none: use another method."
            )
        if num_labels != 1:
            raise ValueError(f"Labels are floats, which needs num_labels=1; the model has {num_labels}.")
    elif num_labels is not None and int(dataset.labels.max()) >= num_labels:
        raise ValueError(
            f"Labels reach {int(dataset.labels.max())}, but the model has {num_labels} classes: build it "
            f"with num_labels={len(dataset.label_names)}."
        )
    if not dataset.labels.is_floating_point():
        for lack in lacking_classes(dataset):
            logger.warning(lack)


def lacking_classes(dataset: EnvironmentDataset) -> list[str]:
    """What a training set cannot teach: classes that it has no sample of, in all or in some environments."""
    names, places = dataset.label_names, dataset.environment_names
    counts = torch.bincount(dataset.groups, minlength=len(names) * len(places)).view(len(names), len(places))
    learned, present = counts.any(1), counts.any(0)
    said = []
    if not learned.all():
        absent = _first([name for name, known in zip(names, learned.tolist(), strict=True) if not known])
        said.append(f"No training sample belongs to {absent}: the model cannot learn it.")
    poor = (counts[learned] == 0).any(0) & present
    if poor.any():
        where = _first([name for name, lacks in zip(places, poor.tolist(), strict=True) if lacks])
        said.append(f"Not every class occurs in {where}: there the environment tells something of the label.")
    return said


def _first(names: Sequence[str]) -> str:
    """The first three names, and how many more there are."""
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def num_classes(model: nn.Module, dataset: EnvironmentDataset) -> int:
    """How many classes the model tells apart; of a model without a configuration, as many as have names."""
    return getattr(getattr(model, "config", None), "num_labels", None) or len(dataset.label_names)


def check_mixing(mixing: Mixing, objective: Objective, dataset: EnvironmentDataset) -> None:
    """Mixtures of the inputs exist, the objective can take them, and there are environments to mix."""
    first = dataset.__getitems__([0])
    if "input_ids" in (first[0] if isinstance(first, list) else first):
        raise ValueError(
            f"{mixing.name} takes weighted means of inputs, and there is nothing between two tokens "
            f"(input_ids): train without {mixing.name}, or on images."
        )
    if mixing.needs_classes and dataset.labels.is_floating_point():
        raise ValueError(
            f"{mixing.name} pairs samples by their classes, and a regression has none: use mixup, which "
            "mixes the targets."
        )
    if objective.needs_classes:
        raise ValueError(
            f"{objective.name} compares samples of one class, but {mixing.name} makes samples that belong to "
            "several in parts: use one of the two."
        )
    environments = list(dataset.environment_counts())
    if len(environments) < mixing.min_environments:
        raise ValueError(
            f"{mixing.name} mixes environments: it needs at least {mixing.min_environments}, the training "
            f"set has {len(environments)} ({', '.join(environments)}). Train on more, or without it."
        )


def match_labels(dataset: EnvironmentDataset, trained: Sequence[str], what: str) -> EnvironmentDataset:
    """The same rows with the class ids of the training set, matched by name.

    Raises `ValueError` with both lists of names where one of the dataset's is not among those `trained` on.
    """
    names = dataset.label_names
    if not dataset.has_labels or dataset.labels.is_floating_point() or not trained or not names:
        return dataset
    if list(names) == list(trained)[: len(names)]:
        return dataset
    unknown = [name for name in names if name not in trained]
    if unknown:
        raise ValueError(
            f"{what} has classes that the training set has not ({_first(unknown)}): it names {list(names)}, "
            f"the training set {list(trained)}. Classes are matched by name."
        )
    position = torch.tensor([list(trained).index(name) for name in names])
    return dataset.with_labels(position[dataset.labels], trained)
