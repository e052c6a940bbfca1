"""What a script of one's own adds by name: methods, networks, data sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedModel

from .data.built_in import BUILT_IN, BuiltIn
from .methods.registry import add_method
from .models import MODELS

Added = TypeVar("Added", bound=Callable[..., Any])


def register(added: Added) -> Added:
    """Decorator: what is one's own gets a name, for flags, recipes, cards, studies and sweeps.

    `added`: a method or a loss, which is a dataclass such as a subclass of `Objective` or `SampleLoss` with a
    `name`; a network, a `PreTrainedModel` that classifies images, under its configuration's `model_type`; or
    a data set, a function `f(configuration, **options)` that returns the `EnvironmentDataset`s `train`,
    `validation` and `test`, under the function's name. Fields that a configuration's docstring explains, and
    a function's keyword arguments with defaults, become options. Raises `ValueError` for a name that is taken
    or is no word in lower case, and for anything else.

    Example:
        @register
        def two_sites(configuration, *, seed: int = 0):
            return {"train": train, "validation": validation, "test": test}
    """
    if not isinstance(added, type):
        name = getattr(added, "__name__", "")
        _add_named(BUILT_IN, name, BuiltIn.from_function(added), "data set")
    elif issubclass(added, PreTrainedModel):
        config: Any = added.config_class
        if config is None:
            raise ValueError(f"{added.__name__} needs a config_class.")
        _add_named(MODELS, config.model_type, (config, added), "network")
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModelForImageClassification.register(config, added, exist_ok=True)
    else:
        add_method(added)
    return added


def _add_named(known: dict[str, Any], name: str, added: Any, kind: str) -> None:
    if not name.isidentifier() or not name.islower() or name in {*MODELS, *BUILT_IN}:
        raise ValueError(f"The name of a {kind} must be a word in lower case that none has, not {name!r}.")
    known[name] = added
