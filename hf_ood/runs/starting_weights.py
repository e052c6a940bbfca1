"""Which weights a run started from: weights of one start may be averaged."""

from __future__ import annotations

import hashlib

from torch import nn

from ..data.fingerprint import tensor_hash

STARTING_WEIGHTS = "starting_weights"  # in results


def fingerprint_of_weights(model: nn.Module) -> str:
    """SHA-256 over names, types, shapes and values of all parameters and buffers: 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {[*value.shape]} {tensor_hash(value)}\n".encode())
    return digest.hexdigest()
