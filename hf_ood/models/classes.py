"""Weights that belong to classes follow the classes' names."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel


def class_names(config: PreTrainedConfig) -> list[str]:
    """What the outputs stand for, in their order."""
    named = config.id2label or {}
    return [str(name) for _, name in sorted((int(number), name) for number, name in named.items())]


def class_dimensions(model: PreTrainedModel) -> dict[str, int]:
    """The weights that have a row, or a column, for each class, and along which dimension: those that change
    when the network is built for one class more. Nothing is allocated for that."""
    shapes = []
    for more in (0, 1):
        config = copy.deepcopy(model.config)
        # Of one output a network may be built in another way.
        config.num_labels = len(class_names(model.config)) + 1 + more
        with torch.device("meta"):
            shapes.append({name: values.shape for name, values in type(model)(config).state_dict().items()})
    found = {}
    for name, shape in shapes[0].items():
        changed = [
            at for at, (one, other) in enumerate(zip(shape, shapes[1][name], strict=True)) if one != other
        ]
        if changed:
            found[name] = changed[0]
    return found


def with_class_order(model: PreTrainedModel, order: Sequence[int]) -> dict[str, Tensor]:
    """The weights, with class i having those that class `order[i]` has; of a model with more classes, only
    those of these. Raises `ValueError` for weights that mix classes in another way."""
    state, index = dict(model.state_dict()), torch.as_tensor(list(order))
    for name, dimension in class_dimensions(model).items():
        if state[name].shape[dimension] != model.config.num_labels:
            raise ValueError(
                f"{name} of {type(model).__name__} has {state[name].shape[dimension]} rows for "
                f"{model.config.num_labels} classes: it cannot be put in another order. Write the data's "
                "classes in the model's order (a ClassLabel)."
            )
        state[name] = state[name].index_select(dimension, index.to(state[name].device))
    return state


def renew_classes(model: PreTrainedModel, fresh: Any) -> list[str]:
    """Give the weights that belong to classes those of a `fresh` model of the same kind; their names."""
    names = list(class_dimensions(model))
    state, new = model.state_dict(), fresh.state_dict()
    model.load_state_dict({**state, **{name: new[name] for name in names}})
    return names
