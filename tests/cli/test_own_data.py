"""A table of one's own, end to end: what the README promises, and the other ways in."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from hub.tiny import write_tiny_source
from PIL import Image
from tiny_models import save_image_model, save_text_model

from hf_ood.cli.evaluate import main as evaluate
from hf_ood.cli.explain import explain_run
from hf_ood.cli.train import main
from hf_ood.data.colored_mnist import write_colored_mnist
from hf_ood.data.punctuated_text import Shift, punctuation_shortcut
from hf_ood.errors import UsageError
from hf_ood.experiments.sweep.held_out import environments_of

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "README.md"
SMALL = (
    "--use_cpu true --num_threads 1 --disable_tqdm true --max_steps 6 --eval_strategy no --save_strategy no"
)


def code(language: str) -> str:
    """The block in that language of the README's section."""
    section = DOCUMENT.read_text().split("## Your own data in five minutes")[1].split("\n## ")[0]
    (found,) = re.findall(rf"```{language}\n(.*?)```", section, re.S)
    return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with models, a table of texts and a folder of images."""
    monkeypatch.chdir(tmp_path)
    save_text_model(tmp_path / "reader")
    save_image_model(tmp_path / "viewer")
    rows = [
        f"{'good lung' if i % 2 else 'bad scan'} {'.' * (i % 3)},{'healthy' if i % 2 else 'ill'},"
        f"{'ABC'[i % 3]},{i % 4 // 2}"
        for i in range(240)
    ]
    (tmp_path / "reports.csv").write_text("\n".join(["text,label,hospital,scanner", *rows]))
    random = np.random.default_rng(0)
    (tmp_path / "scans").mkdir()
    lines = []
    for i in range(48):
        pixels = random.integers(0, 256, (20 + i % 3, 18, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "scans" / f"{i}.png")
        lines.append(json.dumps({"file_name": f"{i}.png", "label": i % 2, "hospital": "ABC"[i % 3]}))
    (tmp_path / "scans" / "metadata.jsonl").write_text("\n".join(lines))
    return tmp_path


def train(flags: str) -> dict[str, Any]:
    return main(shlex.split(f"{flags} {SMALL}"))


def counts(results: dict[str, Any]) -> dict[str, tuple[str, int]]:
    return {name: (entry["split"], entry["count"]) for name, entry in results["environments"].items()}


def test_the_five_minutes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = code("bash").replace("\\\n", " ").replace("sentence-transformers/all-MiniLM-L6-v2", "reader")
    assert command.startswith("accelerate launch trainers/train.py ")
    results = train(command.removeprefix("accelerate launch trainers/train.py"))
    assert counts(results) == {"A": ("validation", 16), "B": ("validation", 16), "C": ("test", 80)}
    assert re.search(r"C +│ test", capsys.readouterr().out)
    assert results["hyperparameters"]["data"]["text_column"] == "text"
    variables: dict[str, Any] = {}
    exec(code("python"), variables)
    (answer,) = variables["classify"]("good lung")
    assert answer["label"] in ("healthy", "ill")
    evaluated = evaluate(
        "--model runs/hospitals --dataset reports.csv --split train --text_column text "
        "--environment_column hospital scanner --output_dir evaluated".split()
    )
    assert evaluated["label_mapping"] == "by name" and len(evaluated["environments"]) == 6
    on_c = [evaluated["environments"][f"hospital=C,scanner={scanner}"]["accuracy"] for scanner in (0, 1)]
    assert np.mean(on_c) == pytest.approx(results["environments"]["C"]["accuracy"])
    with pytest.raises(UsageError, match="2"):
        evaluate("--model runs/hospitals --dataset reports.csv --split train --output_dir other".split())
    card = (place / "runs/hospitals/README.md").read_text()
    assert "pipeline_tag: text-classification" in card and 'classify("Your text.")' in card
    assert "reports.csv/default" in card and "datasets:" not in card


def test_the_recipe_of_punctuated_text(place: Path) -> None:
    rows = [{"text": f"{'good' if i % 2 else 'bad'} film", "rating": 4 * (i % 2) - 2.0} for i in range(200)]
    built = punctuation_shortcut(pandas.DataFrame(rows).assign(source="films"), Shift())
    for split, data in built.items():
        (place / "built/punctuation_shortcut").mkdir(parents=True, exist_ok=True)
        data.to_parquet(str(place / f"built/punctuation_shortcut/{split}.parquet"))
    results = train(
        f"--config {ROOT / 'hf_ood/recipes/punctuated_text.yaml'} --model_name_or_path reader "
        "--trainable * --dataset_name built/punctuation_shortcut --dataset_config default "
        "--max_train_samples 120 --output_dir run"
    )
    assert counts(results) == {
        "correlation_0.9": ("validation", 16),
        "correlation_0.8": ("validation", 16),
        "correlation_0.1": ("test", 40),
    }


def test_images_read_from_disk_give_the_run_that_images_in_memory_give(place: Path) -> None:
    write_tiny_source(place)
    write_colored_mnist(place / "digits", ["unseen_colors"], label_rule="zero_vs_one", source=str(place))
    recipe = ROOT / "hf_ood/recipes/larger_than_memory.yaml"
    accuracies = [
        train(
            f"--config {recipe} --dataset_name digits --max_train_samples 90 "
            "--per_device_train_batch_size 30 --augmentation random_color --dataloader_num_workers 0 "
            f"--in_memory {memory} --output_dir {memory}"
        )["environments"]
        for memory in ("always", "never")
    ]
    assert accuracies[0] == accuracies[1]


def test_groups_and_a_whole_validation_environment(place: Path) -> None:
    results = train(
        "--dataset_name reports.csv --text_column text --environment_column hospital scanner "
        "--test_environments hospital=C,scanner=0 hospital=C,scanner=1 --validation hospital=B,scanner=1 "
        "--model_name_or_path reader --per_device_train_batch_size 12 --output_dir run"
    )
    assert counts(results) == {
        "hospital=B,scanner=1": ("validation", 40),
        "hospital=C,scanner=0": ("test", 40),
        "hospital=C,scanner=1": ("test", 40),
    }
    assert results["hyperparameters"]["training"]["training_images"] == 120


def test_a_table_of_image_files_is_swept_and_explained(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names relative to the table, with a byte-order mark and Windows' line ends; no split of its own."""
    rows = [f"{i}.png,{'healthy' if i % 2 else 'ill'},{'ABC'[i % 3]}" for i in range(48)]
    table = "\r\n".join(["scan,finding,hospital", *rows])
    (place / "scans" / "table.csv").write_text(table, encoding="utf-8-sig")
    flags = "--dataset_name scans/table.csv --label_column finding --environment_column hospital"
    results = train(
        f"{flags} --test_environments C --model_name_or_path viewer --per_device_train_batch_size 8 "
        "--output_dir run"
    )
    assert counts(results) == {"A": ("validation", 3), "B": ("validation", 3), "C": ("test", 16)}
    assert explain_run(place / "run", samples=4)["environments"]["C"]["count"] == 4
    recipe = place / "recipe.yaml"
    recipe.write_text("\n".join(flag.replace(" ", ": ") for flag in flags.removeprefix("--").split(" --")))
    assert environments_of(recipe) == ({"A": 12, "B": 12, "C": 12}, [])
    capsys.readouterr()
    with pytest.raises(UsageError, match="2"):
        train(f"{flags} --test_environments C --output_dir other")
    said = capsys.readouterr().err
    assert (
        "found 18 x 20 pixels (16 rows), 18 x 21 pixels (16 rows)" in said and not (place / "other").exists()
    )


@pytest.mark.parametrize(("inference", "options"), [("eiil", "--eiil.steps 0"), ("kmeans", "")])
def test_environments_of_texts_are_inferred(place: Path, inference: str, options: str) -> None:
    flags = (
        "--dataset_name reports.csv --text_column text --environment_column hospital --test_environments C "
        "--model_name_or_path reader --per_device_train_batch_size 12"
    )
    train(f"{flags} --output_dir reference")
    results = train(
        f"{flags} --method irm --start_from reference --infer_environments {inference} {options} "
        "--upweight_errors 3 --output_dir run"
    )
    inferred, total = results["inferred"], results["hyperparameters"]["training"]["training_images"]
    entries = [inferred["inferred_0"], inferred["inferred_1"]]
    assert sum(entry["count"] for entry in entries) == total
    assert sum(entry["environments"]["A"] for entry in entries) == total / 2
    right = sum(entry["reference_accuracy"] * entry["count"] for entry in entries)
    assert results["upweighted"] == {"factor": 3, "errors": round(total - right), "of": total}


@pytest.mark.parametrize("memory", ["always", "never"])
def test_a_folder_of_images(place: Path, memory: str) -> None:
    results = train(
        "--dataset_name scans --environment_column hospital --train_environments A B --validation 0.25 "
        f"--model_name_or_path viewer --in_memory {memory} --per_device_train_batch_size 8 --output_dir run"
    )
    assert counts(results) == {"A": ("validation", 4), "B": ("validation", 4), "C": ("test", 16)}
    saved = json.loads((place / "run" / "preprocessor_config.json").read_text())
    assert saved["size"] == {"height": 16, "width": 16} and saved["image_mean"] == [0.5, 0.5, 0.5]


def test_colored_digits_are_resized_for_a_model_that_wants_it(place: Path) -> None:
    write_tiny_source(place)
    results = train(
        "--model_name_or_path viewer --max_train_samples 48 --per_device_train_batch_size 12 "
        f"--colored_mnist.label_rule zero_vs_one --colored_mnist.source {place} --output_dir run"
    )
    assert results["environments"]["random_colors"]["count"] == 120


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--test_environments D", r"Unknown test environment 'D'"),
        ("", r"no test split \(train\): name the environments to test on .*A, B, C"),
        ("--test_environments C --validation C", "'C' is asked for as validation and as test"),
        ("--test_environments C --augmentation random_color", "images, not texts"),
        ("--test_environments C --label_column lable", "Did you mean 'label'"),
        ("--test_environments C --in_memory sometimes", "invalid choice"),
        (
            "--test_environments C --method mixup --per_device_train_batch_size 24",
            "nothing between two tokens",
        ),
        ("--test_environments C --environment_column hospitl", "environment column 'hospitl'. Did you mean"),
    ],
)
def test_mistakes_are_named_before_training(
    place: Path, flags: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError) as raised:
        train(
            "--dataset_name reports.csv --text_column text --environment_column hospital "
            f"--model_name_or_path reader --output_dir run {flags}"
        )
    assert re.search(message, raised.value.message)
    assert not (place / "run").exists()  # the corrected command may have the folder
