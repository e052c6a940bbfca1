"""Where the grey digits come from: the copy embedded in this package, a Hub dataset, or a local folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, DatasetDict, Image, Value, load_dataset

from ..embedded import REINSTALL, CorruptDataError

EMBEDDED = "embedded"
IMAGE_SIZE = 28
_PIXEL_SHA256 = {
    "train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
}


@dataclass(frozen=True)
class GreyImages:
    """Grey images of ten classes, the source's training images first, then its test images.

    `images`: uint8 [N, 28, 28], 0 = background, 255 = ink. `classes`: int64 [N], 0-9.
    `num_train`: how many of the N are training images. `fingerprint`: changes whenever the content does.
    """

    images: np.ndarray
    classes: np.ndarray
    num_train: int
    fingerprint: str


def load_grey_images(source: str = EMBEDDED) -> GreyImages:
    """Load 28x28 grey images.

    `source`: `"embedded"` (real MNIST, shipped with this package, needs no network), a Hub dataset id such as
    `"ylecun/mnist"` or `"zalando-datasets/fashion_mnist"`, or a local folder that `datasets.load_dataset`
    reads. A dataset needs an image column, a label column with at most ten classes, and the splits
    `train` and `test`; other image sizes are resized.

    Raises `CorruptDataError` for damaged embedded files, `ConnectionError` when a Hub id cannot be reached,
    and `ValueError` when the dataset does not have what is needed.
    """
    return _load_embedded() if source == EMBEDDED else _load_with_datasets(source)


def source_fingerprint(source: str) -> str:
    """A string that changes when the content behind `source` does; of the embedded digits and of a folder
    without decoding any image."""
    if source == EMBEDDED:
        return _PIXEL_SHA256["train"][:8] + _PIXEL_SHA256["test"][:8]
    folder = Path(source)
    if not folder.is_dir():
        return load_grey_images(source).fingerprint
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listing = [
        (str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns) for path in files
    ]
    return hashlib.sha256(repr(listing).encode()).hexdigest()[:16]


@lru_cache(maxsize=1)
def _load_embedded() -> GreyImages:
    splits = {split: _read_embedded_split(split) for split in ("train", "test")}
    return GreyImages(
        images=np.concatenate([images for images, _ in splits.values()]),
        classes=np.concatenate([classes for _, classes in splits.values()]),
        num_train=len(splits["train"][1]),
        fingerprint=source_fingerprint(EMBEDDED),
    )


def _read_embedded_split(split: str) -> tuple[np.ndarray, np.ndarray]:
    with resources.as_file(resources.files(__package__) / "assets" / f"{split}.parquet") as path:
        return read_digit_file(path, _PIXEL_SHA256[split])


def read_digit_file(path: Path, pixel_sha256: str) -> tuple[np.ndarray, np.ndarray]:
    """Read one embedded parquet file and check its pixels; returns uint8 [N, 28, 28] and int64 [N]."""
    try:
        table = pq.read_table(path)
        pixels = np.frombuffer(b"".join(table["image"].to_pylist()), dtype=np.uint8)
    except (pa.ArrowException, OSError) as error:
        raise CorruptDataError(f"{path} cannot be read ({error}). {REINSTALL}") from error
    if hashlib.sha256(pixels.tobytes()).hexdigest() != pixel_sha256:
        raise CorruptDataError(f"The pixels of {path} are not those of MNIST (SHA-256 differs). {REINSTALL}")
    return pixels.reshape(-1, IMAGE_SIZE, IMAGE_SIZE), table["label"].to_numpy().astype(np.int64)


@lru_cache(maxsize=2)
def _load_with_datasets(source: str) -> GreyImages:
    try:
        dataset = load_dataset(source)
    except OSError as error:
        raise ConnectionError(
            f"Cannot load the image source {source!r}: {error}\n"
            "It is neither a local folder nor a dataset that the Hub delivers just now. Offline, use the "
            'MNIST that ships with this package: source="embedded" (the default), or name a local folder.'
        ) from error
    if not isinstance(dataset, DatasetDict) or not {"train", "test"} <= set(dataset):
        raise ValueError(f"Source {source!r} needs the splits 'train' and 'test'; it has {sorted(dataset)}.")
    parts = [_to_arrays(dataset[split], source) for split in ("train", "test")]
    return GreyImages(
        images=np.concatenate([images for images, _ in parts]),
        classes=np.concatenate([classes for _, classes in parts]),
        num_train=len(parts[0][1]),
        fingerprint=dataset["train"]._fingerprint + dataset["test"]._fingerprint,
    )


def _to_arrays(dataset: Dataset, source: str) -> tuple[np.ndarray, np.ndarray]:
    image_columns = [name for name, feature in dataset.features.items() if isinstance(feature, Image)]
    label_columns = [name for name, feature in dataset.features.items() if isinstance(feature, ClassLabel)]
    label_columns += [name for name in ("label", "labels") if isinstance(dataset.features.get(name), Value)]
    if not image_columns or not label_columns:
        raise ValueError(
            f"Source {source!r} needs an Image column and a label column; its columns are {dataset.features}."
        )
    size = (IMAGE_SIZE, IMAGE_SIZE)
    images = np.stack(
        [
            np.asarray(image.convert("L") if image.size == size else image.convert("L").resize(size))
            for image in dataset[image_columns[0]]
        ]
    )
    classes = np.asarray(dataset[label_columns[0]], dtype=np.int64)
    if classes.min() < 0 or classes.max() > 9:
        raise ValueError(
            f"Source {source!r}: labels must lie in 0-9, found {classes.min()} to {classes.max()}."
        )
    return images, classes
