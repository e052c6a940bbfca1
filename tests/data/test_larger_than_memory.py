"""Images that would not fit: read from the mapped file, batch by batch, in memory that does not grow."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import torch
from datasets import Dataset, Features, Image, Value
from PIL import Image as Picture
from torch.utils.data import DataLoader

from hf_ood.data import (
    ArrowEnvironmentDataset,
    EnvironmentDataset,
    EnvironmentRows,
    EnvironmentSampler,
    MemoryEnvironmentDataset,
    Protocol,
    collate,
    environment_datasets,
    loading,
)
from hf_ood.discovery import Reference
from hf_ood.evaluation import measure_shift
from hf_ood.explain import attribution_report
from hf_ood.models import LeNetConfig, LeNetForImageClassification
from hf_ood.reporting.samples import draw_samples
from hf_ood.trainer import cached_features

SCRIPT = Path(__file__).parent / "under_memory_limit.py"
SIDE, ROWS = 128, 1600
DECODED = 3 * SIDE * SIDE * ROWS  # 79 MB, and as much in the file
LIMIT = 32 * 2**20  # what reading may take on top of what the process has


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Uncompressed images whose red is their number, in an Arrow file."""
    schema = Features(
        {"image": Image(), "label": Value("int64"), "environment": Value("string")}
    ).arrow_schema
    picture = io.BytesIO()
    Picture.new("RGB", (SIDE, SIDE)).save(picture, "BMP")
    header = picture.getvalue()[: -3 * SIDE * SIDE]
    path = tmp_path_factory.mktemp("images") / "images.arrow"
    with pyarrow.ipc.new_stream(path, schema) as file:
        for start in range(0, ROWS, 50):
            numbers = range(start, start + 50)
            columns = {
                "image": [
                    {"bytes": header + bytes([0, 0, number % 256]) * SIDE**2, "path": None}
                    for number in numbers
                ],
                "label": [number % 2 for number in numbers],
                "environment": ["abcd"[min(number // 100, 3)] for number in numbers],
            }
            file.write_batch(pyarrow.RecordBatch.from_pydict(columns, schema))
    return Dataset.from_file(str(path))


def divided(table: Dataset, in_memory: bool | None) -> dict[str, EnvironmentDataset]:
    return environment_datasets(table, protocol=Protocol(test_environments=["d"]), in_memory=in_memory)


@pytest.mark.nightly
def test_an_epoch_takes_less_memory_than_the_images(table: Dataset) -> None:
    """In a process of its own: one that has run other tests has freed memory, which no limit sees."""
    file = Path(table.cache_files[0]["filename"])
    assert min(file.stat().st_size, DECODED) > 2.3 * LIMIT
    read = subprocess.run([sys.executable, SCRIPT, file, str(LIMIT)], capture_output=True, text=True)
    assert read.returncode == 0, read.stderr
    told = json.loads(read.stdout)
    assert sum(told["seen"].values()) == ROWS - 300
    assert told["seen"] == Counter(str(number % 256) for number in range(300, ROWS))
    assert told["loading_them"] == "refused"


def test_workers_read_the_same_balanced_batches(table: Dataset) -> None:
    data = divided(table, in_memory=False)["train"].select(torch.arange(0, 240, 4))
    sampler = EnvironmentSampler(data.environments)
    alone, fetched = (
        list(DataLoader(data, 12, sampler=sampler, num_workers=workers, collate_fn=collate))
        for workers in (0, 2)
    )
    for one, other in zip(alone, fetched, strict=True):
        assert torch.equal(one["pixel_values"], other["pixel_values"])
        assert torch.bincount(one["environment"]).tolist() == [4, 4, 4]


def test_images_are_kept_in_memory_where_there_is_room(
    table: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = table.select(range(280, 320))
    assert "pixel_values" in divided(few, in_memory=None)["train"].columns
    monkeypatch.setattr(loading, "SHARE_OF_MEMORY", 1e-6)
    assert "pixel_values" not in divided(few, in_memory=None)["train"].columns
    in_memory, on_disk = (divided(few, in_memory)["test"] for in_memory in (True, False))
    for name, values in in_memory.__getitems__([3, 1]).items():
        assert np.array_equal(values, on_disk.__getitems__([3, 1])[name])


@pytest.mark.parametrize("in_memory", [True, False])
def test_rows_follow_rows_of_another_table(table: Dataset, in_memory: bool) -> None:
    data = divided(table.select(range(280, 320)), in_memory)
    first, second = data["train"], data["test"]
    whole = first.followed_by(second)
    assert len(whole) == len(first) + len(second)
    for at, part, rows in ((0, first, [2, 0]), (len(first), second, [3, 1])):
        found, expected = whole.__getitems__([at + row for row in rows]), part.__getitems__(rows)
        for name in ("pixel_values", "labels", "environment"):
            assert torch.equal(found[name], expected[name])
    assert torch.equal(data["test"].columns["environment"], second.environments)  # its own stay as they are
    with pytest.raises(ValueError, match="other label names cannot follow"):
        first.followed_by(second.with_labels(second.labels, ["a", "b", "c"]))
    other = divided(table.select(range(280, 320)), not in_memory)["test"]
    with pytest.raises(TypeError, match="cannot be joined"):
        first.followed_by(other)


def test_what_is_on_disk_serves_wherever_what_is_in_memory_does() -> None:
    """Shifts, cached features, reference models, explanations, pictures: to the last digit."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 28, 28, 3), dtype=np.uint8)
    few = Dataset.from_dict(
        {
            "image": [Picture.fromarray(image) for image in pixels],
            "label": [number % 2 for number in range(60)],
            "environment": ["abd"[number // 20] for number in range(60)],
        }
    )
    kept, mapped = (divided(few, in_memory) for in_memory in (True, False))
    assert isinstance(kept["train"], MemoryEnvironmentDataset)
    assert isinstance(mapped["train"], ArrowEnvironmentDataset)
    torch.manual_seed(0)
    model = LeNetForImageClassification(LeNetConfig(num_labels=2)).eval()
    uses: list[Callable[[dict[str, EnvironmentDataset]], Any]] = [
        lambda data: measure_shift(data["train"], data["test"], permutations=39).to_dict(),
        lambda data: cached_features(model, data["train"]).columns["inputs"],
        lambda data: Reference.of(model, data["train"], features=True).features,
        lambda data: attribution_report(model, data["test"], samples_per_environment=4),
        lambda data: draw_samples(data, 3).axes[0].images[0].get_array(),
    ]
    for use in uses:
        one, other = use(kept), use(mapped)
        if isinstance(one, dict):
            assert one == other
        else:
            assert np.array_equal(np.asarray(one), np.asarray(other))
    rows = EnvironmentRows(few).select([40, 3])
    assert list(rows.inputs([1])) == ["image"] and rows.environments.tolist() == [2, 0]
    assert np.array_equal(np.asarray(rows.inputs([1])["image"][0]), pixels[3])
