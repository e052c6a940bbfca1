"""Any dataset, with any model's processor, as batches that know their environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_args
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from PIL import Image
from tiny_models import save_image_model, save_text_model
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    EfficientNetImageProcessorPil,
)

from hf_ood import ERM, IRM, OODTrainer
from hf_ood.data import EnvironmentDataset, EnvironmentSampler, collate
from hf_ood.data.loading import Columns, environment_datasets, read_dataset
from hf_ood.data.processors import load_processor
from hf_ood.data.splits import Protocol

HELD_OUT = Protocol(test_environments=["c"])


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_text_model(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_image_model(tmp_path_factory.mktemp("image"))


def texts(rows: int = 60) -> Dataset:
    """Texts of different lengths of which the first word tells the label."""
    words = ["good", "bad"]
    return Dataset.from_dict(
        {
            "text": [" ".join([words[i % 2], *["film"] * (i % 5)]) for i in range(rows)],
            "reply": ["scan lung" if i % 3 else "." for i in range(rows)],
            "label": [["yes", "no"][i % 2] for i in range(rows)],
            "hospital": [["a", "b", "c"][i % 3] for i in range(rows)],
            "scanner": [i // 30 for i in range(rows)],
        }
    )


def images(rows: int = 24, sizes: tuple[int, ...] = (20, 24)) -> Dataset:
    random = np.random.default_rng(0)
    pictures = [
        Image.fromarray(random.integers(0, 256, (sizes[i % len(sizes)], 18, 3), dtype=np.uint8))
        for i in range(rows)
    ]
    return Dataset.from_dict(
        {
            "picture": pictures,
            "label": [i % 2 for i in range(rows)],
            "hospital": [["a", "b", "c"][i % 3] for i in range(rows)],
        }
    )


def load(dataset: Any, processor: Any, **changes: Any) -> dict[str, EnvironmentDataset]:
    columns: dict[str, Any] = {"environment": ["hospital"], **changes.pop("columns", {})}
    changes.setdefault("protocol", HELD_OUT)
    return environment_datasets(dataset, Columns(**columns), processor=processor, **changes)


def test_texts_are_tokenised_and_padded_to_the_longest_of_the_batch(text_model: Path) -> None:
    data = load(texts(), load_processor(str(text_model)), columns={"text": ["text"]})
    assert data["train"].label_names == ["no", "yes"]  # strings in alphabetical order
    assert {role: part.environment_counts() for role, part in data.items()} == {
        "train": {"a": 16, "b": 16},
        "validation": {"a": 4, "b": 4},
        "test": {"c": 20},
    }
    test = data["test"]  # rows 2, 5, 8, ... of the table
    batch = collate(test.__getitems__([1, 0]))
    assert batch["input_ids"].tolist() == [
        [2, 5, 3, 0, 0],
        [2, 4, 6, 6, 3],
    ]  # row 5: bad, row 2: good film film
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1] * 5]
    assert batch["labels"].tolist() == [0, 1] and batch["environment"].tolist() == [2, 2]
    assert set(batch) == {"input_ids", "attention_mask", "token_type_ids", "labels", "environment"}
    assert test.select([1])[0]["input_ids"].tolist() == [2, 5, 3]


def test_two_columns_are_a_sentence_pair_and_long_texts_are_cut(text_model: Path) -> None:
    processor = load_processor(str(text_model))
    pair = load(texts(), processor, columns={"text": ["text", "reply"]})["test"]
    first = pair.__getitems__([0])
    assert first["input_ids"].tolist() == [[2, 4, 6, 6, 3, 7, 8, 3]]
    assert first["token_type_ids"].tolist() == [[0] * 5 + [1] * 3]
    cut = load(texts(), processor, columns={"text": ["text"]}, max_length=3)["test"]
    assert cut.__getitems__(range(20))["input_ids"].shape == (20, 3)


def test_tokens_are_cached(text_model: Path, tmp_path: Path) -> None:
    texts().to_csv(str(tmp_path / "texts.csv"))
    files = []
    for _ in range(2):
        processor = load_processor(str(text_model))
        processor("a different state", truncation=True, max_length=4, padding="max_length")
        data: Any = load(read_dataset(str(tmp_path / "texts.csv")), processor, columns={"text": ["text"]})
        files.append(
            [
                (file["filename"], Path(file["filename"]).stat().st_mtime_ns)
                for file in data["test"].table.cache_files
            ]
        )
    assert files[0] == files[1] != []


def test_a_text_model_trains_on_environments(text_model: Path, tmp_path: Path) -> None:
    data = load(texts(), load_processor(str(text_model)), columns={"text": ["text"]})
    model = AutoModelForSequenceClassification.from_pretrained(text_model)
    trainer = OODTrainer(
        model,
        make_args(
            tmp_path, max_steps=20, learning_rate=0.02, per_device_train_batch_size=12, eval_strategy="no"
        ),
        objective=IRM(penalty_weight=1.0),
        train_dataset=data["train"],
        eval_dataset={"validation": data["validation"], "test": data["test"]},
    )
    trainer.train()
    assert trainer.evaluate(data["test"])["eval_c_accuracy"] == 1.0


def test_groups_of_two_columns(text_model: Path) -> None:
    data = load(
        texts(),
        load_processor(str(text_model)),
        columns={"text": ["text"], "environment": ["hospital", "scanner"]},
        protocol=Protocol(test_environments=["hospital=c,scanner=1"]),
    )
    assert (
        list(data["train"].environment_counts())
        == [f"hospital={hospital},scanner={scanner}" for hospital in "abc" for scanner in (0, 1)][:-1]
    )
    assert data["test"].environment_counts() == {"hospital=c,scanner=1": 10}


def test_a_class_label_keeps_its_names(image_model: Path) -> None:
    features = Features(
        {**images().features, "hospital": Value("string"), "label": ClassLabel(names=["z", "y"])}
    )
    data = load(images().cast(features), load_processor(str(image_model)))
    assert data["train"].label_names == ["z", "y"] and data["test"].labels.tolist() == [0, 1] * 4


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_become_what_the_processor_makes_of_them(image_model: Path, in_memory: bool) -> None:
    processor = load_processor(str(image_model))
    test = load(images(), processor, in_memory=in_memory)["test"]
    assert ("pixel_values" in test.columns) == in_memory
    expected = processor(images=images()[[2, 5]]["picture"], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(collate(test.__getitems__([0, 1]))["pixel_values"], expected)
    brighter = test.with_transform(
        lambda batch: {**batch, "pixel_values": batch["pixel_values"].float() / 255}
    )
    torch.testing.assert_close(brighter.__getitems__([0, 1])["pixel_values"], expected)


def test_a_processor_whose_steps_cannot_be_told_apart_works_whole() -> None:
    processor = EfficientNetImageProcessorPil(size={"height": 16, "width": 16})
    test = load(images(), processor)["test"]
    expected = processor(images=images()[[2]]["picture"], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(test.__getitems__([0])["pixel_values"], expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_model_trains_from_disk_as_from_memory(
    image_model: Path, tmp_path: Path, workers: int
) -> None:
    images().save_to_disk(str(tmp_path / "data"))
    weights = []
    for in_memory in (True, False):
        data = load(
            read_dataset(str(tmp_path / "data")), load_processor(str(image_model)), in_memory=in_memory
        )
        model = AutoModelForImageClassification.from_pretrained(image_model)
        args = make_args(
            tmp_path,
            max_steps=3,
            per_device_train_batch_size=4,
            dataloader_num_workers=0 if in_memory else workers,
        )
        trainer = OODTrainer(model, args, objective=ERM(), train_dataset=data["train"])
        trainer.train()
        weights.append(model.classifier.weight)
    assert torch.equal(*weights)


def test_workers_deliver_what_the_main_process_does(text_model: Path, tmp_path: Path) -> None:
    data = load(texts(), load_processor(str(text_model)), columns={"text": ["text"]})["train"]
    batches = [
        list(
            DataLoader(
                data, 8, sampler=EnvironmentSampler(data.environments), num_workers=n, collate_fn=collate
            )
        )
        for n in (0, 2)
    ]
    for alone, fetched in zip(*batches, strict=True):
        assert torch.equal(alone["input_ids"], fetched["input_ids"])
        assert torch.bincount(alone["environment"]).tolist() == [4, 4]


@pytest.mark.parametrize(
    "name", ["texts.csv", "texts.tsv", "texts.jsonl", "texts.parquet", "texts-*.csv", "saved"]
)
def test_files_and_folders(name: str, tmp_path: Path) -> None:
    data = texts(6)
    path = str(tmp_path / name.replace("*", "1"))
    if name.endswith("csv"):
        data.to_csv(path)
    elif name.endswith("tsv"):
        data.to_csv(path, sep="\t")
    elif name.endswith("jsonl"):
        data.to_json(path)
    elif name.endswith("parquet"):
        data.to_parquet(path)
    else:
        DatasetDict(train=data).save_to_disk(path)
    assert read_dataset(str(tmp_path / name))["train"][:] == data[:]


def test_names_of_image_files_become_images(tmp_path: Path) -> None:
    for name, image in zip("ab", images(2)["picture"], strict=True):
        image.save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    Image.fromarray(np.zeros((20, 18), np.uint16)).save(tmp_path / "deep.png")

    def table(*names: str) -> DatasetDict:
        rows = [f"{name}.png,{number % 2},{'ac'[number % 2]}" for number, name in enumerate(names)]
        (tmp_path / "table.csv").write_text("\n".join(["file,label,hospital", *rows]))
        return read_dataset(str(tmp_path / "table.csv"))

    found = table("a", "b", "a", "b")
    assert [image.size for image in found["train"]["file"]] == [(18, 20), (18, 24)] * 2
    assert table("none", "nowhere")["train"]["file"][0] == "none.png"  # a column of texts
    for names, message in (
        ("a b nowhere", r"1 of the 3 image files of column 'file' are not there, the first is nowhere\.png"),
        ("a a a broken a", r"row 4 of table\.csv \(line 5\), broken\.png: the image cannot be read"),
        ("a a deep a", r"more than 8 bits a pixel \(mode I;16\)"),
    ):
        with pytest.raises(ValueError, match=message):
            load(table(*names.split()), None)


def test_mistakes_are_named(text_model: Path, image_model: Path, tmp_path: Path) -> None:
    reader, viewer = load_processor(str(text_model)), load_processor(str(image_model))
    broken = Dataset.from_dict({**texts(3)[:], "text": ["good", None, "bad"]})
    measured = Dataset.from_dict({**texts(60)[:], "label": [i / 60 for i in range(60)]})
    unlabelled = Dataset.from_dict({**texts(3)[:], "label": ["yes", None, "no"]})
    for call, message in (
        (lambda: load(texts(), reader), "name the text column, one of text, reply, label"),
        (lambda: load(texts(), reader, columns={"text": ["txt"]}), "no column 'txt'; its columns are text"),
        (lambda: load(texts(), reader, columns={"text": ["scanner"]}), "'scanner' holds 0, which is no text"),
        (lambda: load(broken, reader, columns={"text": ["text"]}), "'text' holds rows without text"),
        (
            lambda: load(unlabelled, reader, columns={"text": ["text"]}),
            "1 of 3 rows .* no label in column label: row 1",
        ),
        (lambda: load(texts(), reader, columns={"environment": ["hospitl"]}), "Did you mean 'hospital'"),
        (lambda: load(measured, reader, columns={"text": ["text"]}), "'label' holds 60 different values"),
        (lambda: load(texts(), None, columns={"text": ["text"]}), r"Texts \(text\) need a model"),
        (lambda: load(texts(), viewer), "Name the image column"),
        (lambda: load(images(), None), "Images must have one size"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(FileNotFoundError, match=r"no file .*absent\.csv"):
        read_dataset(str(tmp_path / "absent.csv"))
