"""Checkpoints whose weights go by other names than the network's.

`save_pretrained` writes the names that a family had when its first checkpoints were published, and
`from_pretrained` translates them; `Trainer` takes a checkpoint's names as they are and passes over those it
does not know.
"""

from __future__ import annotations

from pathlib import Path

import safetensors
from torch import nn
from transformers import PreTrainedModel


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
    """Fill the network with the checkpoint's weights, their names translated."""
    assert isinstance(model, PreTrainedModel)
    model.load_state_dict(type(model).from_pretrained(checkpoint).state_dict())
