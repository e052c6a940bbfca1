"""The command that predicts: a row for every row of a table that has no labels."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image
from tiny_models import save_image_model, save_text_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from hf_ood.cli.predict import main, run
from hf_ood.errors import UsageError
from hf_ood.models import LinearConfig, LinearForImageClassification

ROOT = Path(__file__).parents[2]
TEXTS = ["good film .", "bad , film !", 'a "good" scan', "lung"]


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_text_model(tmp_path_factory.mktemp("model") / "text")
    model = BertForSequenceClassification.from_pretrained(folder)
    model.config.id2label, model.config.label2id = {0: "ill", 1: "healthy"}, {"ill": 0, "healthy": 1}
    torch.manual_seed(0)
    model.classifier.weight.data.normal_(std=30)
    inputs = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    model.classifier.bias.data -= model.eval()(**inputs).logits.mean(0)  # not all texts are of one class
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_image_model(tmp_path_factory.mktemp("model") / "image")


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    files = [folder / f"{name}.png" for name in "edcba"]
    for number, file in enumerate(files):
        shape = (20 + number, 24, 3) if number % 2 else (20, 24)
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(file)
    return files


def text_probabilities(folder: Path, texts: list[str]) -> np.ndarray:
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = [model(**tokenizer(text, return_tensors="pt")).logits for text in texts]
    return torch.cat(logits).softmax(1).numpy()


def image_probabilities(folder: Path, files: list[Path]) -> np.ndarray:
    model = ViTForImageClassification.from_pretrained(folder).eval()
    processor = ViTImageProcessorPil.from_pretrained(folder)
    with torch.no_grad():
        logits = [
            model(**processor(images=Image.open(file).convert("RGB"), return_tensors="pt")).logits
            for file in files
        ]
    return torch.cat(logits).softmax(1).numpy()


@pytest.mark.slow
def test_texts_from_a_file_as_a_command_to_the_terminal(text_model: Path, tmp_path: Path) -> None:
    """Every row once, in order, with its own columns as the file writes them; classes by their names."""
    table = pd.DataFrame({"id": ["007", "1e3", "NA", ""], "text": TEXTS, "label": ["", "?", "", ""]})
    table.to_csv(tmp_path / "new.csv", index=False)
    script = [sys.executable, str(ROOT / "trainers" / "predict.py"), "--model", str(text_model)]
    done = subprocess.run(
        [*script, str(tmp_path / "new.csv"), "--text_column", "text", "--batch_size", "3"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    found = pd.read_csv(io.StringIO(done.stdout), dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(found[["id", "text", "label"]], table)
    assert list(found.columns)[3:] == ["prediction", "probability_ill", "probability_healthy"]
    expected = text_probabilities(text_model, TEXTS)
    np.testing.assert_allclose(found.iloc[:, 4:].astype(float), expected, atol=1e-5)
    assert found["prediction"].tolist() == [["ill", "healthy"][number] for number in expected.argmax(1)]
    assert len({*found["prediction"]}) == 2


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
def test_the_output_is_what_its_suffix_says(suffix: str, text_model: Path, tmp_path: Path) -> None:
    data, output = tmp_path / "new.json", tmp_path / f"out{suffix}"
    data.write_text("\n".join(json.dumps({"n": n, "text": text}) for n, text in enumerate(TEXTS)))
    table = run(str(data), str(text_model), output)
    read = {".csv": pd.read_csv, ".tsv": pd.read_table, ".parquet": pd.read_parquet}
    found = read[suffix](output) if suffix in read else pd.read_json(output, lines=True)
    assert list(found.columns) == list(table.columns) and found["n"].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(found["probability_ill"], table["probability_ill"].astype(float))
    assert not list(tmp_path.glob("*.partial"))


def test_a_table_that_names_image_files(image_model: Path, pictures: list[Path], tmp_path: Path) -> None:
    names = [f"pictures/{file.name}" for file in pictures]
    pd.DataFrame({"file": names, "age": ["1", "", "3", "4", "5"]}).to_csv(tmp_path / "new.csv", index=False)
    table = run(str(tmp_path / "new.csv"), str(image_model), batch_size=2)
    assert table["file"].tolist() == names and table["age"].tolist() == ["1", "", "3", "4", "5"]
    expected = image_probabilities(image_model, pictures)
    np.testing.assert_allclose(table[["probability_LABEL_0", "probability_LABEL_1"]], expected, atol=1e-5)


def test_a_folder_of_images_is_shown_by_its_files(image_model: Path, pictures: list[Path]) -> None:
    table = run(str(pictures[0].parent), str(image_model))
    assert sorted(table["image"]) == [file.name for file in sorted(pictures)]
    in_order = [pictures[0].parent / name for name in table["image"]]
    expected = image_probabilities(image_model, in_order)
    np.testing.assert_allclose(table["probability_LABEL_1"], expected[:, 1], atol=1e-5)


def test_a_dataset_with_images_inside(image_model: Path, pictures: list[Path], tmp_path: Path) -> None:
    features = Features({"scan": ImageFeature(), "n": Value("int64")})
    rows = {"scan": [Image.open(file) for file in pictures], "n": [3, None, 1, 2, 5]}
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "data" / f"{split}.parquet")
    table = run(str(tmp_path / "data"), str(image_model))
    assert table["n"].isna().tolist() == [False, True, False, False, False]
    assert table["n"].to_csv(index=False).split() == [
        "n",
        "3",
        '""',
        "1",
        "2",
        "5",
    ]
    assert table["scan"].tolist() == [file.name for file in pictures]
    np.testing.assert_allclose(
        table["probability_LABEL_0"], image_probabilities(image_model, pictures)[:, 0], atol=1e-5
    )


def vector_model(folder: Path, labels: list[str]) -> Path:
    torch.manual_seed(0)
    names = dict(enumerate(labels))
    config = LinearConfig(num_features=3, id2label=names, label2id={name: n for n, name in names.items()})
    LinearForImageClassification(config).save_pretrained(folder)
    return folder


def test_vectors_of_a_regression_give_values(tmp_path: Path) -> None:
    model = vector_model(tmp_path / "model", ["target"])
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    table = pd.DataFrame(values, columns=["a", "b", "c"]).assign(name=list("vwxyz"))
    table.to_csv(tmp_path / "new.csv", index=False)
    found = run(str(tmp_path / "new.csv"), str(model), feature_columns=["a", "b", "c"], batch_size=2)
    assert list(found.columns) == ["a", "b", "c", "name", "prediction"]
    network = LinearForImageClassification.from_pretrained(model)
    expected = network(pixel_values=torch.from_numpy(values)).logits[:, 0].detach()
    np.testing.assert_allclose(found["prediction"], expected, atol=1e-5)
    Dataset.from_dict({"features": values.tolist()}).to_parquet(tmp_path / "new.parquet")
    again = run(str(tmp_path / "new.parquet"), str(model), feature_columns=["features"])
    np.testing.assert_allclose(again["prediction"], expected, atol=1e-5)


def test_a_run_knows_its_own_text_column(text_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    AutoTokenizer.from_pretrained(text_model).save_pretrained(folder)
    BertForSequenceClassification.from_pretrained(text_model).save_pretrained(folder)
    (folder / "arguments.yaml").write_text(f"text_column: [text]\nmax_length: 4\nmodel: {text_model}\n")
    pd.DataFrame({"title": TEXTS[::-1], "text": TEXTS}).to_csv(tmp_path / "new.csv", index=False)
    table = run(str(tmp_path / "new.csv"), str(folder))
    cut = text_probabilities(text_model, ["good film", "bad ,", 'a "', "lung"])  # 4 tokens, two of them marks
    np.testing.assert_allclose(table["probability_ill"], cut[:, 0], atol=1e-5)


@pytest.mark.parametrize(
    ("columns", "flags", "message"),
    [
        ({"text": ["good", ""]}, ["--text_column", "text"], "1 of 2 rows have nothing in column 'text'"),
        (
            {"text": ["good"], "title": ["bad"]},
            [],
            "name --text_column; the table has the columns",
        ),
        ({"text": ["good"]}, ["--text_column", "txet"], "no column 'txet'"),
        ({"text": ["good"], "prediction": ["x"]}, ["--text_column", "text"], "a column 'prediction' already"),
        ({"text": []}, ["--text_column", "text"], "has no rows"),
        ({"text": ["good"]}, ["--split", "test"], "Unknown split 'test'"),
        ({"text": ["good"]}, ["--output", "out.xlsx"], "must end in one of .csv"),
        ({"text": ["good"]}, ["--output", "nowhere/out.csv"], "there is no folder nowhere"),
    ],
)
def test_mistakes_are_named(
    columns: dict[str, list[str]], flags: list[str], message: str, text_model: Path, tmp_path: Path
) -> None:
    pd.DataFrame(columns).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(UsageError) as error:
        main([str(tmp_path / "new.csv"), "--model", str(text_model), *flags])
    assert message in error.value.message


def test_the_input_is_never_overwritten_and_a_prefix_makes_room(text_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    pd.DataFrame({"text": TEXTS, "prediction": "x"}).to_csv(file, index=False)
    before = file.read_bytes()
    with pytest.raises(UsageError) as error:
        main([str(file), "--model", str(text_model), "--text_column", "text", "--output", str(file)])
    assert "overwrite the input" in error.value.message and file.read_bytes() == before
    table = run(str(file), str(text_model), text_column=["text"], prefix="new_")
    assert list(table.columns)[1:3] == ["prediction", "new_prediction"]


def test_a_model_of_vectors_says_how_to_name_them(tmp_path: Path) -> None:
    model = vector_model(tmp_path / "model", ["a", "b"])
    pd.DataFrame({"x": [1.0], "y": ["two"], "z": [3.0]}).to_csv(tmp_path / "new.csv", index=False)
    for flags, message in (
        ([], "--feature_columns"),
        (["--feature_columns", "x", "z"], "hold 2 numbers a row, the model takes 3"),
        (["--feature_columns", "x", "y", "z"], "Row 0 (from 0) has 'two' in column 'y'"),
    ):
        with pytest.raises(UsageError) as error:
            main([str(tmp_path / "new.csv"), "--model", str(model), *flags])
        assert message in error.value.message
