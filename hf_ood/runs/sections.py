"""The options that parts of a run have of their own, by the part's name: `irm`, `lenet`, `colored_mnist`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, get_type_hints

from ..data.built_in import BUILT_IN, BuiltIn
from ..discovery import INFERENCES
from ..methods.last_layer import LAST_LAYERS
from ..methods.losses import LOSSES, CrossEntropy
from ..methods.losses.by_name import NAME, options_of
from ..methods.registry import METHODS
from ..models import MODELS
from .adapters import LORA, LORA_OPTIONS, LoRA

LOSS = "loss"  # the section of what a sample costs


@dataclass(frozen=True)
class Option:
    """An option of a part: its type, default, and the sentence that explains it."""

    hint: Any
    default: Any
    help: str


def sections() -> dict[str, dict[str, Option]]:
    """Section -> option."""
    found = {name: data_options(data) for name, data in BUILT_IN.items() if data.tensors}
    for name, (config, _) in MODELS.items():
        found[name] = _model_options(config)
    for name, method in {**METHODS, **INFERENCES, **LAST_LAYERS}.items():
        found[name] = _dataclass_options(method, [field.name for field in fields(method) if field.init])
    found[LOSS] = _loss_options()
    found[LORA] = _dataclass_options(LoRA, LORA_OPTIONS)
    return {name: options for name, options in found.items() if options}


def _loss_options() -> dict[str, Option]:
    """The loss's name, and the options of all losses, each with the losses that have it."""
    names = ", ".join(LOSSES)
    help = f"What a sample costs: {names}. Default: that of the task, {CrossEntropy.name} of classes."
    options: dict[str, Option] = {NAME: Option(str, CrossEntropy.name, help)}
    for name, loss in LOSSES.items():
        for key, option in _dataclass_options(loss, options_of(name)).items():
            owners = ", ".join(other for other in LOSSES if key in options_of(other))
            options.setdefault(key, replace(option, help=f"{option.help} (of {owners})"))
    return options


def data_options(data: BuiltIn) -> dict[str, Option]:
    """What a built-in data set lets one choose."""
    if data.options is None:
        return _function_options(data.tensors)
    own = [field.name for field in fields(data.options) if "help" in field.metadata]
    return _dataclass_options(data.options, own)


def _dataclass_options(cls: Any, names: Sequence[str]) -> dict[str, Option]:
    hints = get_type_hints(cls)
    options = {}
    for field in fields(cls):
        if field.name in names:
            default = field.default_factory() if callable(field.default_factory) else field.default
            options[field.name] = Option(hints[field.name], default, field.metadata["help"])
    return options


def _function_options(build: Any) -> dict[str, Option]:
    """Of a data set of one's own: its function's keyword arguments with defaults."""
    hints = get_type_hints(build)
    return {
        name: Option(
            hints.get(name, type(parameter.default)), parameter.default, f"Of the data set {build.__name__}."
        )
        for name, parameter in inspect.signature(build).parameters.items()
        if parameter.default is not parameter.empty
    }


def _model_options(config: Any) -> dict[str, Option]:
    """A model's own configuration fields; their help is the configuration's docstring."""
    help_of = dict(
        re.findall(r"^\s+(\w+) \(`.*?\): (.*?)(?=\n\s+\w+ \(`|\n\s*\Z)", config.__doc__ or "", re.M | re.S)
    )
    hints = inspect.get_annotations(config, eval_str=True)
    return {
        name: Option(hints[name], getattr(config, name), re.sub(r"\s+", " ", help_of[name]).strip())
        for name in hints
        if name in help_of
    }
