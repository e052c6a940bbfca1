"""`Trainer.hyperparameter_search` over a method's own options too."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from transformers import TrainingArguments
from transformers.utils import logging

from ..errors import unknown_name
from ..methods.registry import Method
from .ood_config import is_oracle

logger = logging.get_logger(__name__)


def with_options(method: Method, options: Mapping[str, Any]) -> Method:
    """The method with other hyper-parameters: `{"irm.penalty_weight": 10.0}`.

    Raises `ValueError` for a part that the method has not, and for an unknown option.
    """
    parts = {part.name: (kind, part) for kind, part in vars(method).items() if part is not None}
    changed: dict[str, dict[str, Any]] = {}
    for dotted, value in options.items():
        name, option = dotted.split(".", 1)
        if name not in parts:
            raise ValueError(unknown_name("part of the method", name, list(parts)))
        known = [field.name for field in fields(parts[name][1]) if field.init]
        if option not in known:
            raise ValueError(unknown_name(f"option of {name}", option, known))
        changed.setdefault(name, {})[option] = value
    built = dict(vars(method))
    for name, values in changed.items():
        kind, part = parts[name]
        given = {field.name: getattr(part, field.name) for field in fields(part) if field.init}
        built[kind] = type(part)(**{**given, **values})
    return Method(**built)


def without_dotted(
    space: Callable[[Any], dict[str, Any]], apply: Callable[[dict[str, Any]], None]
) -> Callable[[Any], dict[str, Any]]:
    """A search space of `TrainingArguments` alone; what a trial draws for a method's options goes to
    `apply`."""

    def drawn(trial: Any) -> dict[str, Any]:
        values = space(trial)
        apply({name: value for name, value in values.items() if "." in name})
        return {name: value for name, value in values.items() if "." not in name}

    return drawn


def goes_by(
    args: TrainingArguments, compute_objective: Callable[[dict[str, float]], float] | None
) -> tuple[Callable[[dict[str, float]], float], str]:
    """What a search looks for, and its direction: what is given, or `metric_for_best_model` in its own."""
    if compute_objective is not None:
        return compute_objective, "minimize"
    metric = args.metric_for_best_model
    if metric is None:
        raise ValueError("There is nothing to search by: give an eval_dataset, or compute_objective.")
    if is_oracle(metric):
        logger.warning(f"The search goes by {metric}: an oracle, it looks at test environments.")
    return operator.itemgetter(metric), "maximize" if args.greater_is_better else "minimize"


def require_optuna(backend: Any, options: Mapping[str, Any]) -> None:
    if options and backend != "optuna":
        raise ValueError(
            f"{', '.join(options)}: a method's options are searched with backend='optuna' only; or use "
            "hf-ood sweep."
        )
