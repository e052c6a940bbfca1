"""`Trainer.hyperparameter_search` over a method's own options too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from ..data.configurations import unknown_name
from .methods import Method


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
