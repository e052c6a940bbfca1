"""A few hundred of MNIST's digits as a local source, on which a recipe ends within a second or two."""

from __future__ import annotations

from pathlib import Path

from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as PILImage

from hf_ood.data import load_grey_images


def save_small_source(folder: Path, train: int = 900, test: int = 120) -> str:
    """The first so many training and test images, laid out as on the Hub."""
    digits = load_grey_images()
    features = Features({"image": Image(), "label": ClassLabel(num_classes=10)})
    folder.mkdir(parents=True, exist_ok=True)
    for split, first, count in (("train", 0, train), ("test", digits.num_train, test)):
        images = [PILImage.fromarray(image) for image in digits.images[first : first + count]]
        labels = digits.classes[first : first + count]
        table = Dataset.from_dict({"image": images, "label": labels}, features=features)
        table.to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return str(folder)
