"""The mean over tokens in place of a text classifier's own pooling: values, saving, runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
from backbones import LANGUAGE, make_backbone, make_inputs
from tiny_models import save_image_model, save_text_model
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    BartConfig,
    BartForSequenceClassification,
    PreTrainedModel,
    pipeline,
)

from hf_ood import LeNetConfig, LeNetForImageClassification
from hf_ood.cli.evaluate import main as evaluate
from hf_ood.cli.predict import main as predict
from hf_ood.cli.train import main
from hf_ood.data import load_processor
from hf_ood.hub.push import published_files
from hf_ood.models import (
    MeanPooledConfig,
    MeanPooledForSequenceClassification,
    find_feature_layer,
    with_mean_pooling,
)
from hf_ood.runs.spec import OWN_POOLING, NetworkSpec

SMALL = (
    "--use_cpu true --num_threads 1 --disable_tqdm true --max_steps 2 --eval_strategy no --save_strategy no "
    "--dataset reports.csv --text_column text --environment_column hospital --test_environments C "
    "--per_device_train_batch_size 12"
)
NAMES = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}


def pooled(family: str) -> MeanPooledForSequenceClassification:
    return with_mean_pooling(make_backbone(family).double()).eval()


def tokens(family: str) -> dict[str, Tensor]:
    return {name: values for name, values in make_inputs(family).items() if name != "labels"}


def reader(folder: Path) -> PreTrainedModel:
    """The tiny model of texts, on the mean over tokens, saved with its tokenizer and named classes."""
    save_text_model(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, **NAMES)
    pooled_model = with_mean_pooling(model).eval()
    pooled_model.save_pretrained(folder)
    return pooled_model


@pytest.mark.parametrize("family", LANGUAGE)
def test_logits_are_those_of_a_loop_over_tokens(family: str) -> None:
    model, inputs = pooled(family), tokens(family)
    with torch.no_grad():
        logits = model(**inputs).logits
        states = model.base_model(**inputs).last_hidden_state
    for text, mask, own in zip(states, inputs["attention_mask"], logits, strict=True):
        mean = [0.0] * text.shape[1]
        for token, counts in zip(text.tolist(), mask.tolist(), strict=True):
            if counts:
                mean = [total + value for total, value in zip(mean, token, strict=True)]
        mean = [total / int(mask.sum()) for total in mean]
        for number, (weights, bias) in enumerate(
            zip(model.classifier.weight.tolist(), model.classifier.bias.tolist(), strict=True)
        ):
            expected = bias + sum(weight * value for weight, value in zip(weights, mean, strict=True))
            assert own[number].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("family", LANGUAGE)
def test_padding_does_not_matter(family: str) -> None:
    model, inputs = pooled(family), tokens(family)
    with torch.no_grad():
        logits = model(**inputs).logits
        for row, mask in enumerate(inputs["attention_mask"]):
            length = int(mask.sum())
            alone = model(inputs["input_ids"][row : row + 1, :length]).logits
            torch.testing.assert_close(alone[0], logits[row], rtol=0, atol=1e-10)


def test_a_text_without_tokens_has_the_mean_zero() -> None:
    model, inputs = pooled("bert"), tokens("bert")
    inputs["attention_mask"][0] = 0
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).logits[0], model.classifier.bias)


def test_the_encoder_is_the_models_own_and_weights_keep_their_names() -> None:
    plain = make_backbone("bert")
    before = {name: values.clone() for name, values in plain.state_dict().items()}
    share = plain.dropout.p
    model = with_mean_pooling(plain)
    kept = {name for name in before if not name.startswith(("bert.pooler.", "classifier."))}
    assert {*model.state_dict()} == {*kept, "classifier.weight", "classifier.bias"}
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in kept)
    assert model.config.dropout == model.dropout.p == share


@pytest.mark.parametrize("family", LANGUAGE)
def test_saved_and_loaded_gives_the_same(family: str, tmp_path: Path) -> None:
    model, inputs = pooled(family), tokens(family)
    model.save_pretrained(tmp_path)
    loaded, info = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert isinstance(loaded, MeanPooledForSequenceClassification)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert str(tmp_path) not in (tmp_path / "config.json").read_text()
    with torch.no_grad():
        torch.testing.assert_close(loaded.eval()(**inputs).logits, model(**inputs).logits)
    layer = find_feature_layer(model, inputs)  # all tokens, where RSC then mutes some
    assert layer.name == model.base_model_prefix and not layer.class_token


def test_losses_are_those_of_transformers_classifiers() -> None:
    inputs = tokens("bert")
    kinds: tuple[tuple[Any, Tensor], ...] = (
        ("single_label_classification", torch.tensor([0, 1, 2, 0])),
        ("multi_label_classification", torch.rand(4, 3, dtype=torch.float64)),
        ("regression", torch.rand(4, 3, dtype=torch.float64)),
    )
    for kind, labels in kinds:
        model = pooled("bert")
        model.config.problem_type = kind
        output = model(**inputs, labels=labels)
        functions: dict[str, Any] = {
            "single_label_classification": torch.nn.functional.cross_entropy,
            "multi_label_classification": torch.nn.functional.binary_cross_entropy_with_logits,
            "regression": torch.nn.functional.mse_loss,
        }
        torch.testing.assert_close(output.loss, functions[kind](output.logits, labels))


def test_the_pipeline_reads_a_saved_folder(tmp_path: Path) -> None:
    model = reader(tmp_path)
    tokenizer = load_processor(str(tmp_path))
    with torch.no_grad():
        expected = model(**tokenizer("good film .", return_tensors="pt")).logits[0].softmax(0)
    classify = pipeline("text-classification", model=str(tmp_path), top_k=None)
    found: Any = classify(["good film ."])
    scores = {entry["label"]: entry["score"] for entry in found[0]}
    assert [scores["bad"], scores["good"]] == pytest.approx(expected.tolist(), abs=1e-5)


STRANGER = """
import json, sys
sys.modules["hf_ood"] = None  # importing it fails from here on
from transformers import AutoModelForSequenceClassification, pipeline
try:
    pipeline("text-classification", model="published")
    raise SystemExit("code was run that nobody allowed")
except (ValueError, OSError) as error:
    assert "trust_remote_code" in str(error), error
loaded = AutoModelForSequenceClassification.from_pretrained("published", trust_remote_code=True)
loaded.save_pretrained("again")
classify = pipeline("text-classification", model="published", trust_remote_code=True, top_k=None)
(found,) = classify(["good film ."])
print()
print(json.dumps({entry["label"]: entry["score"] for entry in found}))
"""


@pytest.mark.slow
def test_without_this_package_the_published_files_do_the_same(tmp_path: Path) -> None:
    model = reader(tmp_path / "run")
    for needed in ("README.md", "results.json"):
        (tmp_path / "run" / needed).write_text("{}")
    (tmp_path / "published").mkdir()
    for file in published_files(tmp_path / "run"):
        (tmp_path / "published" / file.name).write_bytes(file.read_bytes())
    tokenizer = load_processor(str(tmp_path / "run"))
    with torch.no_grad():
        expected = model(**tokenizer("good film .", return_tensors="pt")).logits[0].softmax(0)
    finished = subprocess.run(
        [sys.executable, "-c", STRANGER],
        cwd=tmp_path,
        env={**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=200,
    )
    assert finished.returncode == 0, finished.stderr
    scores = json.loads(finished.stdout.splitlines()[-1])
    assert [scores["bad"], scores["good"]] == pytest.approx(expected.tolist(), abs=1e-5)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "again")
    assert isinstance(again, MeanPooledForSequenceClassification)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a model of texts, one of images, and a table."""
    monkeypatch.chdir(tmp_path)
    save_text_model(tmp_path / "reader")
    save_image_model(tmp_path / "viewer")
    rows = [
        f"{('bad scan', 'good lung')[i % 2]} {'.' * (i % 3)},{('ill', 'healthy')[i % 2]},{'ABC'[i % 3]}"
        for i in range(60)
    ]
    (tmp_path / "reports.csv").write_text("\n".join(["text,label,hospital", *rows]))
    return tmp_path


def run(flags: str) -> Any:
    return main(f"{flags} {SMALL}".split())


def weights(folder: Path) -> dict[str, Tensor]:
    return AutoModelForSequenceClassification.from_pretrained(folder).state_dict()


def test_a_run_keeps_its_pooling_for_what_comes_after(place: Path) -> None:
    results = run(
        "--model reader --pooling mean --method rsc --trainable bert.encoder.layer.0.output.* classifier.* "
        "--output_dir run"
    )
    assert results["hyperparameters"]["model"]["pooling"] == "mean"
    assert "trust_remote_code=True" in (place / "run" / "README.md").read_text()
    before, after = weights(place / "reader"), weights(place / "run")
    moved = {name for name in after if name not in before or not torch.equal(after[name], before[name])}
    moving = ("bert.encoder.layer.0.output.", "classifier.")
    assert moved == {name for name in after if name.startswith(moving)}
    columns = "--model run --split train --text_column text"
    grouped = "--dataset reports.csv --environment_column hospital --output_dir evaluated"
    evaluated = evaluate(f"{columns} {grouped}".split())
    known = results["environments"]["C"]["accuracy"]
    assert evaluated["environments"]["C"]["accuracy"] == pytest.approx(known)
    predict(f"reports.csv {columns} --output predictions.csv".split())
    assert len((place / "predictions.csv").read_text().splitlines()) == 61
    again = run("--model run --output_dir again")
    assert again["hyperparameters"]["model"]["source"] == "run"
    assert isinstance(
        AutoModelForSequenceClassification.from_pretrained("again"), MeanPooledForSequenceClassification
    )


def test_heads_on_the_mean_of_a_frozen_encoder(place: Path) -> None:
    run("--model reader --pooling mean --cache_features true --output_dir head")
    run("--model reader --pooling mean --cache_features true --start_from head --output_dir on")
    before, after = weights(place / "reader"), weights(place / "on")
    assert all(torch.equal(after[name], before[name]) for name in after if name.startswith("bert."))
    assert not torch.equal(after["classifier.weight"], weights(place / "head")["classifier.weight"])


def test_adapters_and_random_weights(place: Path) -> None:
    pytest.importorskip("peft")
    run("--model reader --pooling mean --lora.rank 2 --output_dir adapted")
    run("--model reader --from_scratch true --pooling mean --output_dir scratch")
    before = weights(place / "reader")
    query = "bert.encoder.layer.0.attention.self.query.weight"
    for folder in ("adapted", "scratch"):
        after = weights(place / folder)
        assert "bert.pooler.dense.weight" not in after and not torch.equal(after[query], before[query])


def test_what_has_no_tokens_to_average_is_refused(place: Path) -> None:
    lenet = LeNetForImageClassification(LeNetConfig())
    sizes: dict[str, Any] = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 9}
    heads: dict[str, Any] = {"encoder_attention_heads": 1, "decoder_attention_heads": 1}
    both = BartForSequenceClassification(BartConfig(**sizes, **heads))
    for model, message in (
        (lenet, "takes pixel_values: leave it out"),
        (both, "has a decoder too: leave it out"),
        (pooled("bert"), "mean over tokens already: leave the pooling out"),
    ):
        with pytest.raises(ValueError, match=message):
            with_mean_pooling(model)
    with pytest.raises(ValueError, match="no encoder of transformers"):
        MeanPooledForSequenceClassification(MeanPooledConfig())


def test_runs_that_cannot_pool_say_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("--model reader --output_dir plain")
    run("--model reader --pooling mean --output_dir run")
    for flags, message in (
        ("--model mlp --pooling mean", "--pooling mean is for text classifiers of transformers, and mlp"),
        ("--model run --pooling mean", "reads the mean over tokens already"),
        ("--model reader --pooling mean --start_from plain", "use the same --pooling"),
        ("--model reader --start_from run", "use the same --pooling"),
    ):
        with pytest.raises((ValueError, SystemExit)) as raised:
            run(f"{flags} --output_dir refused")
        assert message in f"{raised.value} {capsys.readouterr().err}"


def test_the_flag_knows_the_poolings() -> None:
    assert get_args(get_type_hints(NetworkSpec)["pooling"]) == (OWN_POOLING, "mean")
