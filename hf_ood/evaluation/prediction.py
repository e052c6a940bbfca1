"""Logits of any classifier of images, texts, sounds or features on any data set of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForAudioClassification,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils.logging import tqdm

from ..data.features import takes_features
from ..data.origins import where
from ..data.processors import load_processor, takes_audio, takes_text
from ..data.reading_images import as_rgb, first_bad_image
from ..data.sounds import first_bad_sound, sound_reader, undecoded
from ..data.targets import CLASSIFICATION, MULTI_LABEL, PROBLEM_TYPES, REGRESSION
from ..data.text import MAX_LENGTH, require_texts
from ..manifest import is_ours, refuse_damaged_model
from ..models.run_over_dataset import run_over


def load_classifier(model: str, **options: Any) -> tuple[PreTrainedModel, Any]:
    """A classifier and its tokenizer, feature extractor, image processor or `FeatureProcessor`, from a Hub id
    or a folder; `options` as for `from_pretrained`.

    Raises `ValueError` when the checkpoint lacks weights, such as a head that was never trained:
    `from_pretrained` would make them up.
    """
    refuse_damaged_model(model)
    processor = load_processor(model, **options)
    auto_class: Any = AutoModelForImageClassification
    if takes_text(processor):
        auto_class = AutoModelForSequenceClassification
    elif takes_audio(processor):
        auto_class = AutoModelForAudioClassification
    return load_unchecked(auto_class, model, **options), processor


def load_network(auto_class: Any, model: str, **options: Any) -> PreTrainedModel:
    """The network alone, in evaluation mode. Raises `ValueError` when the checkpoint lacks weights, has
    others or is damaged."""
    refuse_damaged_model(model)
    return load_unchecked(auto_class, model, **options)


def load_unchecked(auto_class: Any, model: str, **options: Any) -> PreTrainedModel:
    """As `load_network`, of files that have been found whole."""
    network, info = auto_class.from_pretrained(model, output_loading_info=True, **options)
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"])[:5])
        raise ValueError(f"{model} is no trained classifier: it has no weights for {missing}.")
    if info["unexpected_keys"] and is_ours(model):  # others' may have more, of what they were trained with
        extra = ", ".join(sorted(info["unexpected_keys"])[:5])
        raise ValueError(f"{model} has weights that its network does not have: {extra}. Are they another's?")
    return network.eval()


def predicted_task(config: PreTrainedConfig) -> str:
    """What a model of this configuration predicts: one class, several labels, or, with one output, a
    number."""
    if getattr(config, "problem_type", None) == PROBLEM_TYPES[MULTI_LABEL]:
        return MULTI_LABEL
    return REGRESSION if config.num_labels == 1 else CLASSIFICATION


def predict_logits(
    model: PreTrainedModel,
    processor: Any,
    dataset: Dataset,
    columns: Sequence[str],
    batch_size: int = 64,
    num_workers: int = 0,
    max_length: int | None = None,
) -> np.ndarray:
    """Logits float32 [N, C] in the data set's order, with a progress bar.

    `columns`: that of the images or sounds, or those of the texts: one, or two for sentence pairs; a
    `FeatureProcessor` knows its own. `max_length`: texts are cut after so many tokens; default: what the
    tokenizer says the model takes, at most 512. Raises `ValueError` when some are not finite, and for an
    image or a sound that cannot be read.
    """
    if takes_features(processor):
        return predict_vectors(model, processor.vectors(dataset), batch_size)
    batches = input_batches(processor, dataset, columns, batch_size, num_workers, max_length)
    try:
        logits = [
            output.logits.float().cpu().numpy()
            for output, _ in run_over(model, tqdm(batches, desc="Predicting", unit="batch"))
        ]
    except Exception as error:  # an image that cannot be read raises many kinds, in workers too
        reader = sound_reader(columns[0], processor) if takes_audio(processor) else None
        bad = first_bad_sound(undecoded(dataset, columns[0]), reader) if reader is not None else None
        if reader is None and not takes_text(processor):
            bad = first_bad_image(dataset, columns[0])
        if bad is None:
            raise
        raise ValueError(bad) from error
    return finite(np.concatenate(logits))


def input_batches(
    processor: Any,
    dataset: Dataset,
    columns: Sequence[str],
    batch_size: int = 64,
    num_workers: int = 0,
    max_length: int | None = None,
) -> Sequence[dict[str, torch.Tensor]] | DataLoader:
    """What a network reads of a data set, batch by batch in its order, to be gone through as often as one
    likes; arguments as of `predict_logits`."""
    if takes_features(processor):
        vectors = torch.from_numpy(processor.vectors(dataset))
        return [{"inputs": part} for part in vectors.split(batch_size)]
    reader = sound_reader(columns[0], processor) if takes_audio(processor) else None
    if reader is not None:
        dataset = undecoded(dataset, columns[0])

    def process(rows: list[dict[str, Any]]) -> Any:
        if takes_text(processor):
            texts = [[row[column] for row in rows] for column in columns]
            limit = max_length or min(processor.model_max_length, MAX_LENGTH)
            return processor(*texts, truncation=True, max_length=limit, padding=True, return_tensors="pt")
        if reader is not None:
            return reader({columns[0]: [row[columns[0]] for row in rows]})
        images = [as_rgb(row[columns[0]]) for row in rows]
        return processor(images=images, return_tensors="pt")

    if takes_text(processor):
        require_texts(dataset, columns, lambda row: where(dataset, row))
    return DataLoader(
        dataset.select_columns(list(columns)),
        batch_size,
        collate_fn=process,
        num_workers=num_workers,
    )


def predict_vectors(model: PreTrainedModel, features: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Logits float32 [N, C] of vectors [N, D], a batch at a time. Raises `ValueError` for another D than the
    model takes."""
    expected = getattr(model.config, "num_features", None)
    if expected is not None and features.shape[1] != expected:
        raise ValueError(f"The columns hold {features.shape[1]} numbers a row, the model takes {expected}.")
    parts = torch.from_numpy(features).split(batch_size)
    found = [
        output.logits.float().cpu() for output, _ in run_over(model, ({"inputs": part} for part in parts))
    ]
    return finite(torch.cat(found).numpy())


def finite(logits: np.ndarray) -> np.ndarray:
    """The same. Raises `ValueError` when some are not finite."""
    broken = int((~np.isfinite(logits)).any(1).sum())
    if broken:
        raise ValueError(f"The model's logits are not finite for {broken} of {len(logits)} samples.")
    return logits
