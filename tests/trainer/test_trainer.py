"""The engine's seams, its named trainers, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_dataset
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as PILImage
from torch import Tensor, nn
from transformers import set_seed

from hf_ood import (
    ERM,
    IRM,
    RSC,
    EnvironmentDataset,
    EnvironmentSampler,
    IRMRSCTrainer,
    IRMTrainer,
    LeNetConfig,
    LeNetForImageClassification,
    OODConfig,
    OODTrainer,
    RSCTrainer,
    VREx,
)
from hf_ood.trainer import CorruptCheckpointError, NonFiniteLossError
from hf_ood.trainer.checkpoints import last_whole_checkpoint
from hf_ood.trainer.methods import build_method


def make_args(folder: Path, **changes: Any) -> OODConfig:
    defaults: dict[str, Any] = {
        "per_device_train_batch_size": 24,
        "max_steps": 4,
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    return OODConfig(output_dir=str(folder), **{**defaults, **changes})


def make_model(**options: Any) -> LeNetForImageClassification:
    set_seed(0)
    return LeNetForImageClassification(LeNetConfig(**options))


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


def test_choosing_by_a_test_metric_is_called_an_oracle(tmp_path: Path) -> None:
    args = make_args(tmp_path, save_strategy="epoch", metric_for_best_model="eval_test_worst_accuracy")
    assert args.selection.startswith("oracle: ")
    assert make_args(tmp_path).selection == "last step"


def test_training_logs_hold_the_parts_and_every_environment(
    tmp_path: Path, dataset: EnvironmentDataset
) -> None:
    trainer = IRMTrainer(make_model(), make_args(tmp_path), train_dataset=dataset)
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


def test_a_method_that_compares_environments_needs_two(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"at least 2, the training set has 1 \(environment_0\)"):
        IRMTrainer(make_model(), make_args(tmp_path), train_dataset=make_dataset((60,)))


def test_labels_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Labels reach 4, .* num_labels=5"):
        OODTrainer(make_model(), make_args(tmp_path), train_dataset=make_dataset(classes=5))


def test_an_environment_smaller_than_its_part_of_a_batch_is_refused(tmp_path: Path) -> None:
    data = make_dataset((60, 3))
    with pytest.raises(ValueError, match="'environment_1' has 3 samples, fewer than its 12"):
        OODTrainer(make_model(), make_args(tmp_path), train_dataset=data)
    for allowed in ({"environment_proportions": "natural"}, {"sample_with_replacement": True}):
        OODTrainer(make_model(), make_args(tmp_path, **allowed), train_dataset=data).train()


def test_fewer_samples_than_one_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not fill one batch of 24"):
        OODTrainer(make_model(), make_args(tmp_path), train_dataset=make_dataset((5, 6)))


def test_splits_with_different_environment_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name their environments differently"):
        OODTrainer(
            make_model(),
            make_args(tmp_path),
            train_dataset=make_dataset(),
            eval_dataset=make_dataset((60, 60)),
        )


def test_a_network_without_the_seam_refuses_feature_transforms(
    tmp_path: Path, dataset: EnvironmentDataset
) -> None:
    class Plain(nn.Module):
        def forward(self, pixel_values: Tensor, labels: Tensor) -> Tensor:
            return pixel_values

    with pytest.raises(ValueError, match="takes no `feature_transform`"):
        RSCTrainer(Plain(), make_args(tmp_path), train_dataset=dataset)


@pytest.mark.parametrize("broken", ["environment_1", "environment_2"])
def test_a_loss_that_is_not_finite_stops_and_names_the_environment(broken: str, tmp_path: Path) -> None:
    data = make_dataset((96, 96, 96), floats=True)
    environment = data.environment_names.index(broken)
    order = EnvironmentSampler(data.environments, seed=42)
    late = [index for index in order if data.environments[index] == environment][-5]
    data.columns["pixel_values"][late] = torch.inf
    trainer = OODTrainer(
        make_model(),
        make_args(
            tmp_path,
            max_steps=12,
            logging_steps=100,
            save_strategy="steps",
            save_steps=1,
            save_total_limit=None,
        ),
        train_dataset=data,
    )
    with pytest.raises(NonFiniteLossError, match=f"first in environment {broken}.*--resume_from_checkpoint"):
        trainer.train()
    kept = last_whole_checkpoint(tmp_path)
    assert kept is not None
    good = LeNetForImageClassification.from_pretrained(kept)
    assert all(parameter.isfinite().all() for parameter in good.parameters())


def train_with_checkpoints(folder: Path) -> OODTrainer:
    trainer = IRMTrainer(
        make_model(),
        make_args(folder, save_strategy="steps", save_steps=2, save_total_limit=None),
        train_dataset=make_dataset(),
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize(
    "file", ["model.safetensors", "optimizer.pt", "trainer_state.json", "objective.safetensors"]
)
def test_a_file_cut_in_half_is_named_and_the_earlier_checkpoint_taken(file: str, tmp_path: Path) -> None:
    whole = train_with_checkpoints(tmp_path)
    damaged = tmp_path / "checkpoint-4" / file
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    resumed = IRMTrainer(make_model(), make_args(tmp_path), train_dataset=make_dataset())
    with pytest.raises(CorruptCheckpointError, match=str(damaged)):
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    resumed.train(resume_from_checkpoint=True)
    for ours, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_resuming_without_a_checkpoint_says_so(tmp_path: Path, dataset: EnvironmentDataset) -> None:
    with pytest.raises(ValueError, match="no whole checkpoint"):
        OODTrainer(make_model(), make_args(tmp_path), train_dataset=dataset).train(
            resume_from_checkpoint=True
        )


def test_unused_columns_must_stay(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="environment column"):
        make_args(tmp_path, remove_unused_columns=True)
    with pytest.raises(ValueError, match="environment_proportions"):
        make_args(tmp_path, environment_proportions="equl")


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
