"""What a network is traced with, and compared on: batches as its own processor makes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from ..data.features import takes_features
from ..data.processors import takes_audio, takes_text
from ..data.sounds import extracted, sound_reader
from ..data.text import MAX_LENGTH

Batch = dict[str, Tensor]
LONGEST_TRACED = 32  # tokens of the texts that a network is compared on


@dataclass(frozen=True)
class Inputs:
    """What a network reads: `make` gives a batch of so many random samples of this `kind`.

    `kind`: images, vectors, text or sounds. `free`: dimensions beside the batch that differ from batch to
    batch, with their names.
    """

    kind: str
    make: Callable[[int], Batch]
    free: dict[int, str] = field(default_factory=dict)


def inputs_of(model: PreTrainedModel, processor: Any, max_length: int | None = None) -> Inputs:
    """What the network reads, as its processor makes it.

    `processor`: an image processor, a tokenizer, a feature extractor, a `FeatureProcessor`, or None for a
    network of vectors. `max_length`: tokens after which texts are cut. Raises `ValueError` for a network of
    images without a processor, and for sounds without a length.
    """
    random = np.random.default_rng(0)
    if processor is None or takes_features(processor):
        size = getattr(model.config, "num_features", None)
        if size is None:
            raise ValueError(f"{type(model).__name__} takes images: pass its image processor.")
        return Inputs("vectors", lambda count: {"inputs": _normal(random, count, size)})
    if takes_text(processor):
        longest = longest_text(processor, max_length)
        return Inputs("text", lambda count: _texts(random, processor, longest, count), {1: "tokens"})
    if takes_audio(processor):
        frames = sound_reader("audio", processor).frames
        return Inputs("sounds", lambda count: _sounds(random, processor, frames, count))
    return Inputs("images", lambda count: _images(random, processor, count))


def longest_text(tokenizer: Any, max_length: int | None = None) -> int:
    """Tokens after which a text is cut."""
    return max_length or min(tokenizer.model_max_length, MAX_LENGTH)


def _normal(random: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(random.standard_normal(shape, dtype=np.float32))


def _images(random: np.random.Generator, processor: Any, count: int) -> Batch:
    """Images of 32 x 32 pixels: a shape in one colour, with noise, on a ground of another."""
    images = []
    for _ in range(count):
        pixels = np.empty((32, 32, 3))
        pixels[:] = random.integers(0, 256, 3)
        top, left = random.integers(2, 14, 2)
        pixels[top : top + 14, left : left + 7] = random.integers(0, 256, 3)
        pixels += random.normal(0, 4, pixels.shape)
        images.append(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))
    return {"pixel_values": processor(images=images, return_tensors="pt")["pixel_values"]}


def _texts(random: np.random.Generator, tokenizer: Any, longest: int, count: int) -> Batch:
    """Texts of random words, of which the first is the longest: the others are padded."""
    special = set(tokenizer.all_special_ids)
    ordinary = [number for number in range(len(tokenizer)) if number not in special]
    own = max(1, min(longest, LONGEST_TRACED) - tokenizer.num_special_tokens_to_add())
    lengths = [own, *random.integers(1, own + 1, count - 1)]
    texts = [tokenizer.decode(random.choice(ordinary, length)) for length in lengths]
    return dict(
        tokenizer(
            texts, truncation=True, max_length=min(longest, LONGEST_TRACED), padding=True, return_tensors="pt"
        )
    )


def _sounds(random: np.random.Generator, extractor: Any, frames: int | None, count: int) -> Batch:
    noise = [random.standard_normal(extractor.sampling_rate, dtype=np.float32) for _ in range(count)]
    return extracted(extractor, noise, frames)
