"""A trained network as an ONNX file, compared with PyTorch before anything is kept."""

from __future__ import annotations

import copy
import importlib.util
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..files import all_or_nothing
from ..json_files import json_text
from .check import BATCHES, TOLERANCE, compare
from .description import describe
from .grad_cam import WithGradCam, unrolled, with_grad_cam
from .inputs import Batch, inputs_of

ONNX_FILE, DESCRIPTION_FILE = "model.onnx", "model.json"
KEY = "hf_ood"  # of the description among the file's metadata
NEEDED = ("onnx", "onnxscript", "onnxruntime")
LARGEST_FILE = 2**31 - 2**20  # protobuf's limit; larger weights lie in a file beside


@dataclass(frozen=True)
class Exported:
    """What `export_onnx` wrote: the file, and samples of a batch -> largest difference from PyTorch."""

    file: Path
    description: dict[str, Any]
    differences: dict[int, float]


def export_onnx(
    model: PreTrainedModel,
    processor: Any,
    output_dir: str | Path,
    max_length: int | None = None,
    temperature: float = 1.0,
    grad_cam: bool = False,
) -> Exported:
    """Write a classifier as `model.onnx`, for batches of any size, beside `model.json` and its processor.

    `processor`: what makes its inputs (`load_classifier` gives both), None for a network of bare vectors.
    `max_length`: tokens after which texts were cut in training. `temperature`: by which the logits are
    divided already, in the weights (`hf-ood evaluate --calibrate`); it is only noted. `grad_cam`: a second
    output, Grad-CAM of the predicted class [B, h, w], of a network of images.

    The weights are float32. `model.json`, which the file holds too as its metadata `hf_ood`, says what each
    input is and how it is made (size, mean and deviation of images; columns of a table; length of texts), the
    labels in order, and what turns logits into probabilities. The file is run on random inputs in batches of
    1, 2 and 5 and must give PyTorch's logits to 1e-4 of the largest (of 1 where that is smaller).

    Raises `ValueError` where a package is missing, where the network cannot be traced, and where the logits
    are not the same; the folder then keeps the files that it had.

    Example: `export_onnx(*load_classifier("runs/mine"), "runs/mine/onnx")`
    """
    require_packages()
    network = float_copy(model)
    inputs = inputs_of(network, processor, max_length)
    batches = [inputs.make(count) for count in BATCHES]
    traced = batches[1]
    if grad_cam and inputs.kind != "images":
        raise ValueError(
            f"Grad-CAM is of images, and {type(model).__name__} takes {inputs.kind}: leave it out."
        )
    description = describe(network, processor, inputs, traced, max_length, temperature)
    wrapped: nn.Module = Logits(network, list(traced)).eval()
    outputs = ["logits"]
    if grad_cam:
        wrapped = with_grad_cam(network, traced["pixel_values"])
        outputs.append("grad_cam")
        height, width = wrapped(**traced)[1].shape[1:]
        description["grad_cam"] = {
            "name": "grad_cam",
            "shape": ["batch", height, width],
            "layer": wrapped.layer,
        }
    folder = Path(output_dir)
    with all_or_nothing(folder, last=DESCRIPTION_FILE) as staged:
        program = trace(wrapped, traced, inputs.free, outputs)
        strip(program)
        program.model.metadata_props[KEY] = json_text(description)
        size = sum(values.numel() * values.element_size() for values in network.state_dict().values())
        program.save(staged / ONNX_FILE, external_data=size > LARGEST_FILE)
        differences = compare(wrapped, staged / ONNX_FILE, batches)
        if processor is not None:
            processor.save_pretrained(staged)
        description["checked"] = {
            "largest_difference": {str(count): found for count, found in differences.items()},
            "tolerance": TOLERANCE,
        }
        (staged / DESCRIPTION_FILE).write_text(json_text(description, indent=1) + "\n", encoding="utf-8")
    return Exported(folder / ONNX_FILE, description, differences)


class Logits(nn.Module):
    """A classifier as a function of tensors: inputs in the order of `names` -> (logits,)."""

    def __init__(self, network: nn.Module, names: Sequence[str]):
        super().__init__()
        self.network, self.names = network, tuple(names)

    def forward(self, *inputs: Tensor) -> tuple[Tensor]:
        return (self.network(**dict(zip(self.names, inputs, strict=True))).logits,)


def require_packages() -> None:
    """Raise `ValueError` where a package is missing that writes or runs the file."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"An ONNX file needs {', '.join(missing)}: pip install 'hf_ood[export]'.")


def float_copy(model: PreTrainedModel) -> PreTrainedModel:
    """The network on the CPU, in float32 and evaluation mode; the caller's stays as it is."""
    copied: Any = copy.deepcopy(model)
    return copied.to("cpu", torch.float32).eval().requires_grad_(False)


def trace(network: nn.Module, batch: Batch, free: dict[int, str], outputs: Sequence[str]) -> Any:
    """The network as an ONNX program, whose first dimension, and those that are `free`, may have any size.

    Raises `ValueError` where it has operations or branches that cannot be traced.
    """
    dynamic = dict.fromkeys((0, *free), torch.export.Dim.DYNAMIC)
    each = tuple(dict(dynamic) for _ in batch)
    try:
        with quiet():
            return torch.onnx.export(
                unrolled(network, *batch.values()) if isinstance(network, WithGradCam) else network,
                tuple(batch.values()),
                input_names=list(batch),
                output_names=list(outputs),
                dynamic_shapes=each if isinstance(network, WithGradCam) else (each,),
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise ValueError(
            f"{type(network.network).__name__} cannot be exported for batches of any size: {reason}"
        ) from error


def strip(program: Any) -> None:
    """Take out where in this machine's files each operation comes from."""
    for graph in program.model.graphs():
        graph.metadata_props.clear()
        for node in graph:
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()
        for value in (*graph.inputs, *graph.initializers.values()):
            value.metadata_props.clear()


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporter's notes about packages that are not there and about its own code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


__all__ = ["DESCRIPTION_FILE", "ONNX_FILE", "Exported", "export_onnx"]
