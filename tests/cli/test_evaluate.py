"""The evaluation command: own and foreign checkpoints, on parquet and on a folder of images."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_dataset
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image
from tiny_models import save_text_model
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor, ViTModel

from hf_ood.cli.evaluate import main
from hf_ood.cli.train import main as train
from hf_ood.errors import UsageError
from hf_ood.evaluation.references import model_labels

ROOT = Path(__file__).parents[2]
HOSPITALS = ["north", "south"]
LABELS = ["dark", "bright"]


def rows(count: int, seed: int) -> Dataset:
    data = make_dataset((count * 2 // 3, count - count * 2 // 3), seed)
    images = [Image.fromarray(pixels.permute(1, 2, 0).numpy()) for pixels in data.columns["pixel_values"]]
    flipped = (data.labels ^ (torch.arange(count) % 5 == 0)).tolist()  # nobody is right everywhere
    columns = {"image": images, "label": flipped, "environment": data.environments.tolist()}
    features = Features(
        {
            "image": ImageFeature(),
            "label": ClassLabel(names=LABELS),
            "environment": ClassLabel(names=HOSPITALS),
        }
    )
    return Dataset.from_dict(columns, features=features)


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "hospitals"
    folder.mkdir()
    for seed, (split, count) in enumerate({"train": 120, "validation": 60, "test": 60}.items()):
        rows(count, seed).to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return folder


@pytest.fixture(scope="module")
def own(parquet: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("own") / "run"
    flags = (
        f"--dataset_name {parquet} --dataset_config default --max_steps 30 --per_device_train_batch_size 24"
    )
    flags += f" --num_threads 1 --use_cpu true --disable_tqdm true --output_dir {folder}"
    return folder, train(flags.split())


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign")
    torch.manual_seed(0)
    ViTForImageClassification(vit_config(["bright", "dark"])).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def vit_config(labels: list[str]) -> ViTConfig:
    return ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )


def evaluate(model: Path, dataset: Path, *flags: str) -> dict[str, Any]:
    return main(["--model", str(model), "--dataset", str(dataset), *flags])


def test_own_checkpoint_gives_the_numbers_of_its_run(
    own: tuple[Path, dict[str, Any]], parquet: Path, tmp_path: Path
) -> None:
    folder, run = own
    results = evaluate(folder, parquet, "--output_dir", str(tmp_path), "--batch_size", "7")
    assert results["label_mapping"] == "by name"
    for name in HOSPITALS:
        found, expected = results["environments"][name], run["environments"][f"test/{name}"]
        assert found.pop("split") == expected.pop("split") == "test"
        assert found.pop("worst_group_label") == expected.pop("worst_group_label")
        assert found.pop("predicted_share") == pytest.approx(expected.pop("predicted_share"))
        assert 0.5 < found["accuracy"] < 1
        assert found == pytest.approx(expected, rel=1e-4)
    assert results["mean_accuracy"] == pytest.approx(run["mean_accuracy"])
    assert results["worst_accuracy"] == pytest.approx(run["worst_accuracy"])
    assert results["summary"]["small_environments"] == ["south"]  # 20 samples
    assert json.loads((tmp_path / "results.json").read_text())["summary"] == results["summary"]


def test_the_plots_are_pictures(own: tuple[Path, dict[str, Any]], parquet: Path, tmp_path: Path) -> None:
    evaluate(own[0], parquet, "--output_dir", str(tmp_path))
    for file in ("confusion.png", "reliability.png"):
        pixels = np.asarray(Image.open(tmp_path / file).convert("RGB"))
        assert pixels.shape[1] > pixels.shape[0] > 200
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


@pytest.mark.slow
def test_foreign_checkpoint_on_a_folder_of_images_as_a_command(foreign: Path, tmp_path: Path) -> None:
    """Greyscale and colour images of several sizes, other column names, environments that are words; the
    model's labels are in another order than the data set's."""
    data = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    (data / "test").mkdir(parents=True)
    lines = []
    for number in range(12):
        mode, size = ("L", (30, 20)) if number % 3 else ("RGB", (25, 25))
        pixels = rng.integers(0, 255, (*size[::-1], 3) if mode == "RGB" else size[::-1], dtype=np.uint8)
        Image.fromarray(pixels).save(data / "test" / f"{number}.png")
        diagnosis, site = LABELS[number % 2], ["rome", "oslo", "lima"][number % 3]
        lines.append(json.dumps({"file_name": f"{number}.png", "diagnosis": diagnosis, "site": site}))
    (data / "test" / "metadata.jsonl").write_text("\n".join(lines))
    script = [sys.executable, str(ROOT / "trainers" / "evaluate.py"), "--model", str(foreign)]
    flags = f"--dataset {data} --environment_column site --label_column diagnosis --output_dir {tmp_path}/out"
    done = subprocess.run([*script, *flags.split()], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(results["environments"]) == ["lima", "oslo", "rome"]
    assert "output_dir" not in results["command"] and "--label_column diagnosis" in results["command"]
    assert results["label_mapping"] == "by name"
    model = ViTForImageClassification.from_pretrained(foreign).eval()
    processor = ViTImageProcessor.from_pretrained(foreign)
    right = 0
    for number in (0, 3, 6, 9):
        image = Image.open(data / "test" / f"{number}.png").convert("RGB")
        with torch.no_grad():
            answer = model(**processor(images=image, return_tensors="pt")).logits.argmax(1).item()
        right += ["bright", "dark"][answer] == LABELS[number % 2]
    assert results["environments"]["rome"]["accuracy"] == right / 4
    for shown in ("rome", "macro-F1", "too few samples", "confusion.png"):
        assert shown in done.stdout


def test_ids_are_taken_where_there_are_no_names(foreign: Path, tmp_path: Path) -> None:
    data = rows(30, 5).cast_column("label", Value("int64")).cast_column("environment", Value("int64"))
    (tmp_path / "ids").mkdir()
    data.to_parquet(tmp_path / "ids" / "test.parquet")
    results = evaluate(foreign, tmp_path / "ids", "--output_dir", str(tmp_path / "out"))
    assert results["label_mapping"] == "by id"
    assert {name: entry["count"] for name, entry in results["environments"].items()} == {"0": 20, "1": 10}


def test_numbers_name_the_classes_of_a_model_trained_on_numbers(tmp_path: Path) -> None:
    """A network trained on 1, 2, 3 has class 0 for 1: taking numbers for ids would shift every class."""
    trained_on = {0: "1", 1: "2", 2: "3"}
    data = Dataset.from_dict({"whole": [2, 1, 2], "float": [2.0, 1.0, 2.0], "other": [0, 1, 2]})
    for column in ("whole", "float"):
        references, how = model_labels(data, column, trained_on)
        assert references.tolist() == [1, 0, 1] and how == "by name"
    with pytest.raises(ValueError, match="are not those of the model"):
        model_labels(data, "other", trained_on)
    assert model_labels(data, "other", {0: "a", 1: "b", 2: "c"})[1] == "by id"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--environment_column", "site"], "no column 'site'; its columns are image, label, environment"),
        (["--label_column", "diagnosis"], "no column 'diagnosis'; its columns are"),
        (["--image_column", "label"], "'label' must be an Image"),
        (["--split", "tset"], "Did you mean 'test'?"),
        (["--envrionment_column", "site"], "Did you mean '--environment_column'?"),
        (["--label_column", "image"], "one a row"),
    ],
)
def test_mistakes_are_named(
    flags: list[str], message: str, foreign: Path, parquet: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as error:
        evaluate(foreign, parquet, "--output_dir", str(tmp_path / "out"), *flags)
    assert message in error.value.message
    assert not (tmp_path / "out").exists()


def test_another_number_of_classes_is_refused(foreign: Path, parquet: Path, tmp_path: Path) -> None:
    ViTForImageClassification(vit_config(["cat", "dog", "owl"])).save_pretrained(tmp_path)
    ViTImageProcessor.from_pretrained(foreign).save_pretrained(tmp_path)
    with pytest.raises(UsageError) as error:
        evaluate(tmp_path, parquet, "--output_dir", str(tmp_path / "out"))
    assert "The dataset: dark, bright. The model: cat, dog, owl." in error.value.message


def test_a_model_without_a_trained_head_is_refused(foreign: Path, parquet: Path, tmp_path: Path) -> None:
    ViTModel(vit_config(LABELS)).save_pretrained(tmp_path)
    ViTImageProcessor.from_pretrained(foreign).save_pretrained(tmp_path)
    with pytest.raises(UsageError) as error:
        evaluate(tmp_path, parquet, "--output_dir", str(tmp_path / "out"))
    assert "no weights for classifier.bias" in error.value.message


def test_the_results_of_a_run_are_never_overwritten(own: tuple[Path, dict[str, Any]], parquet: Path) -> None:
    before = (own[0] / "results.json").read_bytes()
    with pytest.raises(UsageError) as error:
        evaluate(own[0], parquet, "--output_dir", str(own[0]))
    assert "holds other results" in error.value.message
    assert (own[0] / "results.json").read_bytes() == before


def test_a_missing_model_is_a_message(parquet: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        evaluate(tmp_path / "nowhere", parquet, "--output_dir", str(tmp_path / "out"))
    assert "nowhere" in error.value.message


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of four hospitals in one split, of which a run divides whole hospitals."""
    folder = tmp_path_factory.mktemp("data") / "four"
    folder.mkdir()
    data = rows(120, 3).remove_columns("environment")
    names = [["a", "b", "c", "d"][number % 4] for number in range(120)]
    data.add_column("hospital", names).to_parquet(folder / "train.parquet")
    return folder


@pytest.fixture(scope="module")
def divided(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("divided") / "run"
    flags = f"--dataset_name {hospitals} --environment_column hospital --test_environments d --validation c"
    flags += " --max_steps 4 --per_device_train_batch_size 24 --eval_strategy no --save_strategy no"
    train([*flags.split(), *f"--num_threads 1 --use_cpu true --output_dir {folder}".split()])
    return folder


def test_a_run_is_measured_apart_where_it_was_trained_validated_and_held_out(
    divided: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = main(["--run", str(divided), "--output_dir", str(tmp_path)])
    roles = {name: entry["role"] for name, entry in results["environments"].items()}
    assert roles == {"a": "trained on", "b": "trained on", "c": "validated on", "d": "held out"}
    accuracies = {name: entry["accuracy"] for name, entry in results["environments"].items()}
    means = {role: summary["mean"]["accuracy"] for role, summary in results["summary_by_role"].items()}
    assert means == {
        "trained on": pytest.approx((accuracies["a"] + accuracies["b"]) / 2),
        "validated on": accuracies["c"],
        "held out": accuracies["d"],
    }
    assert results["mean_accuracy"] == results["worst_accuracy"] == accuracies["d"]
    assert "summary" not in results  # there is no mean over all
    shown = capsys.readouterr().out
    assert shown.count("trained on") >= 5 and shown.count("held out") >= 4
    assert "their figures are no test" in shown
    trained = json.loads((divided / "results.json").read_text())
    assert trained["environments"]["d"]["accuracy"] == pytest.approx(accuracies["d"])


def test_a_run_on_other_data_has_only_environments_that_it_never_saw(
    divided: Path, parquet: Path, tmp_path: Path
) -> None:
    flags = ["--run", str(divided), "--dataset", str(parquet), "--environment_column", "environment"]
    results = main([*flags, "--output_dir", str(tmp_path)])
    assert list(results["summary_by_role"]) == ["held out"] and results["split"] == "test"
    assert results["notes"] == [
        "measured on the split test of train, validation, test; --split names another"
    ]


def test_new_rows_of_the_training_environments_are_no_held_out_ones(
    own: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    results = main(["--run", str(own[0]), "--output_dir", str(tmp_path)])
    assert list(results["summary_by_role"]) == ["trained on"]
    assert results["mean_accuracy"] is None and results["worst_accuracy"] is None
    for name in HOSPITALS:
        expected = own[1]["environments"][f"test/{name}"]["accuracy"]
        assert results["environments"][name]["accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "Name either --model, or the folder of a finished run as --run"),
        (["--run", "nowhere"], "nowhere holds no finished run: there is no arguments.yaml"),
    ],
)
def test_what_is_evaluated_must_be_named(flags: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        main(flags)
    assert message in error.value.message


def test_the_only_split_is_measured_and_one_of_several_must_be_test_or_named(
    foreign: Path, hospitals: Path, parquet: Path, tmp_path: Path
) -> None:
    results = evaluate(foreign, hospitals, "--environment_column", "hospital", "--output_dir", str(tmp_path))
    assert results["split"] == "train" and results["notes"] == []
    others = tmp_path / "others"
    others.mkdir()
    for split in ("train", "validation"):
        (others / f"{split}.parquet").write_bytes((parquet / f"{split}-00000-of-00001.parquet").read_bytes())
    with pytest.raises(UsageError) as error:
        evaluate(foreign, others, "--output_dir", str(tmp_path / "out"))
    assert "has the splits train, validation: name one of them (--split)" in error.value.message


def test_a_run_on_texts_is_evaluated_by_its_folder_alone(tmp_path: Path) -> None:
    """Its columns and the length that it cuts texts at are those that it was trained with."""
    model = save_text_model(tmp_path / "bert")
    lines = ["text,finding,title,hospital"]
    for number in range(60):
        words = ["good film . . . . lung", "bad scan . . . . lung"][number % 2]
        lines.append(f"{words},{LABELS[number % 2]},t{number},{'abc'[number % 3]}")
    (tmp_path / "reports.csv").write_text("\n".join(lines))
    flags = f"--dataset_name {tmp_path}/reports.csv --text_column text --label_column finding --max_length 6"
    flags += f" --environment_column hospital --test_environments c --model_name_or_path {model}"
    flags += f" --max_steps 4 --eval_strategy no --save_strategy no --output_dir {tmp_path}/run"
    flags += " --per_device_train_batch_size 16"
    run = train([*flags.split(), "--num_threads", "1", "--use_cpu", "true", "--disable_tqdm", "true"])
    results = main(["--run", f"{tmp_path}/run", "--output_dir", str(tmp_path / "out")])
    for measure in ("accuracy", "loss"):
        expected = run["environments"]["c"][measure]
        assert results["environments"]["c"][measure] == pytest.approx(expected, rel=1e-4)
    assert {name: entry["role"] for name, entry in results["environments"].items()} == {
        **dict.fromkeys("ab", "trained on"),
        "c": "held out",
    }
    assert (tmp_path / "out" / "reliability.png").is_file()
