"""Images, texts or columns as features: reduced pixels, or what a trained network makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import PartialState
from datasets import Dataset as HFDataset
from PIL.Image import Image, Resampling
from torch import Tensor
from transformers import AutoConfig, AutoModel

from ...data import EnvironmentDataset
from ...data.collate import images_or_vectors
from ...data.columns import find_image_column, require_columns
from ...data.features import takes_features
from ...data.processors import classifies_sounds, load_processor, takes_text
from ...data.reading_images import as_rgb
from ...encoder_packages import place_of
from ...models.run_over_dataset import run_over
from ..prediction import load_classifier

Images = Tensor | list[Image]  # uint8 [B, C, H, W], or pictures in RGB
Encoder = Callable[[Images], np.ndarray]
BATCH_SIZE = 256
TEXTS_AT_ONCE = 32
CLASSIFIERS = ("ForImageClassification", "ForSequenceClassification")


class PixelEncoder:
    """Images averaged down to `size` x `size` pixels: a fixed encoder of colours and coarse shapes."""

    def __init__(self, size: int = 7):
        self.size = size

    def __call__(self, images: Images) -> np.ndarray:
        """Features in 0..1, float32 [B, channels * size * size]."""
        if isinstance(images, Tensor):
            return F.adaptive_avg_pool2d(images.float() / 255, self.size).flatten(1).numpy()
        small = [image.resize((self.size, self.size), Resampling.BOX) for image in images]
        pixels = np.stack([np.asarray(image, dtype=np.float32) for image in small])
        return pixels.transpose(0, 3, 1, 2).reshape(len(images), -1) / 255


class CheckpointEncoder:
    """What the last layer of a classifier of images, texts or features in columns sees, or the pooled output
    of a network without classes; of texts the mean over their tokens.

    `checkpoint`: a folder or a Hub id; `options` as for `from_pretrained`. Raises `ValueError` when the
    checkpoint's last layer has no features.
    """

    def __init__(self, checkpoint: str, **options: Any):
        checkpoint = place_of(checkpoint, options.get("revision"))
        config = AutoConfig.from_pretrained(checkpoint, **options)
        if classifies_sounds(config):
            raise ValueError(
                f"{checkpoint} hears sounds, and shifts are measured on images or features: give "
                "measure_shift pairs (features [N, D], labels [N]) of your own."
            )
        architectures = config.architectures or []
        if any(name.endswith(CLASSIFIERS) for name in architectures):
            self.model, self.processor = load_classifier(checkpoint, **options)
            self.classifies = True
        else:
            self.classifies = False
            self.model = AutoModel.from_pretrained(checkpoint, **options).eval()
            self.processor = load_processor(checkpoint, **options)
        self.model.to(PartialState().device)

    @property
    def reads_features(self) -> bool:
        return takes_features(self.processor)

    @property
    def reads_texts(self) -> bool:
        return takes_text(self.processor)

    def __call__(self, images: Images) -> np.ndarray:
        """Features float32 [B, D]."""
        if self.reads_features or self.reads_texts:
            what = "texts" if self.reads_texts else "features in columns"
            raise ValueError(f"The encoder reads {what}, and the data are images.")
        return self._features([self.processor(images=list(images), return_tensors="pt")])

    def of_rows(self, rows: HFDataset) -> np.ndarray:
        """Features float32 [N, D] of the rows of a table, by a network of features in columns."""
        batches = torch.from_numpy(self.processor.vectors(rows)).split(BATCH_SIZE)
        return self._features({"inputs": vectors} for vectors in batches)

    def of_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Features float32 [N, D] of texts, cut where the tokenizer cuts them."""
        batches = [
            self.processor(
                list(texts[start : start + TEXTS_AT_ONCE]), padding=True, truncation=True, return_tensors="pt"
            )
            for start in range(0, len(texts), TEXTS_AT_ONCE)
        ]
        if self.classifies:
            return self._features(batches)
        outputs = (output for output, _ in run_over(self.model, batches))
        found = [
            _mean_of_tokens(output.last_hidden_state, batch["attention_mask"])
            for output, batch in zip(outputs, batches, strict=True)
        ]
        return torch.cat(found).float().cpu().numpy()

    def _features(self, batches: Iterable[Mapping[str, Tensor]]) -> np.ndarray:
        seen = run_over(self.model, batches, features=self.classifies)
        found = [_pooled(output) if features is None else features for output, features in seen]
        return torch.cat(found).float().cpu().numpy()


def _mean_of_tokens(states: Tensor, mask: Tensor) -> Tensor:
    """[B, D] of tokens [B, n, D] and which of them are none of the filling, [B, n]."""
    weights = mask.to(states).unsqueeze(-1)
    return (states * weights).sum(1) / weights.sum(1)


def _pooled(output: Any) -> Tensor:
    """The output of a network without classes as one vector a sample, [B, D]."""
    if getattr(output, "pooler_output", None) is not None:
        return output.pooler_output.flatten(1)
    states = output.last_hidden_state  # tokens [B, n, D] or a map [B, D, H, W]
    return states.mean(1) if states.dim() == 3 else states.mean((2, 3))


def make_encoder(encoder: str | Encoder) -> Encoder:
    """`"pixels"`, a checkpoint's folder or Hub id, or any function of images."""
    if not isinstance(encoder, str):
        return encoder
    return PixelEncoder() if encoder == "pixels" else CheckpointEncoder(encoder)


def encode(
    dataset: EnvironmentDataset | HFDataset,
    encoder: Encoder,
    image_column: str | None = None,
    text_column: str = "text",
) -> np.ndarray:
    """Features float [N, D] of every image or text; vectors [N, D] are features as they are."""
    if isinstance(dataset, EnvironmentDataset) and _inputs(dataset, [0]).dim() == 2:
        return _inputs(dataset, range(len(dataset))).numpy()
    if isinstance(dataset, HFDataset) and isinstance(encoder, CheckpointEncoder) and encoder.reads_features:
        return encoder.of_rows(dataset)
    if isinstance(dataset, HFDataset) and isinstance(encoder, CheckpointEncoder) and encoder.reads_texts:
        require_columns(dataset, text_column)
        return encoder.of_texts(dataset[text_column][:])
    return np.concatenate([encoder(images) for images in _batches(dataset, image_column)])


def _inputs(dataset: EnvironmentDataset, rows: Sequence[int]) -> Tensor:
    """Images or vectors of the rows. Raises `ValueError` for texts and sounds."""
    read = dataset.inputs(rows)
    found = images_or_vectors(read)
    if found is None:
        raise ValueError(
            f"Shifts are measured on images or vectors, and the data set holds {', '.join(read)}: give pairs "
            "(features [N, D], labels [N]) of your own."
        )
    return found


def _batches(dataset: EnvironmentDataset | HFDataset, image_column: str | None) -> Iterator[Images]:
    starts = range(0, len(dataset), BATCH_SIZE)
    if isinstance(dataset, EnvironmentDataset):
        for start in starts:
            images = _inputs(dataset, range(start, min(start + BATCH_SIZE, len(dataset))))
            yield (images * 255).round().byte() if images.is_floating_point() else images
        return
    column = find_image_column(dataset, image_column)
    for start in starts:
        yield [as_rgb(image) for image in dataset[start : start + BATCH_SIZE][column]]
