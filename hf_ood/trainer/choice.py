"""What chooses the checkpoint: resolved before training, against the metrics that there will be."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from transformers import TrainingArguments
from transformers.utils import logging

from ..data import EnvironmentDataset
from ..data.targets import CLASSIFICATION, MULTI_LABEL, REGRESSION
from ..evaluation.auroc import MOST_GROUPS, MOST_SCORES, auroc_is_defined
from ..evaluation.measures import (
    CLASSES,
    MULTI_LABEL_MEASURES,
    POOLED,
    REGRESSION_MEASURES,
    measure_of,
    metric_names,
    rises,
)
from ..evaluation.multi_label import has_auroc, has_f1
from ..evaluation.regression import spreads
from .ood_config import OODConfig

logger = logging.get_logger(__name__)
MEASURES = {
    CLASSIFICATION: CLASSES,
    MULTI_LABEL: MULTI_LABEL_MEASURES,
    REGRESSION: REGRESSION_MEASURES,
}
Exists = Callable[[np.ndarray, np.ndarray, int], np.ndarray]  # labels, environments, E -> bool [E]
# The measures that an environment may lack: which environments have it, and why the others have not.
MAY_LACK: dict[str, dict[str, tuple[Exists, str]]] = {
    CLASSIFICATION: {"auroc": (auroc_is_defined, "only one class occurs there")},
    MULTI_LABEL: {
        "auroc": (has_auroc, "no label differs between samples there"),
        "macro_f1": (has_f1, "no sample has any label there"),
    },
    REGRESSION: {"r2": (lambda *samples: spreads(*samples) > 0, "all targets are the same there")},
}
FOLLOWING = ("reduce_lr_on_plateau", "greedy")  # schedules that go by the metric


def split_prefix(split: str) -> str:
    """What a split's metrics begin with; the only split of a trainer has no name."""
    return f"eval_{split}_" if split else "eval_"


def known_metrics(splits: Mapping[str, EnvironmentDataset], losses_only: bool) -> list[str]:
    """The names of the metrics that the library will compute."""
    found = []
    for split, dataset in splits.items():
        names = ["loss"]
        if not losses_only and dataset.has_labels:
            measures = _measures_by_environment(dataset)
            names += metric_names(measures, _pooled(dataset) if dataset.task == CLASSIFICATION else [])
        found += [split_prefix(split) + name for name in names]
    return found


def _measures_by_environment(dataset: EnvironmentDataset) -> dict[str, list[str]]:
    """The measures that each environment of a labelled data set will have."""
    places = dataset.environment_counts()
    names = dataset.environment_names
    samples = (dataset.labels.numpy(), dataset.environments.numpy(), len(names))
    defined = {measure: exists(*samples).tolist() for measure, (exists, _) in MAY_LACK[dataset.task].items()}
    return {
        name: [m for m in MEASURES[dataset.task] if m not in defined or defined[m][number]]
        for number, name in enumerate(names)
        if name in places
    }


def _pooled(dataset: EnvironmentDataset) -> list[str]:
    """The measures of all samples of a classifier's data set together."""
    labels = dataset.labels.numpy()
    (ranked,) = auroc_is_defined(labels, np.zeros_like(labels), 1)
    return [measure for measure in POOLED if measure != "auroc" or ranked]


def resolve_choice(
    args: TrainingArguments,
    splits: Mapping[str, EnvironmentDataset],
    own_metrics: bool,
    chooses_itself: bool,
    measured: bool,
) -> None:
    """Settle `metric_for_best_model`, its direction and whether a checkpoint is chosen, in `args`.

    `own_metrics`: the user computes metrics too, of which nothing is known yet. `chooses_itself`: an
    averaging is the choice. `measured`: the library's measures will be computed. Raises `ValueError` for a
    metric that will not exist, and for one whose direction is neither known nor given.
    """
    if not splits:
        args.eval_strategy = "no"
    asked = bool(args.load_best_model_at_end) or goes_by_metric(args)
    if chooses_itself or not splits:
        args.load_best_model_at_end = False
    known = known_metrics(splits, bool(args.prediction_loss_only) or not measured)
    metric = args.metric_for_best_model
    if metric is None or (metric == "loss" and not isinstance(args, OODConfig)):
        metric = _default(known, loss=metric == "loss")
        if metric is None:
            args.load_best_model_at_end = False  # nothing to choose by: the last step stays
            if goes_by_metric(args) and splits:
                raise ValueError(_missing("metric_for_best_model", known))
            return
        args.greater_is_better = None
    else:
        metric = _full_name(metric, known, splits)
        if metric not in known and not own_metrics and (asked or splits):
            if not splits:
                return
            raise ValueError(_missing(metric, known))
    args.metric_for_best_model = metric
    _tell_what_is_left_out(metric, splits)
    rising = rises(metric) if metric in known or not _is_direction_given(args) else None
    if rising is None and args.greater_is_better is None:
        raise ValueError(
            f"hf_ood does not know whether {metric} rises or falls as models get better: set "
            "greater_is_better."
        )
    args.greater_is_better = args.greater_is_better if rising is None else rising
    if _scheduler(args) in FOLLOWING:  # Trainer leaves their direction at "min"
        mode = "max" if args.greater_is_better else "min"
        given: Any = args.lr_scheduler_kwargs or {}
        args.lr_scheduler_kwargs = {"mode": mode, **given}


def _tell_what_is_left_out(metric: str, splits: Mapping[str, EnvironmentDataset]) -> None:
    """Warn where a mean or worst over environments will be over some of them only."""
    for split, dataset in splits.items():
        for measure, (_, reason) in MAY_LACK[dataset.task].items() if dataset.has_labels else ():
            if metric in (f"{split_prefix(split)}{of}_{measure}" for of in ("mean", "worst")):
                measures = _measures_by_environment(dataset)
                lacking = [name for name, measured in measures.items() if measure not in measured]
                if lacking:
                    logger.warning(f"{metric} leaves out {', '.join(lacking)}: {reason}.")


def require_metric(metric: str, computed: list[str]) -> None:
    """Raise `ValueError` where a metric is not among those that will be computed."""
    if metric not in computed:
        raise ValueError(_missing(metric, computed))


def _is_direction_given(args: TrainingArguments) -> bool:
    """Whether the user said which way the metric goes: `TrainingArguments` fills in what its name ends in."""
    if isinstance(args, OODConfig) or args.greater_is_better is None:
        return args.greater_is_better is not None
    return args.greater_is_better == str(args.metric_for_best_model).endswith("loss")


def goes_by_metric(args: TrainingArguments) -> bool:
    """Whether the learning rate or saving follows `metric_for_best_model`."""
    saving = str(getattr(args.save_strategy, "value", args.save_strategy))
    return _scheduler(args) in FOLLOWING or saving == "best"


def _scheduler(args: TrainingArguments) -> str:
    return str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type))


DEFAULTS = ["mean_accuracy", "mean_macro_f1", "mean_squared_error", "loss"]


def _default(known: list[str], loss: bool) -> str | None:
    kinds = ["loss"] if loss else DEFAULTS
    wanted = [prefix + kind for prefix in ("eval_validation_", "eval_") for kind in kinds]
    return next((metric for metric in wanted if metric in known), None)


def _full_name(metric: str, known: list[str], splits: Mapping[str, Any]) -> str:
    """`accuracy`, `validation_accuracy` and `eval_validation_accuracy` are one."""
    short = metric.removeprefix("eval_")
    for candidate in (f"eval_{short}", f"eval_validation_{short}"):
        if candidate in known:
            return candidate
    prefixes = [split_prefix(split) for split in splits]
    if f"eval_{short}".startswith(tuple(prefixes)) or "validation" not in splits:
        return f"eval_{short}"
    return f"eval_validation_{short}"


def _missing(metric: str, known: list[str]) -> str:
    shown = ", ".join(known[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")
    hint = f" Did you mean {near!r}?" if (near := _nearest(metric, known)) else ""
    if measure_of(metric) == "auroc":
        hint = (
            f" auroc takes two classes in an environment, and in all at most {MOST_GROUPS} groups and "
            f"{MOST_SCORES:,} samples times classes."
        )
    there = f"there will be: {shown or 'none'}"
    return f"{metric} will not be among the metrics, so it cannot choose; {there}.{hint}"


def _nearest(metric: str, known: list[str]) -> str | None:
    """The known metric with the most similar name, leaving out what all names of its split begin with."""
    prefix = split_prefix("validation") if metric.startswith(split_prefix("validation")) else "eval_"
    asked = metric.removeprefix(prefix)
    short = {name.removeprefix(prefix): name for name in known}
    ending = [name for name in short if name.endswith(f"_{asked}")]
    near = sorted(ending, key=len)[:1] or difflib.get_close_matches(asked, list(short), n=1)
    return short[near[0]] if near else None
