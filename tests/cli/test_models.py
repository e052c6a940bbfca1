"""`--model_name_or_path`, `--config_name` and `--model_config`: any classifier of transformers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones import make_backbone
from transformers import AutoModel, AutoModelForImageClassification, ResNetForImageClassification

from hf_ood.cli.arguments import parse_arguments
from hf_ood.cli.train import main
from hf_ood.errors import UsageError
from hf_ood.runs.folder import recorded_spec
from hf_ood.runs.network import build_model, check_image_size, describe_model
from hf_ood.runs.spec import RunSpec

LABELS = ["0-4", "5-9"]
TINY = (
    "--config_name resnet --from_scratch true --model_config.embedding_size 4 "
    "--model_config.hidden_sizes 4 8 --model_config.depths 1 1"
)


def parse(flags: str) -> RunSpec:
    return parse_arguments(flags.split())


def test_a_model_type_with_changed_fields() -> None:
    model = build_model(parse(f"{TINY} --model_config.layer_type=basic"), LABELS)
    assert isinstance(model, ResNetForImageClassification)
    assert (model.config.hidden_sizes, model.config.layer_type) == ([4, 8], "basic")
    assert model.config.id2label == {0: "0-4", 1: "5-9"}
    assert model.config.problem_type == "single_label_classification"


def test_a_recipe_has_them_as_a_section_that_flags_override(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(
        "config_name: bert\nfrom_scratch: true\nmodel_config:\n  hidden_size: 8\n  num_hidden_layers: 1\n"
        "  num_attention_heads: 2\n  intermediate_size: 8\n  hidden_act: relu\n  layer_norm_eps: 1e-5\n"
    )
    arguments = parse(f"--config {tmp_path / 'recipe.yaml'} --model_config.hidden_size 16")
    model = build_model(arguments, LABELS)
    assert type(model).__name__ == "BertForSequenceClassification"
    assert (model.config.hidden_size, model.config.hidden_act) == (16, "relu")
    assert describe_model(arguments)["name"] == "bert"


def test_a_checkpoints_body_is_kept_and_its_head_is_new(tmp_path: Path) -> None:
    saved = make_backbone("vit", num_labels=5)
    saved.save_pretrained(tmp_path / "seen")
    model = build_model(parse(f"--model_name_or_path {tmp_path / 'seen'}"), LABELS)
    assert model.classifier.out_features == 2
    ours = dict(model.base_model.named_parameters())
    for name, parameter in saved.base_model.named_parameters():
        assert torch.equal(ours[name], parameter)
    scratch = build_model(parse(f"--model_name_or_path {tmp_path / 'seen'} --from_scratch true"), LABELS)
    assert not torch.equal(next(scratch.parameters()), next(model.parameters()))
    with pytest.raises(ValueError, match="changes the shape of weights"):
        build_model(
            parse(f"--model_name_or_path {tmp_path / 'seen'} --model_config.intermediate_size 24"), LABELS
        )


def test_an_encoder_without_a_head_gets_one(tmp_path: Path) -> None:
    AutoModel.from_config(make_backbone("distilbert").config).save_pretrained(tmp_path)
    assert build_model(parse(f"--model_name_or_path {tmp_path}"), LABELS).classifier.out_features == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--config_name resnt --from_scratch true", "Did you mean 'resnet'"),
        ("--config_name t5gemma2_encoder --from_scratch true", "no classifier of type"),
        (f"{TINY} --model_config.layer_type 5", "layer_type"),
        (f"{TINY} --model_config.hiden_sizes 4", "Did you mean 'hidden_sizes'"),
    ],
)
def test_what_cannot_be_built_is_named(flags: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(parse(flags), LABELS)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--config_name resnet", "add --from_scratch true"),
        ("--from_scratch true", "needs --config_name"),
        ("--model_name_or_path a/b --config_name resnet", "leave --config_name out"),
        ("--model_config.depths 1", "--model_config.depths has no effect"),
        (f"{TINY} --lenet.instance_norm true", "--lenet.instance_norm has no effect"),
        ("--config_name resnet --from_scratch true --model_config.depths", "needs a value"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    flags: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError):
        parse(flags)
    assert message in capsys.readouterr().err


def test_images_of_another_size_name_the_flag() -> None:
    model = build_model(parse(""), LABELS)
    check_image_size(model, "lenet", (28, 28))
    check_image_size(model, "lenet", ())
    with pytest.raises(ValueError, match=r"32 x 32 pixels, lenet takes 28 x 28: set --lenet\.image_size 32"):
        check_image_size(model, "lenet", (32, 32))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("backbone") / "run"
    small = "--max_train_samples 576 --num_train_epochs 1 --num_threads 1 --use_cpu true --disable_tqdm true"
    flags = f"{TINY} --method coral+rsc --freeze_batch_norm true {small} --output_dir {folder}"
    return folder, main(flags.split())


@pytest.mark.slow
def test_a_run_leaves_a_checkpoint_that_plain_transformers_uses(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    folder, results = finished
    assert results["hyperparameters"]["model"] == {
        "name": "resnet",
        "source": "resnet",
        "from_scratch": True,
        "embedding_size": 4,
        "hidden_sizes": [4, 8],
        "depths": [1, 1],
    }
    assert "trust_remote_code" not in (folder / "README.md").read_text()
    program = f"""
import sys
sys.modules["hf_ood"] = None  # importing it fails from here on
from PIL import Image
from transformers import pipeline
classify = pipeline("image-classification", model={str(folder)!r})
print(sorted(answer["label"] for answer in classify(Image.new("RGB", (40, 30), "red"))))
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert shown.stdout.strip() == "['0-4', '5-9']", shown.stderr


def test_its_note_gives_the_same_network_again(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = finished
    model = build_model(recorded_spec(folder), LABELS)
    saved = AutoModelForImageClassification.from_pretrained(folder)
    assert json.loads(model.config.to_json_string())["hidden_sizes"] == saved.config.hidden_sizes
    model.load_state_dict(saved.state_dict())
