"""The temperature, and where it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageClassification, ViTConfig, ViTForImageClassification

from hf_ood.evaluation.calibration import fit_temperature, loss_at
from hf_ood.models import with_temperature


def test_the_loss_is_the_loop() -> None:
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(9, 3)), random.integers(0, 3, 9)
    flags = random.integers(0, 2, (9, 3)).astype(float)
    one, several = 0.0, 0.0
    for row, label, flag in zip(logits / 1.7, labels, flags, strict=True):
        one += np.log(sum(np.exp(row))) - row[label]
        several += sum(np.log(1 + np.exp(-z if f else z)) for z, f in zip(row, flag, strict=True)) / 3
    assert loss_at(1.7, logits, labels) == pytest.approx(one / 9, rel=1e-12)
    assert loss_at(1.7, logits, flags) == pytest.approx(several / 9, rel=1e-12)


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_the_temperature_that_drew_the_labels_is_found(true: float) -> None:
    random = np.random.default_rng(1)
    logits = 3 * random.normal(size=(20_000, 3))
    odds = np.exp(logits / true)
    shares = (odds / odds.sum(1, keepdims=True)).cumsum(1)
    labels = (random.random((20_000, 1)) > shares).sum(1)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(true, rel=0.05)
    lowest = loss_at(found, logits, labels)
    assert all(lowest <= loss_at(found * factor, logits, labels) for factor in (0.98, 1.02))


def test_rows_without_a_best_temperature_are_refused() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 1.0]])
    for labels in (np.array([0, 1]), np.array([1, 0])):
        with pytest.raises(ValueError, match=r"No temperature between 0\.01 and 100 is best on these 2 rows"):
            fit_temperature(logits, labels)


def test_every_loader_sees_the_temperature(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32,
        patch_size=8, id2label=dict(enumerate("abc")),
    )  # fmt: skip
    model, images = ViTForImageClassification(config).eval(), torch.rand(4, 3, 32, 32)
    with_temperature(model, 2.5, {"pixel_values": images}).save_pretrained(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(loaded(images).logits, model(images).logits / 2.5)
    with pytest.raises(ValueError, match="above 0, not at 0"):
        with_temperature(model, 0.0, {"pixel_values": images})
