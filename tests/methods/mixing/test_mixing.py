"""Who is mixed with whom, what comes of it, and what the trainer makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_args, make_dataset, make_model
from torch import Tensor, nn
from transformers import set_seed

from hf_ood import ERM, RSC, OODTrainer
from hf_ood.data import EnvironmentDataset, linear_unit_test_tensors
from hf_ood.methods.mixing import LISA, MIXINGS, Mixing, Mixup
from hf_ood.methods.objectives import Outputs, Sums
from hf_ood.methods.objectives.functional import sample_losses
from hf_ood.models.linear import LinearConfig, LinearForImageClassification
from hf_ood.trainer.data_checks import check_mixing

ENVIRONMENTS = torch.tensor([0, 2, 2, 0, 5, 2, 5, 0, 2, 2])  # ragged; 1, 3 and 4 are absent
LABELS = torch.tensor([0, 1, 0, 1, 0, 2, 1, 0, 1, 0])


def batch(environments: Tensor = ENVIRONMENTS, labels: Tensor = LABELS) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(len(labels), 3, 4, 4, generator=generator, dtype=torch.float64)
    return {"pixel_values": images, "labels": labels, "environment": environments}


@pytest.mark.parametrize("mixing", [Mixup(), LISA(p_sel=0.0), LISA(p_sel=1.0)])
def test_a_mixture_is_the_weighted_mean_of_two_samples(mixing: Mixing) -> None:
    given = batch()
    torch.manual_seed(3)
    partners, shares = mixing.pairs(given["labels"], given["environment"])
    torch.manual_seed(3)
    mixed = mixing(given, classes=4)
    assert torch.equal(mixed["environment"], ENVIRONMENTS)  # that of its first part
    assert torch.equal(given["labels"], LABELS)  # what was given is left as it was
    for i, (j, share) in enumerate(zip(partners.tolist(), shares.tolist(), strict=True)):
        images = given["pixel_values"]
        torch.testing.assert_close(mixed["pixel_values"][i], share * images[i] + (1 - share) * images[j])
        expected = torch.zeros(4)
        expected[LABELS[i]] += share
        expected[LABELS[j]] += 1 - share
        torch.testing.assert_close(mixed["labels"][i], expected)
    torch.testing.assert_close(mixed["labels"].sum(1), torch.ones(len(LABELS)))


def test_mixup_pairs_each_environment_with_one_other_in_a_ring() -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        partners, shares = Mixup().pairs(LABELS, ENVIRONMENTS)
        following = {}
        for environment in (0, 2, 5):
            own = environment == ENVIRONMENTS
            (following[environment],) = ENVIRONMENTS[partners[own]].unique().tolist()
            assert len(shares[own].unique()) == 1
            # No partner serves twice before all of its environment have served.
            there = int((following[environment] == ENVIRONMENTS).sum())
            assert len(partners[own].unique()) == min(int(own.sum()), there)
        assert sorted(following.values()) == [0, 2, 5]
        assert all(one != other for one, other in following.items())


def test_an_environment_that_is_alone_mixes_with_itself() -> None:
    partners, _ = Mixup().pairs(LABELS, torch.full_like(LABELS, 3))
    assert sorted(partners.tolist()) == list(range(len(LABELS)))


@pytest.mark.parametrize("p_sel", [0.0, 1.0])
def test_lisa_mixes_one_label_over_environments_or_labels_in_one_environment(p_sel: float) -> None:
    found = set()
    for seed in range(60):
        torch.manual_seed(seed)
        partners, _ = LISA(p_sel=p_sel).pairs(LABELS, ENVIRONMENTS)
        found |= set(enumerate(partners.tolist()))
    expected = set()
    for i in range(len(LABELS)):
        same_label, same_environment = LABELS[i] == LABELS, ENVIRONMENTS[i] == ENVIRONMENTS
        fitting = same_label & ~same_environment if p_sel == 1 else same_environment & ~same_label
        expected |= {(i, j) for j in fitting.nonzero().flatten().tolist()} or {(i, i)}
    assert found == expected  # all that fit, and nothing else; nothing fits label 2 in other environments


@pytest.mark.parametrize("name", MIXINGS)
def test_shares_follow_the_beta_distribution(name: str) -> None:
    torch.manual_seed(0)
    mixing = MIXINGS[name]()
    shares = mixing.beta(20_000, torch.device("cpu"))
    assert shares.mean().item() == pytest.approx(0.5, abs=0.02)
    assert shares.var().item() == pytest.approx(1 / (4 * (2 * mixing.alpha + 1)), rel=0.03)


def test_wrong_options_are_named() -> None:
    with pytest.raises(ValueError, match=r"mixup\.alpha must be positive"):
        Mixup(alpha=0)
    with pytest.raises(ValueError, match=r"lisa\.p_sel must lie in 0\.\.1"):
        LISA(p_sel=2)


class Witness(ERM):
    """ERM that keeps the labels it sees."""

    seen: list[Tensor]

    def sums(self, outputs: Outputs) -> Sums:
        self.seen.append(outputs.labels)
        return super().sums(outputs)


def train(folder: Path, mixing: Mixing, **options: Any) -> tuple[OODTrainer, list[Tensor]]:
    objective = Witness()
    objective.seen = []
    trainer = OODTrainer(
        make_model(),
        make_args(folder),
        objective=objective,
        mixing=mixing,
        train_dataset=make_dataset(),
        **options,
    )
    trainer.train()
    return trainer, trainer.objective.seen


def test_the_same_seed_mixes_alike(tmp_path: Path) -> None:
    _, first = train(tmp_path, Mixup())
    _, second = train(tmp_path, Mixup())
    _, other = train(tmp_path, Mixup(alpha=5.0))
    assert all(torch.equal(*labels) for labels in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == (24, 2)


def test_both_passes_of_accumulation_see_one_mixture(tmp_path: Path) -> None:
    objective = Witness()
    objective.seen, objective.linear = [], False  # type: ignore[misc]
    args = make_args(tmp_path, gradient_accumulation_steps=2, per_device_train_batch_size=12, max_steps=1)
    trainer = OODTrainer(make_model(), args, objective=objective, mixing=LISA(), train_dataset=make_dataset())
    trainer.train()
    in_advance, training = trainer.objective.seen[:2], trainer.objective.seen[2:]
    assert len(training) == 2
    assert all(torch.equal(*labels) for labels in zip(in_advance, training, strict=True))
    assert not torch.equal(*training)


def test_a_mixed_step_has_the_gradient_of_plain_pytorch(tmp_path: Path) -> None:
    """Mixup as DomainBed writes it: the two labels' cross-entropies, weighted; equal environments."""
    data = make_dataset((12, 12))
    args = make_args(tmp_path, max_steps=1, optim="sgd", learning_rate=0.1)
    trainer = OODTrainer(make_model(), args, mixing=Fixed(), train_dataset=data)
    trainer.train()
    model = make_model()
    order = torch.tensor(list(trainer._get_train_sampler()))
    images, labels = data.columns["pixel_values"][order].float() / 255, data.labels[order]
    logits = model(0.3 * images + 0.7 * images.flip(0)).logits
    loss = 0.3 * nn.functional.cross_entropy(logits, labels)
    (loss + 0.7 * nn.functional.cross_entropy(logits, labels.flip(0))).backward()
    for ours, theirs in zip(trainer.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs - 0.1 * theirs.grad, rtol=1e-4, atol=1e-6)
    expected = logits.argmax(1) == labels.flip(0)  # 0.7 is the larger share
    assert trainer.state.log_history[0]["accuracy"] == pytest.approx(expected.float().mean().item())
    assert trainer.state.log_history[0]["cross_entropy"] == pytest.approx(
        sample_losses(logits, 0.3 * one_hot(labels) + 0.7 * one_hot(labels.flip(0))).mean().item(), rel=1e-4
    )


def test_a_mixed_regression_has_the_gradient_of_the_error_at_the_mixed_target(tmp_path: Path) -> None:
    """Two environments of 24 samples: the mean over them of the squared errors, and its gradient by hand."""
    data = linear_unit_test_tensors("example_1", samples=24, environments=2)["train"]
    model = make_linear(data)
    weights = model.representation.weight.detach().clone().double()
    args = make_args(tmp_path, per_device_train_batch_size=48, max_steps=1, optim="sgd", learning_rate=0.01)
    trainer = OODTrainer(model, args, mixing=Fixed(), train_dataset=data)
    trainer.train()
    order = torch.tensor(list(trainer._get_train_sampler()))
    vectors, targets = data.columns["inputs"][order].double(), data.labels[order].double()
    vectors, targets = (0.3 * part + 0.7 * part.flip(0) for part in (vectors, targets))
    errors = (vectors @ weights.T)[:, 0] - targets
    gradient = 2 * (errors[:, None] * vectors).mean(0, keepdim=True)
    torch.testing.assert_close(model.representation.weight.double(), weights - 0.01 * gradient)
    log = trainer.state.log_history[0]
    assert log["squared_error"] == pytest.approx(errors.square().mean().item()) == log["loss"]


def make_linear(data: EnvironmentDataset) -> LinearForImageClassification:
    set_seed(0)
    features = data.columns["inputs"].shape[1]
    return LinearForImageClassification(LinearConfig(num_features=features, num_labels=1))


class Fixed(Mixing):
    """Three parts of a sample and seven of its mirror image in the batch."""

    name = "fixed"

    def pairs(self, labels: Tensor, environments: Tensor) -> tuple[Tensor, Tensor]:
        return torch.arange(len(labels)).flip(0), torch.full((len(labels),), 0.3)


def one_hot(labels: Tensor) -> Tensor:
    return nn.functional.one_hot(labels, 2).float()


def test_a_feature_transform_sees_the_class_of_the_larger_share(tmp_path: Path) -> None:
    seen: list[Tensor | None] = []

    class Noting(RSC):
        def __call__(self, features: Tensor, head: Any, labels: Tensor | None) -> Tensor:
            seen.append(labels)
            return super().__call__(features, head, labels)

    _, mixed = train(tmp_path, LISA(p_sel=0.0), feature_transform=Noting())
    for labels, shares in zip(seen, mixed, strict=True):
        assert labels is not None and torch.equal(labels, shares.argmax(1))


def test_evaluation_is_of_the_samples_themselves(tmp_path: Path) -> None:
    trainer, seen = train(tmp_path, Mixup(), eval_dataset=make_dataset(seed=1))
    before = len(seen)
    first, second = trainer.evaluate(), trainer.evaluate()
    assert first["eval_validation_loss"] == second["eval_validation_loss"]
    assert len(seen) == before


def test_what_cannot_be_mixed_is_refused_before_training(tmp_path: Path) -> None:
    class OneClass(ERM):
        name = "one_class"
        needs_classes = True

    with pytest.raises(ValueError, match="one_class compares samples of one class, but mixup"):
        OODTrainer(
            make_model(),
            make_args(tmp_path),
            objective=OneClass(),
            mixing=Mixup(),
            train_dataset=make_dataset(),
        )
    with pytest.raises(
        ValueError, match="lisa mixes environments: it needs at least 2, the training set has 1"
    ):
        OODTrainer(make_model(), make_args(tmp_path), mixing=LISA(), train_dataset=make_dataset((30,)))
    targets = linear_unit_test_tensors("example_1", samples=24)["train"]
    for options, message in (
        ({"mixing": LISA()}, "lisa pairs samples by their classes, and a regression has none: use mixup"),
        ({"objective": OneClass()}, "one_class compares samples of one class, and a regression has none"),
    ):
        with pytest.raises(ValueError, match=message):
            OODTrainer(make_linear(targets), make_args(tmp_path), train_dataset=targets, **options)
    texts = make_dataset()
    texts.columns["input_ids"] = texts.columns.pop("pixel_values")
    with pytest.raises(ValueError, match="nothing between two tokens"):
        check_mixing(Mixup(), ERM(), texts)
