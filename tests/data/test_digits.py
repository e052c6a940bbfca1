"""Where grey digits come from, and what is said when a source is damaged, missing or not suitable."""

from __future__ import annotations

import shutil
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as PILImage

from hf_ood.data import CorruptDataError, load_colored_mnist, load_grey_images
from hf_ood.data.colored_mnist import digits
from hf_ood.data.colored_mnist.digits import read_digit_file, source_fingerprint

ASSETS = Path(digits.__file__).parent / "assets"
TEST_FILE, TEST_SHA = ASSETS / "test.parquet", digits._PIXEL_SHA256["test"]


def save_source(
    folder: Path, size: int = 28, classes: int = 10, splits: tuple[str, ...] = ("train", "test")
) -> str:
    """A local data set laid out as on the Hub, 20 images a split; class k is a square of brightness 20 k."""

    def images(count: int) -> Dataset:
        labels = [number % classes for number in range(count)]
        pixels = [np.zeros((size, size), dtype=np.uint8) for _ in labels]
        for label, image in zip(labels, pixels, strict=True):
            image[size // 4 : size // 2, size // 4 : size // 2] = 20 * label
        features = Features({"image": Image(), "label": ClassLabel(num_classes=classes)})
        return Dataset.from_dict(
            {"image": [PILImage.fromarray(image) for image in pixels], "label": labels}, features=features
        )

    for split in splits:
        folder.mkdir(parents=True, exist_ok=True)
        images(20).to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return str(folder)


def test_the_embedded_digits_are_mnist() -> None:
    source = load_grey_images()
    assert source.images.shape == (70000, 28, 28) and source.images.dtype == np.uint8
    assert source.num_train == 60000
    assert source.classes[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]  # known from the original files
    assert source.classes[60000:60005].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(source.classes[:60000]).tolist() == [
        5923,
        6742,
        5958,
        6131,
        5842,
        5421,
        5918,
        6265,
        5851,
        5949,
    ]
    assert round(float(source.images[:60000].mean()) / 255, 4) == 0.1307  # the field's normalisation constant


def test_a_file_cut_in_half_is_named(tmp_path: Path) -> None:
    file = tmp_path / "test.parquet"
    file.write_bytes(TEST_FILE.read_bytes()[: TEST_FILE.stat().st_size // 2])
    with pytest.raises(CorruptDataError, match=r"test\.parquet cannot be read.*Reinstall"):
        read_digit_file(file, TEST_SHA)


def test_one_changed_pixel_is_noticed(tmp_path: Path) -> None:
    table = pq.read_table(TEST_FILE)
    images = table["image"].to_pylist()
    images[17] = images[17][:400] + bytes([images[17][400] ^ 1]) + images[17][401:]
    file = tmp_path / "test.parquet"
    pq.write_table(table.set_column(table.column_names.index("image"), "image", pa.array(images)), file)
    with pytest.raises(CorruptDataError, match="SHA-256 differs"):
        read_digit_file(file, TEST_SHA)
    assert len(read_digit_file(TEST_FILE, TEST_SHA)[1]) == 10000


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptDataError, match="nowhere"):
        read_digit_file(tmp_path / "nowhere.parquet", TEST_SHA)


def test_a_local_folder_is_a_source(tmp_path: Path) -> None:
    source = load_grey_images(save_source(tmp_path / "squares"))
    assert source.images.shape == (40, 28, 28) and source.num_train == 20
    assert source.images[3].max() == 60 and source.classes[3] == 3


def test_other_sizes_are_resized(tmp_path: Path) -> None:
    source = load_grey_images(save_source(tmp_path / "large", size=56))
    assert source.images.shape == (40, 28, 28)
    assert source.images[9, 10, 10] == 180


def test_a_data_set_is_coloured_from_another_source(tmp_path: Path) -> None:
    folder = save_source(tmp_path / "squares")
    loaded = load_colored_mnist("fixed_colors", source=folder, cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 18, "validation": 2, "test": 20}


def test_changed_files_of_a_source_change_its_fingerprint_and_the_cached_data(tmp_path: Path) -> None:
    folder, cache = tmp_path / "squares", str(tmp_path / "cache")
    save_source(folder)
    before = source_fingerprint(str(folder))
    assert len(load_colored_mnist("fixed_colors", source=str(folder), cache_dir=cache)["test"]) == 20
    shutil.rmtree(folder)
    save_source(folder, classes=5)
    digits._load_with_datasets.cache_clear()  # as in a new process
    assert source_fingerprint(str(folder)) != before
    found = load_colored_mnist("fixed_colors", source=str(folder), cache_dir=cache)["test"]["digit"]
    assert max(found) == 4


def test_a_source_without_test_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"needs the splits 'train' and 'test'; it has \['train'\]"):
        load_grey_images(save_source(tmp_path / "half", splits=("train",)))


def test_a_source_with_more_than_ten_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="labels must lie in 0-9, found 0 to 11"):
        load_grey_images(save_source(tmp_path / "twelve", classes=12))


def test_a_source_without_images_is_refused(tmp_path: Path) -> None:
    rows = Dataset.from_dict({"text": ["a"]}, features=Features({"text": Value("string")}))
    for split in ("train", "test"):
        (tmp_path / "text").mkdir(exist_ok=True)
        rows.to_parquet(tmp_path / "text" / f"{split}.parquet")
    with pytest.raises(ValueError, match="needs an Image column and a label column"):
        load_grey_images(str(tmp_path / "text"))


def test_offline_a_hub_id_says_how_to_use_the_embedded_digits() -> None:
    assert datasets.config.HF_HUB_OFFLINE
    with pytest.raises(ConnectionError, match=r'(?s)ylecun/mnist.*Offline.*source="embedded"'):
        load_grey_images("ylecun/mnist")
