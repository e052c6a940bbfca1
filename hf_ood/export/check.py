"""Whether an ONNX file gives what PyTorch gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .inputs import Batch

BATCHES = (1, 2, 5)
TOLERANCE = 1e-4  # of the largest logit, and of 1 where that is smaller: float32 in another order


def compare(network: nn.Module, file: Path, batches: Sequence[Batch]) -> dict[int, float]:
    """Samples of a batch -> the largest difference between an output of ONNX Runtime on the CPU and
    PyTorch's.

    Raises `ValueError` where one is beyond `TOLERANCE`, or is not finite.
    """
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    read = [entry.name for entry in session.get_inputs()]
    found = {}
    for batch in batches:
        with torch.no_grad():
            expected = [output.numpy() for output in network(*batch.values())]
        given = session.run(None, {name: batch[name].numpy() for name in read})
        count = len(expected[0])
        found[count] = max(_difference(*pair, count) for pair in zip(given, expected, strict=True))
    return found


def _difference(given: np.ndarray, expected: np.ndarray, count: int) -> float:
    if given.shape != expected.shape:
        raise ValueError(
            f"ONNX Runtime gives {list(given.shape)} for a batch of {count}, and PyTorch "
            f"{list(expected.shape)}: this network cannot be exported."
        )
    difference = float(np.abs(given - expected).max())
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not difference <= allowed:
        raise ValueError(
            f"ONNX Runtime and PyTorch differ by {difference:.2g} on a batch of {count}, where {allowed:.2g} "
            "is allowed: this network cannot be exported."
        )
    return difference
