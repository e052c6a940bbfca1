"""What a checkpoint knows of its classes and rows: another order of classes changes nothing, other rows are
refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import ClassLabel, Dataset
from PIL import Image
from tiny_models import save_image_model, save_text_model
from transformers import AutoModelForSequenceClassification

from hf_ood.cli.evaluate import main as evaluate
from hf_ood.cli.train import main
from hf_ood.errors import UsageError


def train(place: Path, dataset: str, *more: str) -> dict[str, Any]:
    flags = (
        "--text_column text --test_environments C --per_device_train_batch_size 4 --use_cpu true "
        "--eval_strategy no"
    )
    usual = [
        "--dataset",
        str(place / dataset),
        *flags.split(),
        "--num_threads",
        "1",
        "--disable_tqdm",
        "true",
    ]
    return main([*usual, *more])


def model_that_always_says(place: Path, names: list[str]) -> Path:
    """It answers the first of its classes."""
    save_text_model(place)
    model = AutoModelForSequenceClassification.from_pretrained(place)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([9.0, 0.0]))
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: number for number, name in enumerate(names)}
    model.save_pretrained(place)
    return place


@pytest.mark.parametrize("flag", ["--model", "--start_from"])
@pytest.mark.parametrize(("names", "right"), [(["ill", "fine"], True), (["fine", "ill"], False)])
def test_starting_weights_follow_the_names_of_classes(
    flag: str, names: list[str], right: bool, tmp_path: Path
) -> None:
    start = model_that_always_says(tmp_path / "model", names)
    rows = Dataset.from_dict(
        {"text": ["bad lung"] * 60, "label": [1] * 58 + [0, 0], "environment": list("ABC") * 20}
    )
    rows.cast_column("label", ClassLabel(names=["fine", "ill"])).save_to_disk(str(tmp_path / "data"))
    more = ["--start_from", str(start)] if flag == "--start_from" else []
    few = ["--max_steps", "1", "--learning_rate", "1e-9", "--save_strategy", "no"]
    results = train(
        tmp_path, "data", "--model", str(start), *more, *few, "--output_dir", str(tmp_path / "run")
    )
    assert (results["mean_accuracy"] > 0.9) == right


def write(place: Path, label: str = "a", word: str = "good") -> None:
    rows = [f"{word if i == 5 else 'good'},{'b' if i % 2 else label},{'ABC'[i // 2 % 3]}" for i in range(36)]
    (place / "t.csv").write_text("\n".join(["text,label,environment", *rows]))


@pytest.mark.parametrize(
    ("edited", "message"),
    [
        ({"label": "z"}, r"classes \(\['a', 'b'\], now \['b', 'z'\]\)"),
        ({"word": "bad"}, "contents of the rows"),
    ],
)
def test_a_resume_on_other_rows_is_refused(edited: dict[str, str], message: str, tmp_path: Path) -> None:
    model = str(save_text_model(tmp_path / "model"))
    flags = [
        "--model",
        model,
        "--output_dir",
        str(tmp_path / "run"),
        "--save_steps",
        "1",
        "--save_strategy",
        "steps",
    ]
    write(tmp_path)
    train(tmp_path, "t.csv", *flags, "--max_steps", "2")
    write(tmp_path, **edited)
    with pytest.raises(UsageError) as refused:
        train(tmp_path, "t.csv", *flags, "--max_steps", "2", "--resume_from_checkpoint", "true")
    assert "have changed since it began" in refused.value.message
    assert re.search(message, refused.value.message), refused.value.message


def test_folders_are_read_by_evaluate_as_the_run_read_them(tmp_path: Path) -> None:
    """Class folders above domain folders: nothing but the environment that is held out says so."""
    for kind in ("cat", "dog"):
        for domain in "ABC":
            (tmp_path / "d" / kind / domain).mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (16, 16), (i * 30, 0, 0)).save(tmp_path / "d" / kind / domain / f"{i}.png")
    few = "--max_steps 1 --per_device_train_batch_size 4 --use_cpu true --eval_strategy no --save_strategy no"
    model, run = str(save_image_model(tmp_path / "model")), str(tmp_path / "run")
    where = [
        "--dataset",
        str(tmp_path / "d"),
        "--test_environments",
        "C",
        "--model",
        model,
        "--output_dir",
        run,
    ]
    trained = main([*where, *few.split()])
    measured = evaluate(["--run", run, "--output_dir", str(tmp_path / "evaluated")])
    assert sorted(measured["environments"]) == ["A", "B", "C"] and measured["label_mapping"] == "by name"
    assert measured["environments"]["C"]["accuracy"] == trained["environments"]["C"]["accuracy"]
