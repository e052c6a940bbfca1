"""Features of a frozen network, kept by row."""

from __future__ import annotations

from pathlib import Path

import torch
from datasets import Dataset, DatasetDict
from tiny_models import save_text_model
from transformers import AutoModelForSequenceClassification

from hf_ood.data import Columns, environment_datasets, load_processor
from hf_ood.runs.feature_store import kept_features
from hf_ood.trainer.linear_probe import compute_features

TEXTS = ["good film .", "bad", "good good good film film . . .", "bad film", "good ."]


def test_texts_of_any_length_keep_their_rows(tmp_path: Path) -> None:
    folder = str(save_text_model(tmp_path / "model"))
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    table = Dataset.from_dict({"text": TEXTS, "label": [0, 1, 0, 1, 0], "environment": list("aabba")})
    columns = Columns(text=["text"], label=["label"], environment=["environment"])
    rows = environment_datasets(
        DatasetDict(train=table, validation=table, test=table), columns, processor=load_processor(folder)
    )["train"]
    kept = kept_features(model, rows, tmp_path / "kept", batch_size=2)
    assert torch.allclose(kept, compute_features(model, rows, batch_size=1), atol=1e-6)
    assert torch.equal(kept_features(model, rows.select([3, 1]), tmp_path / "kept"), kept[[3, 1]])
