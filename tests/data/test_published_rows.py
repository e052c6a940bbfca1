"""What leaves this machine with a dataset, and what does not."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.test_image_metadata import SECRET, exif, saved, seen
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value, load_dataset
from datasets import Image as ImageFeature
from hostile_names import HOSTILE
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt
from PIL import Image
from reporting.test_hostile_names import Cells

from hf_ood.data import CardText
from hf_ood.data.publish import write_dataset_folder
from hf_ood.names import python_string, visible

NAMES = ClassLabel(names=["a", "b"])


def written(folder: Path, dataset: Dataset | DatasetDict, **text: Any) -> Path:
    splits = dataset if isinstance(dataset, DatasetDict) else DatasetDict(train=dataset)
    return write_dataset_folder(folder / "out", {"one": splits}, CardText("Pictures", "mit", **text))


def all_bytes(folder: Path) -> bytes:
    """Every file of the folder, shards decoded: what is in them is compressed."""
    files = [file.read_bytes() for file in folder.rglob("*") if file.is_file()]
    read = [
        Dataset.from_parquet(str(file), cache_dir=str(folder.parent)) for file in folder.rglob("*.parquet")
    ]
    return b"".join([*files, *(repr(data.with_format("arrow")[:].to_pylist()).encode() for data in read)])


def labelled(columns: dict[str, list], **features: Any) -> Dataset:
    count = len(next(iter(columns.values())))
    rows = {**columns, "label": [0, 1] * (count // 2), "environment": [0, 1] * (count // 2)}
    return Dataset.from_dict(rows, features=Features({**features, "label": NAMES, "environment": NAMES}))


def test_images_are_published_as_they_are_seen_and_without_metadata(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "photos").mkdir()
    files = []
    for name, content in (("1.jpg", saved("JPEG", exif=exif())), ("2.jpg", saved("JPEG", exif=exif(6)))):
        files.append(tmp_path / "photos" / name)
        files[-1].write_bytes(content)
    given = {"image": list(map(str, files))}
    folder = written(tmp_path, labelled(given, image=ImageFeature()))
    content = all_bytes(folder)
    assert SECRET.encode() not in content and str(tmp_path).encode() not in content
    read = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    for row, file in enumerate(files):
        np.testing.assert_array_equal(np.asarray(read[row]["image"]), seen(file.read_bytes()))
    assert read.cast_column("image", ImageFeature(decode=False))[0]["image"]["path"] == "1.jpg"
    assert "metadata were taken out of 2 images" in (folder / "README.md").read_text()
    assert "2 images had EXIF" in caplog.text


@pytest.mark.parametrize(
    ("feature", "wrap"),
    [
        ({"bytes": Value("binary"), "path": Value("string")}, lambda file: file),
        (List(ImageFeature()), lambda file: [file, file]),
        ({"scan": ImageFeature(), "note": Value("string")}, lambda file: {"scan": file, "note": "n"}),
    ],
)
def test_images_in_structs_and_lists_too(tmp_path: Path, feature: Any, wrap: Any) -> None:
    file = {"bytes": saved("PNG", exif=exif()), "path": str(tmp_path / "secret" / "1.png")}
    folder = written(tmp_path, labelled({"image": [wrap(file), wrap(file)]}, image=feature))
    content = all_bytes(folder)
    assert SECRET.encode() not in content and b"secret" not in content and b"1.png" in content


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("{tmp}/1.png", True),
        ("../other/1.png", True),
        ("C:\\Users\\me\\1.png", True),
        ("~/scans/1.PNG", True),
        ("images/1.png", False),
        ("/", False),
        ("/s at the end of a sentence, see ../notes", False),
        ("https://example.org/a/1.png", False),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_paths_of_this_machine_are_refused(tmp_path: Path, text: str, refused: bool, nested: bool) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "1.png")
    text = text.replace("{tmp}", str(tmp_path))
    cells, feature = ([["x"], [text]], List(Value("string"))) if nested else (["x", text], Value("string"))
    given = labelled({"file": cells}, file=feature)
    if refused:
        with pytest.raises(ValueError, match=r"Split train, column 'file', row 1: '1\.(png|PNG)'"):
            written(tmp_path, given)
        assert not (tmp_path / "out").exists()
    else:
        assert load_dataset(str(written(tmp_path, given)), split="train")["file"][1] == cells[1]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    whole = io.BytesIO(saved("PNG")).getvalue()
    given = labelled({"image": [{"bytes": whole}, {"bytes": whole[:50]}]}, image=ImageFeature())
    with pytest.raises(ValueError, match="Split train, column 'image', row 1: no picture that can be read"):
        written(tmp_path, given)
    lost = labelled({"image": [str(tmp_path / "lost.png")] * 2}, image=ImageFeature())
    with pytest.raises(ValueError, match="Split train: a file of rows 0 to 1 cannot be read"):
        written(tmp_path, lost)


def test_splits_whose_names_have_another_order_are_published_by_name(tmp_path: Path) -> None:
    train = labelled({"text": ["a", "b"]}, text=Value("string"))
    other = ClassLabel(names=["c", "b", "a"])
    features = Features({"text": Value("string"), "label": other, "environment": other})
    test = Dataset.from_dict({"text": list("abc"), "label": [2, 1, 0], "environment": [2, 1, 0]}, features)
    folder = written(tmp_path, DatasetDict(train=train, test=test))
    for split, words in (("train", "ab"), ("test", "abc")):
        read = load_dataset(str(folder), split=split, cache_dir=str(tmp_path / "cache"))
        for column in ("label", "environment"):
            names = read.features[column].names
            assert names == ["a", "b", "c"] and [names[i] for i in read[column]] == list(words)
    rows = [line for line in (folder / "README.md").read_text().splitlines() if line.startswith("| test | c")]
    assert rows == ["| test | c | 1 | 0 | 0 | 1 |"]


def test_the_card_tells_no_path_of_this_machine(tmp_path: Path) -> None:
    told = (
        f"Made from '{tmp_path}/my scans/a.csv' and {tmp_path}/b.csv, see https://example.org/tmp/x or a/b."
    )
    folder = written(
        tmp_path, labelled({"text": ["x", "y"]}, text=Value("string")), details=told, command=told
    )
    card = (folder / "README.md").read_text()
    assert str(tmp_path) not in card and 'load_dataset(".", "one")' in card
    assert "Made from 'a.csv' and b.csv, see https://example.org/tmp/x or a/b." in card


def test_the_card_holds_names_as_they_are(tmp_path: Path) -> None:
    names = ClassLabel(names=HOSTILE)
    rows = {"label": range(len(HOSTILE)), "environment": range(len(HOSTILE))}
    data = Dataset.from_dict(rows, features=Features({"label": names, "environment": names}))
    folder = written(tmp_path, data)
    card = DatasetCard.load(folder / "README.md")
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(card.text)
    assert {*map(visible, HOSTILE)} <= {*Cells(page).cells} and not Cells(page).tags & {"script", "b", "s"}
    read = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert read.features["environment"].names == HOSTILE
    code = card.text.split("```python\n")[1].split("\n```")[0]
    compile(code, "card", "exec")
    assert f"== {python_string(HOSTILE[0])}" in code
