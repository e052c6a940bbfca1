"""What whoever runs an exported network has to know: how inputs are made, and what the outputs mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedModel
from transformers.image_utils import PILImageResampling

from ..data.features import takes_features
from ..data.processors import takes_audio, takes_text
from ..data.targets import CLASSIFICATION, MULTI_LABEL
from ..evaluation.prediction import predicted_task
from ..models.input_stem import normalization
from .inputs import Batch, Inputs, longest_text

# What turns logits into what is predicted.
ACTIVATIONS = {CLASSIFICATION: "softmax", MULTI_LABEL: "sigmoid"}
GEOMETRY = (
    "do_convert_rgb", "do_resize", "size", "do_center_crop", "crop_size", "do_pad", "pad_size",
)  # fmt: skip


def describe(
    model: PreTrainedModel,
    processor: Any,
    inputs: Inputs,
    batch: Batch,
    max_length: int | None,
    temperature: float,
) -> dict[str, Any]:
    """Everything but the file's name, as JSON has it. `batch`: one that `inputs` made."""
    task = predicted_task(model.config)
    names: Any = model.config.id2label
    return {
        "network": type(model).__name__,
        "task": task,
        "labels": None if task not in ACTIVATIONS else [names[number] for number in sorted(names)],
        "inputs": [
            {"name": name, "dtype": str(values.dtype).removeprefix("torch."), "shape": shape(values, inputs)}
            for name, values in batch.items()
        ],
        "output": {
            "name": "logits",
            "shape": ["batch", model.config.num_labels],
            "activation": ACTIVATIONS.get(task, "none"),
            "temperature": temperature,
            "temperature_applied": True,
        },
        "processor": {"kind": inputs.kind, **processing(processor, max_length)},
    }


def shape(values: torch.Tensor, inputs: Inputs) -> list[int | str]:
    """The shape of an input, dimensions that may differ by name."""
    free = {0: "batch", **inputs.free}
    return [free.get(dimension, size) for dimension, size in enumerate(values.shape)]


def processing(processor: Any, max_length: int | None) -> dict[str, Any]:
    """How an input is made of what a user has, by the kind of processor; nothing of a network of bare
    vectors."""
    if processor is None:
        return {}
    if takes_features(processor):
        return dict(vars(processor))  # standardised numbers, then a 0 or 1 for each category
    if takes_text(processor):
        return {
            "class": type(processor).__name__,
            "max_length": longest_text(processor, max_length),
            "padding_side": processor.padding_side,
            "pad_token_id": processor.pad_token_id,
        }
    if takes_audio(processor):
        return {
            "class": type(processor).__name__,
            "sampling_rate": processor.sampling_rate,
            "max_seconds": getattr(processor, "max_seconds", None),
            "normalize": getattr(processor, "do_normalize", None),
        }
    return image_processing(processor)


def image_processing(processor: Any) -> dict[str, Any]:
    """Height, width, mean and deviation as they are found by running the processor on images of one colour,
    beside what it says about resizing."""
    pixels = processor(images=Image.fromarray(np.zeros((64, 48, 3), np.uint8)), return_tensors="pt")
    channels, height, width = pixels["pixel_values"].shape[1:]
    mean: list[float] | None
    std: list[float] | None
    try:
        mean, std = ([value + 0.0 for value in values] for values in normalization(processor))  # not -0
    except ValueError:  # it does more to colours than to normalise each channel: its own file says what
        mean = std = None
    told: Mapping[str, Any] = processor.to_dict()
    resample = told.get("resample")
    return {
        "class": type(processor).__name__,
        "channels": channels,
        "height": height,
        "width": width,
        "rescale": 1 / 255,
        "mean": mean,
        "std": std,
        "resample": None if resample is None else PILImageResampling(resample).name.lower(),
        **{name: told[name] for name in GEOMETRY if told.get(name) is not None},
    }
