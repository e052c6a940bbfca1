"""Shifts of samples whose shifts are known, and of Colored MNIST."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_dataset, make_model
from datasets import ClassLabel, Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image
from scipy.integrate import quad
from scipy.stats import norm
from threadpoolctl import threadpool_limits
from tiny_models import WORDS, save_text_model
from transformers import BertModel, ViTConfig, ViTImageProcessor, ViTModel

from hf_ood import EnvironmentDataset
from hf_ood.data import Protocol, colored_mnist_tensors, environment_datasets
from hf_ood.evaluation import measure_environment_shifts, measure_shift
from hf_ood.evaluation.shift import CheckpointEncoder, PixelEncoder
from hf_ood.evaluation.shift.classifier import ClassifierPlugIn, plug_in
from hf_ood.evaluation.shift.encoders import encode
from hf_ood.evaluation.shift.kernel_density import TOLERATED, KernelDensity
from hf_ood.evaluation.shift.sample import Sample, balanced_rows, label_shift, principal_components
from hf_ood.models import Penultimate, image_processor

Means = list[list[float]]  # of each split and class, along the first feature
SAME: Means = [[0, 0], [0, 0]]
APART: Means = [[0, 0], [3, 3]]
SWAPPED: Means = [[-1, 1], [1, -1]]
BOTH: Means = [[0, 2], [3, 1]]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def densities(means: Means, x: float) -> np.ndarray:
    """p(x, y) of both splits [2, 2], classes being equally frequent."""
    return norm.pdf(x, loc=np.array(means)) / 2


def truth(means: Means) -> tuple[float, float, float]:
    """Diversity, correlation and correlation_l1 by their definitions, integrated numerically."""

    def overlap(x: float) -> float:
        train, test = densities(means, x).sum(1)
        return np.sqrt(train * test)

    def joint_overlap(x: float) -> float:
        train, test = densities(means, x)
        return np.sqrt(train * test).sum()

    def disagreement(x: float) -> float:
        given_x = densities(means, x) / densities(means, x).sum(1, keepdims=True)
        return overlap(x) * np.abs(given_x[0] - given_x[1]).sum() / 2

    shared, joint, l1 = (quad(f, -9, 9)[0] for f in (overlap, joint_overlap, disagreement))
    return 1 - shared, shared - joint, l1


def normal_sample(means: Means, rows: int = 600, dimension: int = 2, seed: int = 0) -> Sample:
    """`rows` of each split, normal with unit variance."""
    splits, labels = np.repeat([0, 1], rows), np.tile([0, 1], rows)
    features = np.random.default_rng(seed).normal(size=(2 * rows, dimension))
    features[:, 0] += np.array(means)[splits, labels]
    return Sample(features, splits, labels)


def pair(sample: Sample, split: int) -> tuple[np.ndarray, np.ndarray]:
    return sample.features[sample.splits == split], sample.labels[sample.splits == split]


@pytest.mark.parametrize("means", [SAME, APART, SWAPPED, BOTH])
def test_the_classifier_finds_the_shifts_of_normal_distributions(means: Means) -> None:
    found = ClassifierPlugIn().estimate(normal_sample(means)).values
    assert found == pytest.approx(truth(means), abs=0.05)


def test_the_truth_has_a_closed_form() -> None:
    assert truth(APART) == pytest.approx((1 - np.exp(-9 / 8), 0, 0), abs=1e-6)
    diversity, correlation, _ = truth(BOTH)
    assert diversity + correlation == pytest.approx(1 - (np.exp(-9 / 8) + np.exp(-1 / 8)) / 2)


def test_the_formulas_at_known_probabilities() -> None:
    joint = np.array([[[0.4, 0.1], [0.1, 0.4]], [[0.5, 0.0], [0.0, 0.5]], [[1.0, 0.0], [0.0, 0.0]]])
    diversity, correlation, correlation_l1 = plug_in(joint).T
    assert diversity == pytest.approx([0, 0, 1], abs=1e-5)
    assert correlation == pytest.approx([1 - 4 * np.sqrt(0.04), 1, 0], abs=1e-5)
    assert correlation_l1 == pytest.approx([0.6, 1, 0], abs=1e-5)


def test_the_classifier_does_not_mind_the_features_basis() -> None:
    sample = normal_sample(SWAPPED, rows=300)
    values = []
    for basis in (np.eye(2), np.array([[3.0, 1], [0.5, 0.3]])):
        features, explained = principal_components(sample.features @ basis, 2, seed=0)
        assert explained == pytest.approx(1)
        values.append(ClassifierPlugIn().estimate(replace(sample, features=features)).values)
    assert values[0] == pytest.approx(values[1], abs=0.02)


def test_calibrated_densities_read_no_more_than_tolerated_without_shift() -> None:
    sample = normal_sample(SAME, rows=300, dimension=2)
    values = KernelDensity(points=500).prepare(sample).estimate(sample).values
    assert (values < 3 * TOLERATED).all()


def test_densities_tell_the_two_shifts_apart() -> None:
    apart, swapped = (normal_sample(means, rows=300, dimension=2) for means in (APART, SWAPPED))
    values = {
        name: KernelDensity(points=500).prepare(sample).estimate(sample).values
        for name, sample in (("apart", apart), ("swapped", swapped))
    }
    assert values["apart"][0] > 0.25 > 10 * values["apart"][1]
    assert values["swapped"][1] > 0.03 > 2 * values["swapped"][0]


@pytest.mark.parametrize(
    ("estimator", "means", "kind"),
    [
        ("classifier", SAME, "none"),
        ("classifier", SWAPPED, "correlation"),
        ("kde", SAME, "none"),
        ("kde", APART, "diversity"),
    ],
)
def test_the_kind_of_a_shift(estimator: str, means: Means, kind: str) -> None:
    sample = normal_sample(means, rows=60)
    shift = measure_shift(pair(sample, 0), pair(sample, 1), estimator=estimator)
    assert shift.kind == kind
    for measure in shift.measures.values():
        assert measure.low <= measure.value <= measure.high
        assert 1 / 40 <= measure.p_value <= 1
    assert (shift.rows, shift.classes, shift.components) == (60, 2, 2)


def test_the_same_seed_gives_the_same_numbers() -> None:
    sample = normal_sample(BOTH, rows=100, dimension=1)
    first, again, other = (
        measure_shift(pair(sample, 0), pair(sample, 1), estimator="kde", seed=seed, max_samples=90)
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_change_of_label_frequencies_is_reported_apart() -> None:
    sample = normal_sample([[0, 4], [0, 4]], rows=300, dimension=1)
    features, labels = pair(sample, 1)
    mostly_ones = (labels == 1) | (np.arange(300) % 5 == 0)
    shift = measure_shift(pair(sample, 0), (features[mostly_ones], labels[mostly_ones]), estimator="kde")
    assert shift.kind == "none"
    assert shift.label_shift == pytest.approx((labels[mostly_ones] == 1).mean() - 0.5)
    assert label_shift(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])) == 0.25


def test_rows_are_balanced_between_splits_and_at_most_as_many_as_asked() -> None:
    train, test = np.repeat([0, 1], [60, 40]), np.repeat([0, 1], [30, 90])
    rng = np.random.default_rng(0)
    for most, counts in ((1000, [30, 40]), (35, [15, 20])):
        rows = balanced_rows(train, test, most, 5, ["a", "b"], rng)
        for labels, chosen in zip((train, test), rows, strict=True):
            assert np.bincount(labels[chosen]).tolist() == counts
            assert len(set(chosen.tolist())) == len(chosen)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("configuration", "kind"),
    [
        ("unseen_colors", "diversity"),
        ("background_shortcut", "correlation"),
        ("label_noise_shortcut", "correlation"),
    ],
)
def test_configurations_shift_as_they_say(configuration: str, kind: str) -> None:
    splits = colored_mnist_tensors(configuration)
    shift = measure_shift(splits["train"], splits["test"], max_samples=300)
    assert shift.kind == kind
    other = shift.correlation if kind == "diversity" else shift.diversity
    assert shift.measures[kind].value > 2 * other.value


def test_environments_are_compared_in_pairs() -> None:
    dataset = make_dataset((40, 40, 40))
    dataset.columns["pixel_values"][dataset.environments == 2] //= 4
    options: dict[str, Any] = {"estimator": "kde", "components": 1}
    shifts = measure_environment_shifts(dataset, **options)
    assert {names: shift.kind for names, shift in shifts.items()} == {
        ("environment_0", "environment_1"): "none",
        ("environment_0", "environment_2"): "diversity",
        ("environment_1", "environment_2"): "diversity",
    }
    with pytest.raises(ValueError, match="no pair to compare"):
        measure_environment_shifts(make_dataset((30,)))


def as_hugging_face(dataset: EnvironmentDataset, label_names: list[str] | None = None) -> Dataset:
    images = [Image.fromarray(pixels.permute(1, 2, 0).numpy()) for pixels in dataset.columns["pixel_values"]]
    features = Features(
        {"image": ImageFeature(), "label": ClassLabel(names=label_names or dataset.label_names)}
    )
    return Dataset.from_dict({"image": images, "label": dataset.labels.tolist()}, features=features)


def test_pixels_of_tensors_and_of_pictures_are_the_same() -> None:
    tensors = make_dataset((20,))
    pictures = encode(as_hugging_face(tensors), PixelEncoder())
    assert pictures.shape == (20, 3 * 7 * 7)
    assert np.abs(encode(tensors, PixelEncoder()) - pictures).max() < 1 / 255
    floats = make_dataset((20,), floats=True)
    assert np.abs(encode(floats, PixelEncoder()) - pictures).max() < 1 / 255


def test_a_checkpoint_encodes(tmp_path: Path) -> None:
    make_model().save_pretrained(tmp_path / "own")
    make_model().to(torch.bfloat16).save_pretrained(tmp_path / "half")
    for folder in ("own", "half"):
        image_processor(28, 28).save_pretrained(tmp_path / folder)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=28,
        patch_size=14,
    )  # fmt: skip
    torch.manual_seed(0)
    ViTModel(config).save_pretrained(tmp_path / "headless")
    ViTImageProcessor(size={"height": 28, "width": 28}).save_pretrained(tmp_path / "headless")
    tensors = make_dataset((20,))
    model = make_model().eval()
    with torch.no_grad():
        expected = model(pixel_values=tensors.columns["pixel_values"] / 255).logits
    encoder = CheckpointEncoder(str(tmp_path / "own"))
    features = encode(tensors, encoder)
    logits = Penultimate(encoder.model).classifier(torch.from_numpy(features))
    torch.testing.assert_close(logits, expected)
    np.testing.assert_allclose(encode(as_hugging_face(tensors), encoder), features, atol=1e-5)
    np.testing.assert_allclose(
        encode(tensors, CheckpointEncoder(str(tmp_path / "half"))), features, atol=0.05
    )
    assert encode(tensors, CheckpointEncoder(str(tmp_path / "headless"))).shape == (20, 16)


def test_vectors_are_features_as_they_are() -> None:
    sample = normal_sample(SWAPPED, rows=30)
    features, labels = torch.from_numpy(sample.features), torch.from_numpy(sample.labels)
    vectors = EnvironmentDataset(features, labels, torch.zeros(60), ["a", "b"], ["all"])
    np.testing.assert_array_equal(encode(vectors, PixelEncoder()), sample.features)
    with pytest.raises(TypeError, match="not list"):
        measure_shift(vectors, [sample.features, sample.labels])  # type: ignore[arg-type]


def few() -> EnvironmentDataset:
    dataset = make_dataset((40,))
    return dataset.select([*(dataset.labels == 0).nonzero()[:9, 0], *(dataset.labels == 1).nonzero()[:3, 0]])


PLAIN = normal_sample(SAME, rows=40, dimension=2)
MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "other label names": (
        lambda: measure_shift(make_dataset((40,)), as_hugging_face(make_dataset((40,)), ["cat", "dog"])),
        "train has none of cat, dog; test has none of class 0, class 1.*same label names",
    ),
    "a class missing": (
        lambda: measure_shift(pair(PLAIN, 0), (PLAIN.features, np.zeros(80, int))),
        "test has none of 1.*leave the rows",
    ),
    "too few rows": (
        lambda: measure_shift(make_dataset((40,)), few()),
        "'class 1' has .* 3 in test.*at least 5",
    ),
    "too few rows for densities": (
        lambda: measure_shift(make_dataset((40,)), few(), estimator="kde"),
        "at least 10",
    ),
    "no labels": (
        lambda: measure_shift(
            pair(PLAIN, 0),
            as_hugging_face(make_dataset((9,))).map(lambda row: {"label": -1}, keep_in_memory=True),
        ),
        r"9 rows of test have no label \(-1\)",
    ),
    "an empty split": (lambda: measure_shift(pair(PLAIN, 0), ([], [])), "test is empty"),
    "features of another encoder": (
        lambda: measure_shift(pair(PLAIN, 0), (PLAIN.features[:, :1], PLAIN.labels)),
        "train has 2 features a row, test 1",
    ),
    "features that are not a matrix": (
        lambda: measure_shift((PLAIN.features[:, 0], PLAIN.labels), pair(PLAIN, 1)),
        r"shape \[N, D\]",
    ),
    "constant features": (
        lambda: measure_shift(*[(np.ones((40, 2)), PLAIN.labels[:40])] * 2),
        "all rows are the same",
    ),
    "features that are not finite": (
        lambda: measure_shift((PLAIN.features * np.nan, PLAIN.labels), pair(PLAIN, 1)),
        "not finite",
    ),
    "an unknown estimator": (
        lambda: measure_shift(pair(PLAIN, 0), pair(PLAIN, 1), estimator="clasifier"),
        "'classifier'",
    ),
    "too few permutations": (
        lambda: measure_shift(pair(PLAIN, 0), pair(PLAIN, 1), permutations=20),
        "at least 39",
    ),
    "no components": (
        lambda: measure_shift(pair(PLAIN, 0), pair(PLAIN, 1), components=0),
        "components must be at least 1",
    ),
    "no column of labels": (
        lambda: measure_shift(*[as_hugging_face(make_dataset((9,)))] * 2, label_column="klass"),
        "no column 'klass'",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_with_the_way_out(mistake: str) -> None:
    call, message = MISTAKES[mistake]
    with pytest.raises(ValueError, match=message):
        call()


def test_images_on_disk_shift_as_those_in_memory() -> None:
    random = np.random.default_rng(0)
    rows = Dataset.from_dict(
        {
            "image": [
                Image.fromarray(random.integers(0, 90 + 60 * (i % 2), (8, 8, 3), dtype=np.uint8))
                for i in range(120)
            ],
            "label": [i // 2 % 2 for i in range(120)],
            "environment": ["ab"[i % 2] for i in range(120)],
        }
    )
    found = []
    for in_memory in (True, False):
        divided = environment_datasets(rows, protocol=Protocol(test_environments=["b"]), in_memory=in_memory)
        found.append(measure_shift(divided["train"], divided["test"], components=3).diversity.value)
    assert found[0] == found[1]


@pytest.mark.parametrize("classifies", [True, False])
def test_texts_are_measured_as_an_encoder_of_texts_sees_them(tmp_path: Path, classifies: bool) -> None:
    folder = save_text_model(tmp_path)
    if not classifies:
        BertModel.from_pretrained(folder).save_pretrained(folder)
    encoder = CheckpointEncoder(str(folder))
    words = WORDS[5:9]
    texts = Dataset.from_dict({"said": [" ".join(words[: 1 + row % 4]) for row in range(40)]})
    found = encode(texts, encoder, text_column="said")
    assert found.shape == (40, 16) and np.allclose(found[:4], found[36:], atol=1e-5)
    alone = np.concatenate([encoder.of_texts([text]) for text in texts["said"][:4]])
    np.testing.assert_allclose(found[:4], alone, atol=1e-5)  # the filling of a batch does not count
    with pytest.raises(ValueError, match="The encoder reads texts, and the data are images"):
        encoder(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
