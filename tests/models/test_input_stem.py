"""What a network is shown of an image, whatever the network: invariances, saving, runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from backbones import VISION, make_backbone
from conftest import make_args, make_dataset
from hub.tiny import write_tiny_source
from PIL import Image
from torch import Tensor
from transformers import (
    AutoModelForImageClassification,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    ViTConfig,
    ViTForImageClassification,
    pipeline,
)
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from hf_ood import (
    IRM,
    RSC,
    EfficientNetLiteConfig,
    EfficientNetLiteForImageClassification,
    EfficientNetLiteImageProcessor,
    LeNetConfig,
    LeNetForImageClassification,
    LeNetImageProcessor,
    OODTrainer,
    SmallResNetConfig,
    SmallResNetForImageClassification,
)
from hf_ood.cli.arguments import parse_arguments
from hf_ood.cli.train import main
from hf_ood.data import load_processor
from hf_ood.hub.push import published_files
from hf_ood.models import StemmedForImageClassification, with_input_stem
from hf_ood.models.input_stem import normalization
from hf_ood.models.stemmed import STEMS, InputStem
from hf_ood.runs.network import describe_model
from hf_ood.runs.spec import NO_STEM, NetworkSpec

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NAMES = {"id2label": {0: "small", 1: "large"}, "label2id": {"small": 0, "large": 1}}
PIXELS = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)


def grey(size: int = 12) -> Tensor:
    """Strokes on an empty ground, from 0 to 1 in each image: [6, 1, size, size]."""
    levels = (
        torch.rand(6, 1, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 4
    )
    low, high = levels.amin((2, 3), keepdim=True), levels.amax((2, 3), keepdim=True)
    return (levels - low) / (high - low)


def paint(levels: Tensor, seed: int) -> Tensor:
    """In two colours of each image's own."""
    ink, ground = torch.rand(
        2, len(levels), 3, 1, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return ground + levels * (ink - ground)


def normalized(pixels: Tensor) -> Tensor:
    mean, std = (pixels.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return (pixels - mean) / std


def shown(name: str, pixels: Tensor) -> Tensor:
    """What the network is given, as pixels in 0..1."""
    mean, std = (pixels.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return InputStem(name, MEAN, STD)(normalized(pixels)) * std + mean


def network(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    if name == "lenet":
        return LeNetForImageClassification(LeNetConfig(**NAMES)).eval()
    if name == "resnet":
        sizes = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16]}
        return SmallResNetForImageClassification(SmallResNetConfig(**NAMES, **sizes)).eval()
    if name == "efficientnet_lite":
        sizes = {"stem_channels": 4, "channels": [4] * 7, "depths": [1] * 7, "head_channels": 8}
        return EfficientNetLiteForImageClassification(EfficientNetLiteConfig(**NAMES, **sizes)).eval()
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return ViTForImageClassification(ViTConfig(**NAMES, image_size=28, patch_size=7, **tiny)).eval()


def processor(name: str) -> Any:
    if name == "efficientnet_lite":
        return EfficientNetLiteImageProcessor(size={"height": 28, "width": 28})
    if name == "vit":
        return ViTImageProcessorPil(size={"height": 28, "width": 28}, image_mean=MEAN, image_std=STD)
    return LeNetImageProcessor()


NETWORKS = ("lenet", "resnet", "efficientnet_lite", "vit")


@pytest.mark.parametrize("name", ["structure_tensor", "edges", "canonical_colors"])
def test_any_two_colours_are_shown_alike(name: str) -> None:
    levels = grey()
    expected = shown(name, levels.expand(-1, 3, -1, -1))
    assert expected.shape == (6, 3, 12, 12) and expected.abs().max() <= 1 + 1e-9
    others = [paint(levels, 1), paint(levels, 2), 0.3 + 1e-3 * levels.expand(-1, 3, -1, -1)]
    if name != "canonical_colors":  # ink is the minority of the pixels: a negative is another image
        others += [paint(1 - levels, 3)]
    for changed in others:
        torch.testing.assert_close(shown(name, changed), expected, rtol=1e-8, atol=1e-9)


def test_canonical_colours_give_the_grey_image_itself() -> None:
    levels = grey()
    seen = shown("canonical_colors", paint(levels, 4))
    torch.testing.assert_close(seen, levels.expand(-1, 3, -1, -1), rtol=1e-8, atol=1e-9)


def test_every_gain_and_offset_of_a_channel_is_shown_alike() -> None:
    images = torch.rand(4, 3, 9, 9, dtype=torch.float64)
    gain, offset = torch.rand(2, 4, 3, 1, 1, dtype=torch.float64)
    expected = shown("instance_norm", images)
    torch.testing.assert_close(shown("instance_norm", offset + (0.01 + gain) * images), expected)
    torch.testing.assert_close(expected.mean((2, 3)), torch.tensor(MEAN).double().expand(4, 3))
    torch.testing.assert_close(expected.std((2, 3), correction=0), torch.tensor(STD).double().expand(4, 3))


def test_grey_is_the_luma() -> None:
    images = torch.rand(2, 3, 5, 4, dtype=torch.float64)
    seen = shown("grayscale", images)
    for sample, image in zip(seen, images, strict=True):
        for y in range(5):
            for x in range(4):
                red, green, blue = image[:, y, x].tolist()
                expected = [0.299 * red + 0.587 * green + 0.114 * blue] * 3
                assert sample[:, y, x].tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", STEMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_constant_image_gives_finite_values_and_gradients(name: str, dtype: torch.dtype) -> None:
    for value in (0.0, 0.1, 1.0):
        images = normalized(torch.full((2, 3, 9, 9), value, dtype=torch.float64)).to(dtype).requires_grad_()
        given = InputStem(name, MEAN, STD)(images)
        assert given.dtype == dtype and given.isfinite().all()
        (gradient,) = torch.autograd.grad(given.sum(), images)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", STEMS)
def test_gradients_are_those_of_differences(name: str) -> None:
    images = normalized(torch.rand(1, 3, 6, 6, dtype=torch.float64)).requires_grad_()
    assert not list(InputStem(name, MEAN, STD).parameters())
    assert torch.autograd.gradcheck(InputStem(name, MEAN, STD), images, atol=1e-4)


@pytest.mark.parametrize("name", STEMS)
def test_what_normalises_the_input_normalises_what_is_shown(name: str) -> None:
    """Whatever a processor does to the channels, a network sees the same image in its own units."""
    pixels = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    plain = InputStem(name, (0, 0, 0), (1, 1, 1))(pixels)
    torch.testing.assert_close(InputStem(name, MEAN, STD)(normalized(pixels)), normalized(plain))


def test_normalisation_is_measured_on_the_processor() -> None:
    for own, expected in (
        (LeNetImageProcessor(), (0.0, 1.0)),
        (EfficientNetLiteImageProcessor(), (127 / 255, 128 / 255)),
        (ViTImageProcessorPil(do_rescale=False, do_normalize=False), (0.0, 1 / 255)),
    ):
        mean, std = normalization(own)
        assert mean == pytest.approx([expected[0]] * 3, abs=1e-6)
        assert std == pytest.approx([expected[1]] * 3, abs=1e-6)
    mean, std = normalization(processor("vit"))
    assert mean == pytest.approx(MEAN, abs=1e-6) and std == pytest.approx(STD, abs=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("stem", ["structure_tensor", "instance_norm"])
def test_saved_and_loaded_gives_the_same_in_whatever_loads_it(name: str, stem: str, tmp_path: Path) -> None:
    model = with_input_stem(network(name), stem, processor(name))
    model.save_pretrained(tmp_path)
    processor(name).save_pretrained(tmp_path)
    own = load_processor(str(tmp_path))
    assert type(own) is type(processor(name))
    inputs = own(images=Image.fromarray(PIXELS), return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs).logits
        plain = network(name)(**inputs).logits
    assert not torch.allclose(plain, expected)
    assert str(tmp_path) not in (tmp_path / "config.json").read_text()
    for loader in (AutoModelForImageClassification, StemmedForImageClassification):
        loaded = loader.from_pretrained(tmp_path).eval()
        assert isinstance(loaded, StemmedForImageClassification)
        assert loaded.config.id2label == NAMES["id2label"]
        with torch.no_grad():
            # Where the weights lie in memory may change a last bit.
            torch.testing.assert_close(loaded(**inputs).logits, expected, rtol=0, atol=1e-6)
    classify = pipeline("image-classification", model=str(tmp_path))
    scores = {entry["label"]: entry["score"] for entry in classify(Image.fromarray(PIXELS))}
    assert [scores["small"], scores["large"]] == pytest.approx(expected[0].softmax(0).tolist(), abs=1e-5)


STRANGER = """
import json, sys
sys.modules["hf_ood"] = None  # importing it fails from here on
from PIL import Image
from transformers import AutoModelForImageClassification, pipeline
found = {}
for folder in sys.argv[1:]:
    try:
        pipeline("image-classification", model=folder)
        raise SystemExit("code was run that nobody allowed")
    except (ValueError, OSError) as error:
        assert "trust_remote_code" in str(error), error
    loaded = AutoModelForImageClassification.from_pretrained(folder, trust_remote_code=True)
    loaded.save_pretrained(folder + "-again")
    classify = pipeline("image-classification", model=folder, trust_remote_code=True)
    found[folder] = {entry["label"]: entry["score"] for entry in classify(Image.open("image.png"))}
print()
print(json.dumps(found))
"""


@pytest.mark.slow
def test_without_this_package_the_published_files_do_the_same(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "image.png")
    expected = {}
    for name in NETWORKS:
        whole = tmp_path / "runs" / name
        model = with_input_stem(network(name), "edges", processor(name))
        model.save_pretrained(whole)
        processor(name).save_pretrained(whole)
        for needed in ("README.md", "results.json"):
            (whole / needed).write_text("{}")
        (tmp_path / name).mkdir()
        for file in published_files(whole):
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
        with torch.no_grad():
            scores = model(**processor(name)(images=Image.fromarray(PIXELS), return_tensors="pt")).logits
        expected[name] = dict(zip(("small", "large"), scores.softmax(1)[0].tolist(), strict=True))
    finished = subprocess.run(
        [sys.executable, "-c", STRANGER, *NETWORKS],
        cwd=tmp_path,
        env={**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=200,
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout.splitlines()[-1])
    for name, scores in expected.items():
        assert found[name] == pytest.approx(scores, abs=1e-5)
        again = AutoModelForImageClassification.from_pretrained(tmp_path / f"{name}-again")
        assert isinstance(again, StemmedForImageClassification)
        assert (tmp_path / f"{name}-again" / "modeling_lenet.py").exists() == (name == "lenet")


@pytest.mark.parametrize("family", VISION)
def test_every_family_goes_behind_a_stem(family: str, tmp_path: Path) -> None:
    model = with_input_stem(make_backbone(family), "edges").eval()
    images = torch.rand(2, 3, 28, 28)
    with torch.no_grad():
        expected = model(images).logits
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(loaded(images).logits, expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_methods_act_behind_it_and_every_parameter_moves(name: str, tmp_path: Path) -> None:
    model = with_input_stem(network(name), "structure_tensor").train()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    OODTrainer(
        model,
        make_args(tmp_path, max_steps=2),
        objective=IRM(warmup_steps=0),
        feature_transform=RSC(),
        train_dataset=make_dataset(),
    ).train()
    for own, parameter in model.named_parameters():
        unused = name == "vit" and own.endswith("key.bias")  # softmax does not feel it
        assert unused or not torch.equal(parameter, before[own]), own


SMALL = (
    "--max_train_samples 96 --max_steps 2 --per_device_train_batch_size 48 --num_threads 1 --use_cpu true "
    "--disable_tqdm true --eval_strategy no --save_strategy no"
)


@pytest.mark.slow
def test_a_run_keeps_its_stem_for_what_comes_after(tmp_path: Path) -> None:
    small = f"{SMALL} --colored_mnist.source {write_tiny_source(tmp_path)}"
    stem = f"--model lenet --input_stem edges {small}"
    results = main(f"{stem} --trainable head.5.* --output_dir {tmp_path}/run".split())
    assert results["hyperparameters"]["model"] == {"name": "lenet", "input_stem": "edges"}
    assert "trust_remote_code=True" in (tmp_path / "run" / "README.md").read_text()
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "run")
    assert isinstance(loaded, StemmedForImageClassification) and loaded.config.stem == "edges"
    main(f"{stem} --start_from {tmp_path}/run --cache_features true --output_dir {tmp_path}/on".split())
    again = main(f"--model {tmp_path}/run {small} --output_dir {tmp_path}/again".split())
    assert again["hyperparameters"]["model"]["source"] == f"{tmp_path}/run"
    kept = AutoModelForImageClassification.from_pretrained(tmp_path / "again")
    assert isinstance(kept, StemmedForImageClassification) and kept.config.stem == "edges"


@pytest.mark.slow
def test_weights_that_saw_whole_images_start_a_network_behind_a_stem(tmp_path: Path) -> None:
    small = f"{SMALL} --colored_mnist.source {write_tiny_source(tmp_path)}"
    main(f"--model lenet {small} --output_dir {tmp_path}/plain".split())
    flags = f"--model lenet --input_stem grayscale --start_from {tmp_path}/plain --learning_rate 0 {small}"
    main(f"{flags} --output_dir {tmp_path}/run".split())
    plain = AutoModelForImageClassification.from_pretrained(tmp_path / "plain").state_dict()
    behind = AutoModelForImageClassification.from_pretrained(tmp_path / "run").network.state_dict()
    assert all(torch.equal(behind[name], plain[name]) for name in plain)


def test_the_flag_knows_the_stems() -> None:
    assert get_args(get_type_hints(NetworkSpec)["input_stem"]) == (NO_STEM, *STEMS)
    spec = parse_arguments("--input_stem canonical_colors".split())
    assert describe_model(spec) == {"name": "lenet", "input_stem": "canonical_colors"}


def test_what_does_not_go_behind_a_stem_is_refused() -> None:
    tiny = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    stemmed = with_input_stem(network("lenet"), "edges")
    grey_lenet = LeNetForImageClassification(LeNetConfig(num_channels=1))
    text = BertForSequenceClassification(BertConfig(vocab_size=9, **tiny))
    for model, stem, message in (
        (stemmed, "edges", "behind the input stem edges already"),
        (grey_lenet, "edges", "takes 1: leave it out"),
        (text, "edges", "takes input_ids: leave it out"),
        (network("lenet"), "edge", r"no input stem 'edge': choose one of structure_tensor, edges"),
    ):
        with pytest.raises(ValueError, match=message):
            with_input_stem(model, stem)
    with pytest.raises(ValueError, match="more to colours than to normalise each channel"):
        with_input_stem(
            network("lenet"), "edges", lambda images, **_: {"pixel_values": torch.zeros(1, 3, 8, 8)}
        )
    with pytest.raises(ValueError, match="no network behind an input stem"):
        StemmedForImageClassification(stemmed.config_class())
