"""Each way of inferring environments, on data whose environments are known."""

from __future__ import annotations

import pytest
import torch
from backbones import make_backbone
from conftest import make_dataset, make_model
from one_step import make_texts
from torch import Tensor

from hf_ood import SPARE
from hf_ood.data import EnvironmentDataset
from hf_ood.discovery import EIIL, INFERENCES, KMeansEnvironments, RandomEnvironments, Reference
from hf_ood.discovery.eiil import eiil_penalty, maximise
from hf_ood.discovery.kmeans import kmeans
from hf_ood.methods.objectives.functional import sample_slopes


def shortcut_model(rows: int = 400, disagreeing: int = 80) -> tuple[Reference, Tensor]:
    """A model that predicts a spurious feature, which disagrees with the label for the first so many rows;
    whether it agrees, bool [N]."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (rows,), generator=generator)
    agrees = torch.arange(rows) >= disagreeing
    feature = torch.where(agrees, labels, 1 - labels)
    strength = 1 + torch.rand(rows, generator=generator)
    logits = torch.stack([-strength, strength], dim=1) * (2 * feature[:, None] - 1)
    return Reference(logits, labels, features=logits), agrees


@pytest.mark.nightly
@pytest.mark.parametrize("steps", [0, 2000])
@pytest.mark.parametrize("seed", [0, 1])
def test_eiil_finds_where_the_shortcut_holds(steps: int, seed: int) -> None:
    reference, agrees = shortcut_model()
    environments = EIIL(steps=steps, learning_rate=0.01).infer(reference, seed)
    assert environments.dtype == torch.int64
    assert torch.equal(environments == 0, agrees)


def test_eiil_penalty_is_that_of_irm_under_a_soft_assignment() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (50,), generator=generator)
    shares = torch.rand(50, generator=generator, dtype=torch.float64)
    squares = []
    for weights in (shares, 1 - shares):
        scale = torch.ones((), dtype=torch.float64, requires_grad=True)
        losses = torch.nn.functional.cross_entropy(scale * logits, labels, reduction="none")
        squares.append(torch.autograd.grad((weights * losses).mean(), scale)[0].square())
    torch.testing.assert_close(
        eiil_penalty(sample_slopes(logits, labels), shares), (squares[0] + squares[1]) / 2
    )


def test_no_assignment_is_worth_more_than_the_exact_maximum() -> None:
    reference, _ = shortcut_model(disagreeing=130)
    slopes = sample_slopes(reference.logits, reference.labels)
    best = eiil_penalty(slopes, (slopes > 0).float())
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        start = torch.randn(len(slopes), generator=generator)
        risen = eiil_penalty(slopes, maximise(slopes, start, steps=50, learning_rate=0.1).sigmoid())
        assert eiil_penalty(slopes, start.sigmoid()) < risen <= best


def test_kmeans_finds_clusters_within_classes_and_puts_the_largest_first() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (300,), generator=generator)
    rare = torch.rand(300, generator=generator) < 0.2
    centers = torch.stack([10.0 * labels, 4.0 * rare], dim=1)
    points = centers + 0.3 * torch.randn(300, 2, generator=generator)
    environments = KMeansEnvironments().infer(Reference(points, labels, features=points), seed=0)
    assert torch.equal(environments == 1, rare)


def test_kmeans_of_more_centres_than_different_points_ends() -> None:
    points = torch.tensor([[0.0], [0.0], [1.0]])
    clusters = kmeans(points, 3, torch.Generator().manual_seed(0))
    assert clusters[0] == clusters[1] != clusters[2]


def test_random_environments_are_equal_and_know_nothing_but_the_seed() -> None:
    reference, agrees = shortcut_model()
    environments = RandomEnvironments(num_environments=4).infer(reference, seed=5)
    assert environments.bincount().tolist() == [100] * 4
    assert environments[~agrees].unique().tolist() == [0, 1, 2, 3]
    assert torch.equal(environments, RandomEnvironments(num_environments=4).infer(reference, seed=5))
    assert not torch.equal(environments, RandomEnvironments(num_environments=4).infer(reference, seed=6))


@pytest.mark.parametrize("name", INFERENCES)
def test_an_inference_repeats_itself_and_stays_in_its_range(name: str) -> None:
    inference, (reference, _) = INFERENCES[name](), shortcut_model()
    if isinstance(inference, EIIL):
        inference.steps = 20
    environments = inference.infer(reference, seed=1)
    assert torch.equal(environments, inference.infer(reference, seed=1))
    assert environments.shape == (400,)
    assert environments.min() >= 0 and environments.max() < inference.number


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: EIIL(steps=-1), "eiil.steps must be 0 or more"),
        (lambda: RandomEnvironments(num_environments=1), "at least 2, not 1"),
        (lambda: KMeansEnvironments(num_environments=0), "at least 2, not 0"),
        (lambda: KMeansEnvironments().infer(Reference(torch.zeros(4, 2), torch.zeros(4).long()), 0), "give"),
        (
            lambda: KMeansEnvironments(num_environments=5).infer(
                Reference(torch.zeros(4, 2), torch.zeros(4).long(), torch.zeros(4, 1)), 0
            ),
            "class 0 has 4 samples for 5 clusters",
        ),
    ],
)
def test_what_cannot_be_inferred_says_why(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()  # type: ignore[operator]


def test_a_reference_is_the_model_in_evaluation_on_images_without_their_transform() -> None:
    def refuse(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        raise AssertionError("the transform was applied")

    data: EnvironmentDataset = make_dataset((30, 20)).with_transform(refuse)
    model = make_model().train()
    reference = Reference.of(model, data, features=True, batch_size=17)
    assert model.training and reference.features is not None
    model.eval()
    with torch.no_grad():
        logits = model(pixel_values=data.columns["pixel_values"].float() / 255).logits
    torch.testing.assert_close(reference.logits, logits, rtol=1e-4, atol=1e-5)
    head = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
    torch.testing.assert_close(head(reference.features), logits, rtol=1e-4, atol=1e-5)
    assert torch.equal(reference.wrong, logits.argmax(1) != data.labels)
    assert Reference.of(model, data).features is None


def test_a_reference_reads_texts_of_different_lengths() -> None:
    data, model = make_texts((7, 4)), make_backbone("bert", num_labels=2)
    reference = Reference.of(model, data, features=True, batch_size=4)
    model.eval()
    for row in range(len(data)):
        ids = torch.tensor([data.table[row]["input_ids"]])
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        torch.testing.assert_close(reference.logits[row], logits, rtol=1e-4, atol=1e-5)
    assert reference.features is not None
    torch.testing.assert_close(model.classifier(reference.features), reference.logits, rtol=1e-4, atol=1e-5)


def test_a_regression_is_split_by_its_slopes_and_has_no_classes() -> None:
    values, targets = torch.tensor([[1.0], [2.0], [-1.0]]), torch.tensor([0.5, 3.0, -2.0])
    reference = Reference(values, targets, features=values)
    # d/dw (w z - y)^2 = 2 z (z - y) at w = 1
    assert EIIL(steps=0).infer(reference, seed=0).tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match="a regression has none: use eiil"):
        KMeansEnvironments().infer(reference, seed=0)
    with pytest.raises(ValueError, match="none of which is a wrong class"):
        _ = reference.wrong


def test_spare_parts_a_class_by_what_an_early_model_says() -> None:
    """Of each class nine in ten have the shortcut that the model's logits follow."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    lacks = torch.rand(200, generator=generator) < 0.1
    followed = torch.where(lacks, 1 - labels, labels)
    logits = 2 * torch.nn.functional.one_hot(followed, 2) + 0.1 * torch.randn(200, 2, generator=generator)
    assert torch.equal(SPARE().infer(Reference(logits, labels), seed=3), lacks.long())
    with pytest.raises(ValueError, match=r"spare: class 0 has 1 samples for 2 clusters; lower spare\.num"):
        SPARE().infer(Reference(logits[:2], labels[:2]), seed=0)
    with pytest.raises(ValueError, match=r"spare\.num_environments must be at least 2"):
        SPARE(num_environments=1)
    with pytest.raises(ValueError, match="a regression has none: use eiil"):
        SPARE().infer(Reference(logits, labels.float()), seed=0)
