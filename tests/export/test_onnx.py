"""Exported networks give what PyTorch gives, in batches of any size, and say how they are used."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import save_image_model, save_text_model
from transformers import PreTrainedModel, ViTImageProcessorPil

from hf_ood import (
    LeNetConfig,
    LeNetForImageClassification,
    LinearConfig,
    LinearForImageClassification,
    MLPConfig,
    MLPForImageClassification,
    SmallResNetConfig,
    SmallResNetForImageClassification,
)
from hf_ood.cli.export import export_run, main
from hf_ood.data.features import FeatureProcessor
from hf_ood.evaluation.prediction import load_classifier
from hf_ood.explain import grad_cam
from hf_ood.export import Exported, check, export_onnx
from hf_ood.models import MODELS, image_processor, with_input_stem
from hf_ood.models.stemmed.input_stem import STEMS

onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX files need hf_ood[export]")
pytest.importorskip("onnxscript", reason="ONNX files need hf_ood[export]")
LENETS: list[dict[str, Any]] = [
    {},
    {"instance_norm": True, "edge_branch": True},
    {"color_canonicalization": True},
    {"edge_structure": "tensor"},
    {"edge_structure": "magnitude"},
]


def lenet(**options: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    return LeNetForImageClassification(LeNetConfig(num_labels=3, **options))


def run(exported: Exported, *inputs: torch.Tensor) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(exported.file))
    names = [entry.name for entry in session.get_inputs()]
    return session.run(None, dict(zip(names, (each.numpy() for each in inputs), strict=True)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", LENETS[:1] + [pytest.param(own, marks=pytest.mark.nightly) for own in LENETS[1:]]
)
def test_lenet_with_every_option(options: dict[str, Any], tmp_path: Path) -> None:
    model = lenet(**options).train()
    exported = export_onnx(model, image_processor(28, 28), tmp_path)
    assert list(exported.differences) == [1, 2, 5]
    assert max(exported.differences.values()) < 1e-5
    assert model.training and all(weight.requires_grad for weight in model.parameters())
    images = torch.rand(7, 3, 28, 28)
    with torch.no_grad():
        expected = model.eval()(pixel_values=images).logits.numpy()
    assert np.abs(run(exported, images)[0] - expected).max() < 1e-5


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["resnet", "efficientnet_lite", "linear", "mlp", *STEMS])
def test_every_other_network_of_images(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    if name in STEMS:
        processor = ViTImageProcessorPil(size={"height": 28, "width": 28})
        model: PreTrainedModel = with_input_stem(lenet(), name, processor)
    else:
        config, network = MODELS[name]
        model, processor = network(config()), image_processor(28, 28, name)
    export_onnx(model, processor, tmp_path)


@pytest.mark.slow
def test_the_file_says_how_it_is_used_and_nothing_of_this_machine(tmp_path: Path) -> None:
    model = LeNetForImageClassification(LeNetConfig(id2label={0: "small", 1: "large"}, num_labels=2))
    exported = export_onnx(model, image_processor(28, 28), tmp_path, temperature=1.5)
    described = json.loads((tmp_path / "model.json").read_text())
    inside = onnxruntime.InferenceSession(str(exported.file)).get_modelmeta().custom_metadata_map
    checked = described.pop("checked")
    assert json.loads(inside["hf_ood"]) == described
    assert checked["largest_difference"].keys() == {"1", "2", "5"}
    assert described["labels"] == ["small", "large"]
    assert described["inputs"] == [
        {"name": "pixel_values", "dtype": "float32", "shape": ["batch", 3, 28, 28]}
    ]
    assert described["output"]["activation"] == "softmax" and described["output"]["temperature"] == 1.5
    told = described["processor"]
    assert (told["height"], told["width"], told["resample"]) == (28, 28, "bilinear")
    assert np.allclose(told["mean"], 0) and np.allclose(told["std"], 1)
    assert str(Path(torch.__file__).parents[1]).encode() not in exported.file.read_bytes()
    assert b".py" not in exported.file.read_bytes()
    written = {file.name for file in tmp_path.iterdir()}
    assert written == {"model.json", "model.onnx", "preprocessor_config.json", "image_processing_lenet.py"}


@pytest.mark.slow
def test_an_image_goes_through_by_what_the_description_says(tmp_path: Path) -> None:
    model, processor = load_classifier(str(save_image_model(tmp_path / "vit")))
    exported = export_run(tmp_path / "vit")
    assert exported.file == tmp_path / "vit" / "onnx" / "model.onnx"
    told = exported.description["processor"]
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    by_hand = (pixels / 255 - told["mean"]) / told["std"]
    logits = run(exported, torch.from_numpy(by_hand.transpose(2, 0, 1)[None].astype(np.float32)))[0]
    with torch.no_grad():
        expected = model(**processor(images=Image.fromarray(pixels), return_tensors="pt")).logits
    assert np.allclose(logits, expected, atol=1e-5)


@pytest.mark.slow
def test_texts_of_any_number_and_length(tmp_path: Path) -> None:
    folder = save_text_model(tmp_path / "bert")
    exported = export_run(folder, tmp_path / "out")
    assert (tmp_path / "out" / "tokenizer.json").is_file()
    shapes = {entry["name"]: entry["shape"] for entry in exported.description["inputs"]}
    assert shapes["input_ids"] == ["batch", "tokens"] and set(shapes) == {
        "input_ids",
        "token_type_ids",
        "attention_mask",
    }
    model, tokenizer = load_classifier(str(folder))
    tokens = tokenizer(["good film !", "bad", "scan lung"], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model(**tokens).logits
    assert np.allclose(run(exported, *(tokens[name] for name in shapes))[0], expected, atol=1e-5)


def test_vectors_with_and_without_their_columns(tmp_path: Path) -> None:
    torch.manual_seed(0)
    bare = LinearForImageClassification(LinearConfig(num_features=3, num_labels=2))
    bare.save_pretrained(tmp_path / "bare")
    assert export_run(tmp_path / "bare").description["processor"] == {"kind": "vectors"}
    columns = FeatureProcessor(["age", "sex"], {"age": None}, {"sex": ["f", "m"]}, [40.0], [10.0])
    model = MLPForImageClassification(MLPConfig(num_features=3, num_labels=1))
    model.save_pretrained(tmp_path / "columns")
    columns.save_pretrained(tmp_path / "columns")
    described = export_run(tmp_path / "columns").description
    assert described["processor"]["categories"] == {"sex": ["f", "m"]}
    assert described["output"]["activation"] == "none" and described["labels"] is None


@pytest.mark.slow
def test_grad_cam_is_a_second_output(tmp_path: Path) -> None:
    pytest.importorskip("captum", reason="Grad-CAM needs hf_ood[explain]")
    model = lenet(edge_structure="tensor")
    exported = export_onnx(model, image_processor(28, 28), tmp_path, grad_cam=True)
    assert exported.description["grad_cam"]["layer"] == "conv2"
    images = torch.rand(4, 3, 28, 28)
    _, maps = run(exported, images)
    shown = torch.nn.functional.interpolate(torch.from_numpy(maps)[:, None], size=(28, 28), mode="bilinear")
    assert torch.allclose(shown[:, 0], grad_cam(model, images), atol=1e-6)
    with pytest.raises(ValueError, match="takes vectors"):
        export_onnx(LinearForImageClassification(LinearConfig(num_features=3)), None, tmp_path, grad_cam=True)


@pytest.mark.nightly
def test_grad_cam_of_tokens_and_of_residual_networks(tmp_path: Path) -> None:
    pytest.importorskip("captum", reason="Grad-CAM needs hf_ood[explain]")
    torch.manual_seed(0)
    vit, processor = load_classifier(str(save_image_model(tmp_path / "vit", layers=2)))
    resnet = SmallResNetForImageClassification(SmallResNetConfig())
    for model, own, side in ((vit, processor, 16), (resnet, image_processor(28, 28), 28)):
        exported = export_onnx(model, own, tmp_path / "out", grad_cam=True)
        images = torch.rand(3, 3, side, side)
        maps = torch.from_numpy(run(exported, images)[1])[:, None]
        shown = torch.nn.functional.interpolate(maps, size=(side, side), mode="bilinear")[:, 0]
        layer = exported.description["grad_cam"]["layer"]
        assert torch.allclose(shown, grad_cam(model, images, layer=layer), atol=1e-5)


def test_what_differs_is_refused_and_the_folder_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LinearForImageClassification(LinearConfig(num_features=3))
    kept = export_onnx(model, None, tmp_path).file.read_bytes()
    monkeypatch.setattr(check, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match="on a batch of 1, where"):
        export_onnx(model, None, tmp_path)
    assert (tmp_path / "model.onnx").read_bytes() == kept


def test_weights_too_large_for_one_file_lie_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hf_ood.export.onnx_file.LARGEST_FILE", 0)
    exported = export_onnx(LinearForImageClassification(LinearConfig(num_features=3)), None, tmp_path)
    assert (tmp_path / "model.onnx.data").is_file()
    assert run(exported, torch.zeros(4, 3))[0].shape == (4, 2)


def test_without_the_packages_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hf_ood.export.onnx_file.NEEDED", ("onnx", "no_such_package"))
    model = LinearForImageClassification(LinearConfig(num_features=3))
    with pytest.raises(ValueError, match=r"needs no_such_package: pip install 'hf_ood\[export\]'"):
        export_onnx(model, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_prints_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    LinearForImageClassification(LinearConfig(num_features=3)).save_pretrained(tmp_path)
    main(["--run", str(tmp_path), "--output_dir", str(tmp_path / "out")])
    told = capsys.readouterr()
    assert "largest difference from PyTorch" in told.out and " at 5" in told.out
    assert logging.getLogger("torch.onnx").level == logging.NOTSET
    with pytest.raises(SystemExit):
        main(["--run", str(tmp_path / "nothing")])
    assert "holds no model" in capsys.readouterr().err
