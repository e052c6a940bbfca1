"""A saved folder without this package: what someone who finds the checkpoint on the Hub does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel

from hf_ood import (
    DisentangledVAEConfig,
    DisentangledVAEForImageClassification,
    EfficientNetLiteConfig,
    EfficientNetLiteForImageClassification,
    LeNetConfig,
    LeNetForImageClassification,
    MLPConfig,
    MLPForImageClassification,
    SmallResNetConfig,
    SmallResNetForImageClassification,
)
from hf_ood.models import image_processor

NAMES = ("disentangled_vae", "efficientnet_lite", "lenet", "mlp", "resnet")
PIXELS = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
STRANGER = """
import json, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "hf_ood":
            raise ImportError("hf_ood is not installed here")

sys.meta_path.insert(0, Missing())
from PIL import Image
from transformers import pipeline

found = {}
for folder in ("disentangled_vae", "efficientnet_lite", "lenet", "mlp", "resnet"):
    try:
        pipeline("image-classification", model=folder)
        raise SystemExit("code was run that nobody allowed")
    except (ValueError, OSError) as error:
        assert "trust_remote_code" in str(error), error
    classify = pipeline("image-classification", model=folder, trust_remote_code=True)
    found[folder] = {entry["label"]: entry["score"] for entry in classify(Image.open("image.png"))}
assert "hf_ood" not in sys.modules
print()
print(json.dumps(found))
"""


def make(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    names = {"id2label": {0: "small", 1: "large"}, "label2id": {"small": 0, "large": 1}}
    if name == "mlp":
        return MLPForImageClassification(MLPConfig(**names)).eval()
    if name == "disentangled_vae":
        return DisentangledVAEForImageClassification(DisentangledVAEConfig(**names)).eval()
    if name == "efficientnet_lite":
        sizes = {"stem_channels": 4, "channels": [4] * 7, "depths": [1] * 7, "head_channels": 8}
        config = EfficientNetLiteConfig(**names, **sizes)
        return EfficientNetLiteForImageClassification(config).eval()
    if name == "resnet":
        options = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "color_canonicalization": True}
        return SmallResNetForImageClassification(SmallResNetConfig(**names, **options)).eval()
    options = {"instance_norm": True, "edge_branch": True, "color_canonicalization": True}
    return LeNetForImageClassification(LeNetConfig(**names, **options)).eval()


@pytest.mark.slow
def test_the_pipeline_works_without_this_package(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "image.png")
    expected = {}
    for name in NAMES:
        model = make(name)
        model.save_pretrained(tmp_path / name)
        processor = image_processor(28, 28, name)
        processor.save_pretrained(tmp_path / name)
        with torch.no_grad():
            scores = model(**processor(images=PIXELS, return_tensors="pt")).logits.softmax(1)[0]
        expected[name] = dict(zip(("small", "large"), scores.tolist(), strict=True))
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    finished = subprocess.run(
        [sys.executable, "-c", STRANGER],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout.splitlines()[-1])
    for name, scores in expected.items():
        assert found[name] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_with_this_package_no_trust_is_needed(name: str, tmp_path: Path) -> None:
    model = make(name)
    model.save_pretrained(tmp_path)
    image_processor(28, 28, name).save_pretrained(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert type(loaded) is type(model) and loaded.config.id2label == {0: "small", 1: "large"}
    own = type(image_processor(28, 28, name))
    assert isinstance(AutoImageProcessor.from_pretrained(tmp_path), own)
