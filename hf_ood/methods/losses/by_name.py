"""From a loss's name and options, as recipes and flags give them, to the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ...errors import unknown_name
from . import LOSSES
from .base import SampleLoss
from .cross_entropy import CrossEntropy

NAME = "name"  # the key, among the options, that says which loss it is


def build_loss(options: Mapping[str, Any]) -> SampleLoss:
    """`build_loss({"name": "focal", "gamma": 2.0})`; without a name it is `cross_entropy`.

    Raises `ValueError` for an unknown name, and for an option of another loss.
    """
    name = options.get(NAME, CrossEntropy.name)
    check_loss_options(name, [option for option in options if option != NAME])
    return LOSSES[name](**{option: value for option, value in options.items() if option != NAME})


def check_loss_options(name: str, given: list[str]) -> None:
    """Raises `ValueError` for an unknown loss, and for an option that it has not, with the losses that have
    it."""
    if name not in LOSSES:
        raise ValueError(unknown_name("loss", name, list(LOSSES)))
    for option in given:
        if option not in options_of(name):
            owners = [other for other in LOSSES if option in options_of(other)]
            if not owners:
                raise ValueError(unknown_name(f"option of the loss {name}", option, options_of(name)))
            raise ValueError(
                f"loss.{option} is no option of {name}, but of {', '.join(owners)}: name the loss "
                f"(--loss {owners[0]}), or leave it out."
            )


def options_of(name: str) -> list[str]:
    """The options of a loss."""
    return [field.name for field in fields(LOSSES[name]) if field.init]
