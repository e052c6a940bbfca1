"""The linear model: a learned representation below the classifier w = 1."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from hf_ood import IRM, LinearConfig, LinearForImageClassification, OODConfig, OODTrainer
from hf_ood.data import linear_unit_test_tensors

VECTORS = torch.randn(8, 10, generator=torch.Generator().manual_seed(1))


def make(labels: int = 2) -> LinearForImageClassification:
    torch.manual_seed(0)
    return LinearForImageClassification(LinearConfig(num_features=10, num_labels=labels))


def test_logits_are_the_representation_and_features_too() -> None:
    model = make()
    layer = model.representation
    assert torch.equal(model(VECTORS).logits, VECTORS @ layer.weight.T + layer.bias)
    assert torch.equal(model.forward_features(VECTORS), model(VECTORS).logits)
    doubled = model(VECTORS, feature_transform=lambda features, head, labels: 2 * features).logits
    assert torch.equal(doubled, 2 * model(VECTORS).logits)
    assert [name for name, _ in model.named_parameters()] == ["representation.weight", "representation.bias"]


def test_images_are_vectors_too() -> None:
    images = torch.rand(4, 3, 28, 28)
    model = LinearForImageClassification(LinearConfig())
    assert torch.equal(model(images).logits, model(images.flatten(1)).logits)


def test_loss_of_classes_and_of_targets() -> None:
    labels, targets = torch.arange(8) % 2, torch.randn(8)
    model = make()
    assert torch.equal(model(VECTORS, labels=labels).loss, F.cross_entropy(model(VECTORS).logits, labels))
    model = make(labels=1)
    expected = (model(VECTORS).logits[:, 0] - targets).square().mean()
    torch.testing.assert_close(model(VECTORS, labels=targets).loss, expected)


def test_saved_and_loaded_gives_the_same_bits(tmp_path: Path) -> None:
    model = make().eval()
    model.save_pretrained(tmp_path)
    loaded = LinearForImageClassification.from_pretrained(tmp_path)
    assert torch.equal(loaded(VECTORS).logits, model(VECTORS).logits)
    assert torch.equal(loaded.classifier.weight, torch.eye(2)) and not loaded.classifier.weight.requires_grad
    assert len(list(loaded.parameters())) == 2


def test_a_regression_trains_in_micro_batches_as_in_one(tmp_path: Path) -> None:
    """IRM on squared errors: the same weights whatever the division, and the classifier stays 1."""
    found = []
    for batch, accumulation in ((48, 1), (12, 4)):
        model = make(labels=1)
        arguments = OODConfig(
            output_dir=str(tmp_path / str(batch)),
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
            max_steps=3,
            optim="sgd",
            learning_rate=0.01,
            logging_steps=1,
            eval_strategy="no",
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
        )
        data = linear_unit_test_tensors("example_1", samples=48)["train"]
        trainer = OODTrainer(
            model, arguments, objective=IRM(penalty_weight=5.0, warmup_steps=0), train_dataset=data
        )
        trainer.train()
        log = trainer.state.log_history[0]
        assert log["squared_error"] == log["risk"] or abs(log["squared_error"] / log["risk"] - 1) < 1e-4
        assert not any("accuracy" in name for name in log)
        assert model.classifier.weight.item() == 1
        found.append(model.representation.weight.detach().clone())
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)
