"""Checkpoints whose weights go by other names than the network's, or are not all of the network's.

`save_pretrained` writes the names that a family had when its first checkpoints were published, and
`from_pretrained` translates them; `Trainer` takes a checkpoint's names as they are and passes over those it
does not know, and over those it does not find.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import safetensors
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from transformers import PreTrainedModel
from transformers.utils import logging

from ..engine import is_sharded

logger = logging.get_logger(__name__)
SHOWN = 5


def saved_names(checkpoint: str | Path) -> set[str]:
    """The names of a checkpoint's weights, from the headers of its files."""
    names: set[str] = set()
    for file in Path(checkpoint).glob("model*.safetensors"):
        with safetensors.safe_open(file, framework="pt") as weights:
            names |= set(weights.keys())
    return names


def has_other_names(model: nn.Module, checkpoint: str | Path) -> bool:
    """Whether the checkpoint names weights that the network does not have."""
    return isinstance(model, PreTrainedModel) and not saved_names(checkpoint) <= set(model.state_dict())


def load_by_from_pretrained(model: nn.Module, checkpoint: str | Path, accept_missing: bool = False) -> None:
    """Fill the network, whole or divided over processes, with the checkpoint's weights, their names
    translated. Raises `ValueError` as `check_keys`."""
    assert isinstance(model, PreTrainedModel)
    model_class: Any = type(model)
    loaded, info = model_class.from_pretrained(checkpoint, output_loading_info=True)
    check_keys(checkpoint, info["missing_keys"], info["unexpected_keys"], accept_missing)
    weights = loaded.state_dict()
    if is_sharded(model):
        set_model_state_dict(model, weights, options=StateDictOptions(full_state_dict=True))
    else:
        model.load_state_dict(weights)


def check_names(model: nn.Module, checkpoint: str | Path, accept_missing: bool) -> None:
    """Raise `ValueError` as `check_keys` where the checkpoint's names are the network's own; several names of
    one tensor are saved once. A network that is divided, or an adapter, is saved in other ways."""
    saved = saved_names(checkpoint)
    if not saved or is_sharded(model):
        return
    own = model.state_dict()
    there = {own[name].data_ptr() for name in saved & own.keys()}
    missing = [name for name, value in own.items() if name not in saved and value.data_ptr() not in there]
    ignored = getattr(model, "_keys_to_ignore_on_save", None) or ()
    check_keys(checkpoint, set(missing) - set(ignored), saved - own.keys(), accept_missing)


def check_keys(
    folder: str | Path, missing: Iterable[str], extra: Iterable[str], accept_missing: bool
) -> None:
    """Raise `ValueError` for weights that the network has and the folder lacks, unless they are accepted,
    which is said, and for weights that the network does not have."""
    if unknown := sorted(extra):
        raise ValueError(
            f"{folder} has weights that the network does not have ({_few(unknown)}): it is of "
            "another network."
        )
    if lacking := sorted(missing):
        if not accept_missing:
            raise ValueError(
                f"{folder} has no weights for {_few(lacking)}. Bring the file back, or let these be newly "
                "initialised with accept_missing_keys (--accept_missing_keys true)."
            )
        logger.warning(f"{folder} has no weights for {_few(lacking)}: these are newly initialised.")


def _few(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
