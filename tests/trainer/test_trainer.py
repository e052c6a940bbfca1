"""The engine's seams and its named trainers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_args, make_dataset, make_model
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as PILImage
from torch import Tensor, nn

from hf_ood import (
    ERM,
    IRM,
    RSC,
    EnvironmentDataset,
    GroupDRO,
    IRMRSCTrainer,
    IRMTrainer,
    LeNetForImageClassification,
    OODTrainer,
    RSCTrainer,
    VREx,
)
from hf_ood.data import collate
from hf_ood.methods.losses import CrossEntropy
from hf_ood.methods.registry import build_method


def test_named_trainers_are_the_engine_with_their_method(tmp_path: Path, dataset: EnvironmentDataset) -> None:
    for trainer_class, objective, transform in (
        (OODTrainer, ERM, type(None)),
        (IRMTrainer, IRM, type(None)),
        (RSCTrainer, ERM, RSC),
        (IRMRSCTrainer, IRM, RSC),
    ):
        trainer = trainer_class(make_model(), make_args(tmp_path), train_dataset=dataset)
        assert type(trainer.objective) is objective
        assert type(trainer.feature_transform) is transform
        trainer.train()


def test_named_and_general_trainer_train_alike(tmp_path: Path, dataset: EnvironmentDataset) -> None:
    named = IRMRSCTrainer(
        make_model(),
        make_args(tmp_path),
        objective=IRM(10.0, 2),
        feature_transform=RSC(0.5),
        train_dataset=dataset,
    )
    named.train()
    general = OODTrainer(
        make_model(),
        make_args(tmp_path),
        objective=IRM(10.0, 2),
        feature_transform=RSC(0.5),
        train_dataset=dataset,
    )
    general.train()
    for ours, theirs in zip(named.model.parameters(), general.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_named_trainer_refuses_another_method(tmp_path: Path, dataset: EnvironmentDataset) -> None:
    with pytest.raises(TypeError, match="IRMTrainer takes IRM, not VREx"):
        IRMTrainer(make_model(), make_args(tmp_path), objective=VREx(), train_dataset=dataset)


def test_erm_gradient_is_that_of_plain_pytorch(tmp_path: Path) -> None:
    data = make_dataset((24, 24))
    trainer = OODTrainer(
        make_model(),
        make_args(tmp_path, max_steps=3, per_device_train_batch_size=48, optim="sgd", learning_rate=0.1),
        train_dataset=data,
    )
    trainer.train()
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(
            model(data.columns["pixel_values"].float() / 255).logits, data.labels
        ).backward()
        optimizer.step()
    for ours, theirs in zip(trainer.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_evaluation_never_masks_and_reports_each_environment(
    tmp_path: Path, dataset: EnvironmentDataset
) -> None:
    class Exploding(RSC):
        def __call__(self, features: Tensor, head: Any, labels: Tensor | None) -> Tensor:
            raise AssertionError("a feature transform ran in evaluation")

    trainer = OODTrainer(
        make_model(),
        make_args(tmp_path),
        feature_transform=Exploding(),
        train_dataset=dataset,
        eval_dataset=dataset,
    )
    metrics = trainer.evaluate()
    with torch.no_grad():
        logits = make_model().eval()(dataset.columns["pixel_values"].float() / 255).logits
    correct = (logits.argmax(1) == dataset.labels).float()
    for number in range(3):
        expected = correct[dataset.environments == number].mean().item()
        assert metrics[f"eval_validation_environment_{number}_accuracy"] == pytest.approx(expected)
    assert metrics["eval_validation_loss"] == pytest.approx(
        nn.functional.cross_entropy(logits, dataset.labels).item(), rel=1e-4
    )


def test_the_best_validation_checkpoint_is_loaded_at_the_end(tmp_path: Path) -> None:
    trainer = OODTrainer(
        make_model(),
        make_args(tmp_path, max_steps=-1, num_train_epochs=3, save_strategy="epoch"),
        train_dataset=make_dataset(),
        eval_dataset={"validation": make_dataset(seed=1), "test": make_dataset(seed=2)},
    )
    trainer.train()
    assert trainer.args.selection == "best validation mean accuracy over evaluations"
    chosen = LeNetForImageClassification.from_pretrained(trainer.state.best_model_checkpoint)
    for ours, theirs in zip(trainer.model.parameters(), chosen.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_network_that_gives_more_than_logits_is_measured_by_its_logits(
    tmp_path: Path, dataset: EnvironmentDataset
) -> None:
    model = make_model()
    trainer = OODTrainer(model, make_args(tmp_path), train_dataset=dataset)
    expected = trainer.predict(dataset).predictions
    model.register_forward_pre_hook(
        lambda _, args, kwargs: (args, {**kwargs, "output_hidden_states": True}), with_kwargs=True
    )
    torch.testing.assert_close(trainer.predict(dataset).predictions, expected)


def test_choosing_by_a_test_metric_is_called_an_oracle(tmp_path: Path) -> None:
    args = make_args(tmp_path, save_strategy="epoch", metric_for_best_model="eval_test_worst_accuracy")
    assert args.selection.startswith("oracle: ")
    assert make_args(tmp_path).selection == "last step"


@pytest.mark.parametrize("options", [{"label_smoothing": 0.3}, {"class_weights": "balanced"}])
def test_the_loss_of_samples_is_prepared_on_the_training_labels(
    options: dict, tmp_path: Path, dataset: EnvironmentDataset
) -> None:
    loss, model = CrossEntropy(**options), make_model()
    args = make_args(tmp_path, max_steps=1, per_device_train_batch_size=len(dataset))
    batch = collate(dataset.__getitems__(range(len(dataset))))
    logits = model.train()(batch["pixel_values"]).logits
    expected = loss.prepare(dataset.labels, 2)(logits, dataset.labels).mean()
    trainer = OODTrainer(model, args, loss=loss, train_dataset=dataset)
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected.item(), rel=1e-4)
    assert loss == CrossEntropy(**options) and loss.factors is None


def test_every_training_begins_anew(tmp_path: Path, dataset: EnvironmentDataset) -> None:
    found = []

    class Noting(GroupDRO):
        def start(self, total_steps: int) -> None:
            found.append((total_steps, self.weights is None))
            super().start(total_steps)
            assert self.weights is None

    trainer = OODTrainer(make_model(), make_args(tmp_path), objective=Noting(), train_dataset=dataset)
    for _ in range(2):
        trainer.train()
    assert found == [(trainer.state.max_steps, True), (trainer.state.max_steps, False)]
    late = OODTrainer(make_model(), make_args(tmp_path), objective=IRM(0.0, 1.0, 900), train_dataset=dataset)
    with pytest.raises(ValueError, match=r"irm\.warmup_steps is 900 steps, and the training has"):
        late.train()


def test_training_logs_hold_the_parts_and_every_environment(
    tmp_path: Path, dataset: EnvironmentDataset
) -> None:
    warming_up = IRM(warmup_steps=2)
    trainer = IRMTrainer(make_model(), make_args(tmp_path), objective=warming_up, train_dataset=dataset)
    trainer.train()
    entry = trainer.state.log_history[0]
    assert entry["loss"] == pytest.approx(entry["risk"] + entry["irm_penalty"], rel=1e-4)
    assert entry["risk"] == pytest.approx(entry["cross_entropy"], rel=1e-4)
    assert {f"accuracy_environment_{number}" for number in range(3)} <= set(entry)


def test_the_optimizer_is_reset_in_place_when_the_warmup_ends(
    tmp_path: Path, dataset: EnvironmentDataset
) -> None:
    trainer = IRMTrainer(
        make_model(),
        make_args(tmp_path, max_steps=5),
        objective=IRM(warmup_steps=3, reset_optimizer=True),
        train_dataset=dataset,
    )
    trainer.train()
    steps = {int(state["step"]) for state in trainer.optimizer.state.values()}
    assert steps == {2}  # of five steps, two since the reset


def test_rsc_progress_follows_the_training(tmp_path: Path, dataset: EnvironmentDataset) -> None:
    progress = []

    class Noting(RSC):
        def __call__(self, features: Tensor, head: Any, labels: Tensor | None) -> Tensor:
            progress.append(self.progress)
            return super().__call__(features, head, labels)

    OODTrainer(make_model(), make_args(tmp_path), feature_transform=Noting(), train_dataset=dataset).train()
    assert progress == [0.0, 0.25, 0.5, 0.75]


def test_a_hugging_face_dataset_is_taken_as_it_is(tmp_path: Path) -> None:
    features = Features(
        {"image": Image(), "label": ClassLabel(names=["a", "b"]), "environment": ClassLabel(names=["x", "y"])}
    )
    rows = {
        "image": [PILImage.new("RGB", (28, 28), (number, 0, 0)) for number in range(30)],
        "label": [number % 2 for number in range(30)],
        "environment": [number // 15 for number in range(30)],
    }
    data = Dataset.from_dict(rows, features=features)
    IRMTrainer(make_model(), make_args(tmp_path, per_device_train_batch_size=10), train_dataset=data).train()
    with pytest.raises(ValueError, match="no column 'environment'; its columns are image, label"):
        OODTrainer(make_model(), make_args(tmp_path), train_dataset=data.remove_columns("environment"))


def test_methods_are_built_by_name() -> None:
    method = build_method("rsc+irm", {"irm": {"penalty_weight": 3.0}, "rsc": {"drop_rate": 0.2}})
    assert method.name == "irm+rsc"
    assert method.hyperparameters()["irm"]["penalty_weight"] == 3.0
    assert method.hyperparameters()["rsc"]["drop_rate"] == 0.2
    assert build_method("rsc").name == "rsc"
    assert isinstance(build_method("rsc").objective, ERM)
    for wrong, message in (
        ("irn", "Did you mean 'irm'"),
        ("irm+vrex", "both act as objective"),
    ):
        with pytest.raises(ValueError, match=message):
            build_method(wrong)
    with pytest.raises(ValueError, match="Did you mean 'drop_rate'"):
        build_method("rsc", {"rsc": {"droprate": 1}})
