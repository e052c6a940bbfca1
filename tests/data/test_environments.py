"""Environment ids from the data set to the batch."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from conftest import make_dataset
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as PILImage
from torch.utils.data import BatchSampler, DataLoader

from hf_ood.data import EnvironmentDataset, EnvironmentSampler, as_environment_dataset, collate


def hub_dataset(
    sizes: tuple[int, ...] = (8, 8, 8), environments: tuple[str, ...] = ("b", "a", "b")
) -> Dataset:
    images = [PILImage.new("RGB", (size, size), (10 * number, 0, 255)) for number, size in enumerate(sizes)]
    features = Features(
        {"image": Image(), "label": ClassLabel(names=["no", "yes"]), "environment": Value("string")}
    )
    rows = {"image": images, "label": [0, 1, 1], "environment": list(environments)}
    return Dataset.from_dict(rows, features=features)


def test_a_batch_is_a_dict_of_tensors_with_its_ids() -> None:
    data = make_dataset()
    batch = data.__getitems__([5, 2, 5])
    assert batch["index"].tolist() == [5, 2, 5]
    assert torch.equal(batch["pixel_values"][0], data.columns["pixel_values"][5])
    assert torch.equal(batch["environment"], data.environments[[5, 2, 5]])
    assert data[2]["labels"] == data.labels[2] and data[2]["pixel_values"].dtype == torch.uint8


def test_collate_makes_floats_from_batches_and_from_rows() -> None:
    data = make_dataset()
    whole, rows = collate(data.__getitems__([3, 1])), collate([data[3], data[1]])
    assert set(whole) == {"pixel_values", "labels", "environment"}
    for name in whole:
        assert torch.equal(whole[name], rows[name])
    assert torch.allclose(whole["pixel_values"][0] * 255, data.columns["pixel_values"][3].float())
    floats = collate(make_dataset(floats=True).__getitems__([3]))
    assert torch.allclose(floats["pixel_values"], whole["pixel_values"][:1])


def test_select_and_transform_keep_the_rest() -> None:
    data = make_dataset(counts=(30, 20, 10))
    part = data.select([4, 9])
    assert len(part) == 2 and part.environment_names == data.environment_names
    assert torch.equal(part.labels, data.labels[[4, 9]])
    flipped = data.with_transform(lambda batch: {**batch, "labels": 1 - batch["labels"]})
    assert torch.equal(flipped.__getitems__(range(60))["labels"], 1 - data.labels)
    assert torch.equal(flipped.with_transform(None).__getitems__(range(60))["labels"], data.labels)
    assert data.environment_counts() == {"environment_0": 30, "environment_1": 20, "environment_2": 10}


def test_wrong_rows_are_refused() -> None:
    pixels, labels, environments = torch.zeros(2, 3, 4, 4), torch.tensor([0, 1]), torch.tensor([0, 0])
    with pytest.raises(ValueError, match="Column 'labels' has 1 rows, pixel_values 2"):
        EnvironmentDataset(pixels, labels[:1], environments, ["a", "b"], ["e"])
    with pytest.raises(ValueError, match=r"Labels must lie in 0\.\.0 \(a\), found 0 to 1"):
        EnvironmentDataset(pixels, labels, environments, ["a"], ["e"])
    with pytest.raises(ValueError, match="Environment ids must lie"):
        EnvironmentDataset(pixels, labels, environments - 1, ["a", "b"], ["e"])


def test_a_hub_data_set_with_environments_as_strings() -> None:
    data = as_environment_dataset(hub_dataset())
    assert data.environment_names == ["a", "b"] and data.environments.tolist() == [1, 0, 1]
    assert data.label_names == ["no", "yes"] and data.columns["pixel_values"].shape == (3, 3, 8, 8)
    assert data.columns["pixel_values"][2, :, 0, 0].tolist() == [20, 0, 255]
    assert as_environment_dataset(data) is data


def test_what_a_hub_data_set_lacks_is_said() -> None:
    with pytest.raises(ValueError, match="no column 'environment'; its columns are image, label"):
        EnvironmentDataset.from_dataset(hub_dataset().remove_columns("environment"))
    with pytest.raises(ValueError, match="Column 'label' must be an Image"):
        EnvironmentDataset.from_dataset(hub_dataset(), image_column="label")
    with pytest.raises(ValueError, match="Images must have one size"):
        EnvironmentDataset.from_dataset(hub_dataset(sizes=(8, 8, 9)))
    with pytest.raises(TypeError, match="not list"):
        as_environment_dataset([1, 2])


UNEVEN = torch.tensor([0] * 700 + [1] * 200 + [2] * 100)[
    torch.randperm(1000, generator=torch.Generator().manual_seed(0))
]


def blocks(order: list[int], size: int) -> list[Counter[int]]:
    return [
        Counter(UNEVEN[order[start : start + size]].tolist())
        for start in range(0, len(order) - size + 1, size)
    ]


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("size", [3, 12, 192])
def test_every_block_holds_equal_parts(size: int, replacement: bool) -> None:
    order = list(EnvironmentSampler(UNEVEN, replacement=replacement))
    assert len(order) == 1000
    for counts in blocks(order, size):
        assert counts == {0: size // 3, 1: size // 3, 2: size // 3}


def test_natural_proportions_are_spread_evenly_and_visit_every_row_once() -> None:
    order = list(EnvironmentSampler(UNEVEN, proportions="natural"))
    assert sorted(order) == list(range(1000))
    for counts in blocks(order, 100):
        assert all(
            abs(counts[environment] - expected) <= 2 for environment, expected in ((0, 70), (1, 20), (2, 10))
        )


def test_large_environments_are_not_repeated_and_small_ones_evenly() -> None:
    seen = Counter(EnvironmentSampler(UNEVEN))
    visits = np.asarray([seen[row] for row in range(1000)])
    assert set(visits[UNEVEN == 0]) == {0, 1}
    assert set(visits[UNEVEN == 2]) == {3, 4}  # 334 draws of 100 rows


@pytest.mark.parametrize("step", [12, 192, 300, 600])
def test_no_row_is_twice_in_a_step_of_an_environment_that_is_large_enough(step: int) -> None:
    order = list(EnvironmentSampler(UNEVEN, step=step))
    small = [row for row in order if UNEVEN[row] == 2]  # 334 draws of 100 rows
    share = min(step // 3, 100)
    for start in range(len(small) - share):
        assert len(set(small[start : start + share])) == share
    passes = [small[start : start + 100] for start in range(0, 300, 100)]
    assert all(len(set(one)) == 100 for one in passes)  # every row once before any comes again
    assert (passes[0] != passes[1]) == (share < 100)
    apart = list(EnvironmentSampler(UNEVEN))
    assert any(
        len(set(block)) < 3 * 60 for block in (apart[start : start + 180] for start in range(0, 800, 180))
    )  # what passes that are shuffled apart do


def test_with_replacement_rows_repeat_within_an_epoch() -> None:
    seen = Counter(EnvironmentSampler(UNEVEN, proportions="natural", replacement=True))
    assert max(seen.values()) > 1 and sum(seen.values()) == 1000


@pytest.mark.parametrize("proportions", ["equal", "natural"])
def test_rows_count_as_often_as_they_are_repeated(proportions: str) -> None:
    repeats = np.where(np.arange(1000) % 10 == 0, 4, 1)
    sampler = EnvironmentSampler(UNEVEN, proportions=proportions, repeats=repeats)
    order = list(sampler)
    assert len(order) == len(sampler) == 1300
    seen = Counter(order)
    if proportions == "natural":
        assert [seen[row] for row in range(1000)] == repeats.tolist()
    else:
        assert set(Counter(UNEVEN[order].tolist()).values()) <= {433, 434}
        rare = np.flatnonzero(
            (UNEVEN.numpy() == 2) & (repeats == 4)
        )  # 434 draws of 100 rows, repeats included
        passes = 434 / repeats[UNEVEN.numpy() == 2].sum()
        assert all(4 * int(passes) <= seen[row] <= 4 * (int(passes) + 1) for row in rare.tolist())


def test_groups_are_classes_in_environments() -> None:
    data = make_dataset((30, 10))
    counts = Counter(zip(data.labels.tolist(), data.environments.tolist(), strict=True))
    names = {f"class {label} in environment_{place}": count for (label, place), count in counts.items()}
    assert data.group_counts() == names
    assert Counter(data.groups.tolist()) == {2 * label + place: n for (label, place), n in counts.items()}
    assert "repeats" not in collate(data.with_repeats(torch.ones(40).long()).__getitems__([0, 1]))


def test_epochs_differ_and_repeat_by_seed() -> None:
    sampler = EnvironmentSampler(UNEVEN, seed=4)
    first = list(sampler)
    assert first == list(sampler)
    sampler.set_epoch(1)
    assert first != list(sampler)
    sampler.set_epoch(0)
    assert first == list(sampler) != list(EnvironmentSampler(UNEVEN, seed=5))


@pytest.mark.parametrize("processes", [2, 4])
def test_shards_of_a_global_batch_are_balanced_and_together_the_whole(processes: int) -> None:
    """Accelerate's own sharding of batches, as `Trainer` sets it up."""
    batch = 12
    sampler = EnvironmentSampler(UNEVEN)
    whole = list(BatchSampler(sampler, batch * processes, drop_last=True))
    shards = [
        list(BatchSamplerShard(BatchSampler(sampler, batch, drop_last=True), processes, rank))
        for rank in range(processes)
    ]
    for step in range(len(whole)):
        parts = [shard[step] for shard in shards]
        assert sorted(row for part in parts for row in part) == sorted(whole[step])
        for part in parts:
            assert Counter(UNEVEN[part].tolist()) == {0: 4, 1: 4, 2: 4}


def test_workers_deliver_what_the_main_process_does() -> None:
    data = make_dataset()

    def batches(workers: int) -> list[torch.Tensor]:
        loader = DataLoader(
            data, 12, sampler=EnvironmentSampler(data.environments), num_workers=workers, collate_fn=collate
        )
        return [batch["environment"] for batch in loader]

    for alone, fetched in zip(batches(0), batches(2), strict=True):
        assert torch.equal(alone, fetched)


def test_nothing_to_sample_and_unknown_proportions_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to sample"):
        EnvironmentSampler([])
    with pytest.raises(ValueError, match="'equal' or 'natural', not 'even'"):
        EnvironmentSampler([0, 1], proportions="even")
