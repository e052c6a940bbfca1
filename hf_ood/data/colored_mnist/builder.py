"""Colored MNIST: six configurations of diversity and correlation shift, as a `datasets` builder or as
tensors."""

from __future__ import annotations

import hashlib
import inspect
import io
import re
from collections.abc import Iterator
from typing import Any, ClassVar, overload

import pyarrow as pa
import torch
from datasets import (
    ArrowBasedBuilder,
    ClassLabel,
    Dataset,
    DatasetDict,
    DatasetInfo,
    Features,
    Image,
    List,
    ReadInstruction,
    Split,
    SplitGenerator,
    Value,
)
from datasets.builder import Key
from PIL import Image as PILImage
from torch import Tensor

from ...errors import unknown_name
from .. import augmentation
from ..environment_dataset import EnvironmentDataset, MemoryEnvironmentDataset
from . import coloring, configurations, digits, painting
from .configurations import CONFIGURATIONS, OPTIONS, SPLITS, ColoredMNISTConfig, make_config
from .digits import GreyImages, load_grey_images, source_fingerprint
from .painting import CHUNK, paint, plan_split

DEFAULT_CONFIGURATION = "unseen_colors"


def features(config: ColoredMNISTConfig) -> Features:
    return Features(
        {
            "image": Image(),
            "label": ClassLabel(names=config.label_names),
            "environment": ClassLabel(names=config.environment_names),
            "digit": ClassLabel(names=[str(digit) for digit in range(10)]),
            "digit_color": List(Value("uint8"), length=3),
            "background_color": List(Value("uint8"), length=3),
            "source_index": Value("int32"),
        }
    )


def _code_hash() -> str:
    """Changes with every edit of the code that makes the data: no edit is ever answered from a stale
    cache."""
    modules = [configurations, painting, coloring, augmentation, digits, inspect.getmodule(_code_hash)]
    return hashlib.sha256(
        "".join(inspect.getsource(module) for module in modules if module).encode()
    ).hexdigest()


class ColoredMNIST(ArrowBasedBuilder):
    """`datasets` builder of Colored MNIST; `load_colored_mnist` is the short way to use it."""

    VERSION = configurations.VERSION
    BUILDER_CONFIG_CLASS = ColoredMNISTConfig
    BUILDER_CONFIGS: ClassVar[list[ColoredMNISTConfig]] = [make_config(name) for name in CONFIGURATIONS]
    DEFAULT_CONFIG_NAME = DEFAULT_CONFIGURATION
    config: ColoredMNISTConfig

    def __init__(
        self,
        cache_dir: str | None = None,
        config_name: str | None = None,
        hash: str | None = None,
        **options: Any,
    ):
        name = config_name or self.DEFAULT_CONFIG_NAME
        checked = {key: value for key, value in options.items() if key in OPTIONS}
        content = source_fingerprint(make_config(name, **checked).source)
        hash = hash or hashlib.sha256((_code_hash() + content).encode()).hexdigest()[:16]
        super().__init__(
            cache_dir=cache_dir, config_name=name, hash=hash, dataset_name="colored_mnist", **options
        )

    def _info(self) -> DatasetInfo:
        return DatasetInfo(
            description=self.config.description or "",
            features=features(self.config),
            license="CC BY-SA 3.0",
            homepage="http://yann.lecun.com/exdb/mnist/",
        )

    def _split_generators(self, dl_manager: Any) -> list[SplitGenerator]:
        names = {"train": Split.TRAIN, "validation": Split.VALIDATION, "test": Split.TEST}
        return [SplitGenerator(name=name, gen_kwargs={"split": split}) for split, name in names.items()]

    def _generate_tables(self, split: str) -> Iterator[tuple[Key, pa.Table]]:
        source = load_grey_images(self.config.source)
        plan = plan_split(self.config, split, source)
        for number, images in enumerate(paint(plan, self.config, split, source)):
            rows = slice(number * CHUNK, number * CHUNK + len(images))
            columns = {"image": _png_column(images)}
            for name in ("label", "environment", "digit"):
                columns[name] = pa.array(getattr(plan, name)[rows])
            for name in ("digit_color", "background_color"):
                flat = pa.array(getattr(plan, name)[rows].reshape(-1))
                columns[name] = pa.FixedSizeListArray.from_arrays(flat, 3)
            columns["source_index"] = pa.array(plan.source_index[rows])
            yield Key(0, number), pa.table(columns)


def _png_column(images: Tensor) -> pa.StructArray:
    encoded = []
    for pixels in images.permute(0, 2, 3, 1).contiguous().numpy():
        buffer = io.BytesIO()
        PILImage.fromarray(pixels).save(buffer, "PNG", compress_level=1)
        encoded.append(buffer.getvalue())
    return pa.StructArray.from_arrays(
        [pa.array(encoded, pa.binary()), pa.nulls(len(encoded), pa.string())], ["bytes", "path"]
    )


@overload
def load_colored_mnist(
    config: str = DEFAULT_CONFIGURATION, cache_dir: str | None = None, *, split: None = None, **options: Any
) -> DatasetDict: ...


@overload
def load_colored_mnist(
    config: str = DEFAULT_CONFIGURATION, cache_dir: str | None = None, *, split: str, **options: Any
) -> Dataset: ...


def load_colored_mnist(
    config: str = DEFAULT_CONFIGURATION,
    cache_dir: str | None = None,
    *,
    split: str | None = None,
    **options: Any,
) -> DatasetDict | Dataset:
    """Build Colored MNIST, or read it from the cache.

    `config`: one of the six configurations; `options`: fields of `ColoredMNISTConfig`, for example `seed=1`.
    Returns a `DatasetDict` with the splits train, validation and test, or, as `datasets.load_dataset` does,
    the one that `split` names: `"test"`, `"train[:100]"`, `"train+validation"`.

    Raises `ValueError` for an unknown configuration, option or split.

    Example: `load_colored_mnist("background_shortcut", correlations=[0.95, 0.8])["train"][0]["environment"]`
    """
    make_config(config, **options)  # a clear error before anything is written
    if split is not None:
        _refuse_unknown_splits(split)
    builder = ColoredMNIST(cache_dir=cache_dir, config_name=config, **options)
    builder.download_and_prepare()
    if split is not None:
        return builder.as_dataset(split=split)
    return DatasetDict({split: builder.as_dataset(split=split) for split in SPLITS})


def _refuse_unknown_splits(split: Any) -> None:
    """Only what is asked for by a string is looked at here; `datasets` knows other ways to ask."""
    for part in re.split(r"\s*\+\s*", split) if isinstance(split, str) else []:
        name = part.partition("[")[0].strip()
        if name not in (*SPLITS, "all"):
            raise ValueError(unknown_name("split", name, list(SPLITS)))
    if isinstance(split, str):
        try:
            ReadInstruction.from_spec(split)
        except ValueError as error:
            raise ValueError(
                f"split={split!r} cannot be read. Write it as for load_dataset: 'test', 'train[:100]', "
                "'train[:10%]' or 'train+test'."
            ) from error


def colored_mnist_tensors(
    config: str = DEFAULT_CONFIGURATION, **options: Any
) -> dict[str, EnvironmentDataset]:
    """The same images as `load_colored_mnist`, straight into memory: no PNG, no disk, about a second."""
    settings = make_config(config, **options)
    source = load_grey_images(settings.source)
    return {split: _split_tensors(settings, split, source) for split in SPLITS}


def _split_tensors(config: ColoredMNISTConfig, split: str, source: GreyImages) -> EnvironmentDataset:
    plan = plan_split(config, split, source)
    size = -(-digits.IMAGE_SIZE // config.stride)
    images = torch.empty(len(plan), 3, size, size, dtype=torch.uint8)
    for number, chunk in enumerate(paint(plan, config, split, source)):
        images[number * CHUNK : number * CHUNK + len(chunk)] = chunk
    return MemoryEnvironmentDataset(
        pixel_values=images,
        labels=torch.from_numpy(plan.label),
        environments=torch.from_numpy(plan.environment),
        label_names=config.label_names,
        environment_names=config.environment_names,
        extras={
            "digit_color": torch.from_numpy(plan.digit_color),
            "background_color": torch.from_numpy(plan.background_color),
        },
    )
