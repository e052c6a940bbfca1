"""Checkpoints whose weights go by other names than the network's.

`save_pretrained` writes the names that a family had when its first checkpoints were published, and
`from_pretrained` translates them; `Trainer` takes a checkpoint's names as they are and passes over those it
does not know.
"""

from __future__ import annotations

from pathlib import Path

import safetensors
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from transformers import PreTrainedModel

from ..engine import is_sharded


def has_other_names(model: nn.Module, checkpoint: str | Path) -> bool:
    """Whether the checkpoint names weights that the network does not have. Reads headers, not weights."""
    if not isinstance(model, PreTrainedModel):
        return False
    known = set(model.state_dict())
    for file in Path(checkpoint).glob("model*.safetensors"):
        with safetensors.safe_open(file, framework="pt") as weights:
            if not known.issuperset(weights.keys()):
                return True
    return False


def load_by_from_pretrained(model: nn.Module, checkpoint: str | Path) -> None:
    """Fill the network, whole or divided over processes, with the checkpoint's weights, their names
    translated."""
    assert isinstance(model, PreTrainedModel)
    weights = type(model).from_pretrained(checkpoint).state_dict()
    if is_sharded(model):
        set_model_state_dict(model, weights, options=StateDictOptions(full_state_dict=True))
    else:
        model.load_state_dict(weights)
