"""Logits of any image classifier on any data set of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel
from transformers.utils.logging import tqdm


def load_classifier(model: str, **options: Any) -> tuple[PreTrainedModel, Any]:
    """A classifier and its image processor, from a Hub id or a folder; `options` as for `from_pretrained`.

    Raises `ValueError` when the checkpoint lacks weights, such as a head that was never trained:
    `from_pretrained` would make them up.
    """
    network, info = AutoModelForImageClassification.from_pretrained(
        model, output_loading_info=True, **options
    )
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"])[:5])
        raise ValueError(f"{model} is no trained image classifier: it has no weights for {missing}.")
    return network.eval(), AutoImageProcessor.from_pretrained(model, **options)


@torch.inference_mode()
def predict_logits(
    model: PreTrainedModel,
    processor: Any,
    dataset: Dataset,
    image_column: str,
    batch_size: int = 64,
    num_workers: int = 0,
) -> np.ndarray:
    """Logits float32 [N, C] in the data set's order, with a progress bar.

    Raises `ValueError` when some are not finite.
    """

    def process(rows: list[dict[str, Any]]) -> Any:
        images = [row[image_column].convert("RGB") for row in rows]
        return processor(images=images, return_tensors="pt")

    batches = DataLoader(
        dataset.select_columns(image_column),
        batch_size,
        collate_fn=process,
        num_workers=num_workers,
    )
    logits = np.concatenate(
        [
            model(**inputs.to(model.device, model.dtype)).logits.float().cpu().numpy()
            for inputs in tqdm(batches, desc="Predicting", unit="batch")
        ]
    )
    broken = int((~np.isfinite(logits)).any(1).sum())
    if broken:
        raise ValueError(f"The model's logits are not finite for {broken} of {len(logits)} images.")
    return logits
