"""What the engine refuses, and what it does about a broken loss or checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_args, make_dataset, make_model
from torch import nn
from transformers.modeling_outputs import ImageClassifierOutput
from transformers.utils import logging

from hf_ood import (
    EnvironmentDataset,
    EnvironmentSampler,
    IRMTrainer,
    LeNetForImageClassification,
    OODTrainer,
    RSCTrainer,
)
from hf_ood.trainer import CorruptCheckpointError, NonFiniteLossError
from hf_ood.trainer.checkpoints import last_whole_checkpoint
from hf_ood.trainer.data_checks import check_batches, lacking_classes


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


def test_classes_that_cannot_be_learned_are_told() -> None:
    data = make_dataset((30, 30, 30), classes=2)
    assert lacking_classes(data) == []
    only = data.select(((data.environments != 1) | (data.labels == 1)).nonzero()[:, 0])
    only.label_names.append("rare")
    never, poor = lacking_classes(only)
    assert never == "No training sample belongs to 'rare': the model cannot learn it."
    assert poor.startswith("Not every class occurs in 'environment_1': ")


def test_saving_where_nothing_is_evaluated_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logging.enable_propagation()
    try:
        args = make_args(tmp_path, eval_strategy="steps", eval_steps=3, save_strategy="epoch")
    finally:
        logging.disable_propagation()
    assert args.selection == "last step"
    assert "Evaluating by steps and saving by epoch do not meet" in caplog.text


def test_evaluation_goes_by_names_and_reports_a_new_place_under_its_own(tmp_path: Path) -> None:
    data = make_dataset()
    other = EnvironmentDataset(
        data.columns["pixel_values"],
        1 - data.labels,
        data.environments,
        ["class 1", "class 0"],
        ["p", "q", "r"],
    )
    trainer = OODTrainer(
        make_model(), make_args(tmp_path, max_steps=20), train_dataset=data, eval_dataset=data
    )
    trainer.train()
    same, found = trainer.evaluate(), trainer.evaluate(other)
    for ours, theirs in zip(["p", "q", "r"], data.environment_names, strict=True):
        assert found[f"eval_{ours}_accuracy"] == same[f"eval_validation_{theirs}_accuracy"]
    assert found["eval_loss"] == pytest.approx(same["eval_validation_loss"])
    other.label_names[0] = "class 2"
    with pytest.raises(ValueError, match=r"class 2, class 0\. The training set: class 0, class 1\."):
        trainer.evaluate(other)


def test_a_network_without_the_seam_refuses_feature_transforms(
    tmp_path: Path, dataset: EnvironmentDataset
) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classifier = nn.Linear(3 * 28 * 28, 2)

        def forward(self, pixel_values: torch.Tensor) -> ImageClassifierOutput:
            return ImageClassifierOutput(logits=self.classifier(pixel_values.flatten(1)))

    with pytest.raises(
        ValueError, match=r"Plain has no layer .*--feature_layer.*; at its top there are classifier"
    ):
        RSCTrainer(Plain(), make_args(tmp_path), train_dataset=dataset)
    with pytest.raises(ValueError, match="Did you mean 'classifier'"):
        RSCTrainer(Plain(), make_args(tmp_path, feature_layer="clasifier"), train_dataset=dataset)


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


def test_a_checkpoint_of_another_objective_is_refused(tmp_path: Path) -> None:
    train_with_checkpoints(tmp_path)
    resumed = OODTrainer(make_model(), make_args(tmp_path), train_dataset=make_dataset())
    with pytest.raises(ValueError, match="trained with irm, not with erm"):
        resumed.train(resume_from_checkpoint=True)


def test_resuming_without_a_checkpoint_says_so(tmp_path: Path, dataset: EnvironmentDataset) -> None:
    with pytest.raises(ValueError, match="no whole checkpoint"):
        OODTrainer(make_model(), make_args(tmp_path), train_dataset=dataset).train(
            resume_from_checkpoint=True
        )


def test_unknown_proportions_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="environment_proportions"):
        make_args(tmp_path, environment_proportions="equl")


def test_a_metric_of_ones_own_that_never_comes_is_found_before_the_first_step(tmp_path: Path) -> None:
    trainer = OODTrainer(
        make_model(),
        make_args(
            tmp_path,
            save_strategy="epoch",
            max_steps=-1,
            num_train_epochs=1,
            metric_for_best_model="eval_validation_kappa",
            greater_is_better=True,
        ),
        train_dataset=make_dataset(),
        eval_dataset=make_dataset(seed=1),
        compute_metrics=lambda prediction: {"capa": 1.0},
    )
    with pytest.raises(ValueError, match=r"eval_validation_kappa will not be among.*eval_validation_capa"):
        trainer.train()
    assert trainer.state.global_step == 0


@pytest.mark.parametrize(
    ("sizes", "batch", "message"),
    [
        ((3, 30, 30), 10, "'environment_0' has 3 samples, fewer than its 4 of a batch of 10"),
        ((8, 8, 8), 48, "24 training samples do not fill one batch of 48"),
    ],
)
def test_batches_that_would_hold_a_sample_twice_are_refused(
    sizes: tuple[int, ...], batch: int, message: str, tmp_path: Path
) -> None:
    args = make_args(tmp_path, per_device_train_batch_size=batch)
    with pytest.raises(ValueError, match=message):
        OODTrainer(make_model(), args, train_dataset=make_dataset(sizes))


def test_an_incomplete_only_batch_has_every_sample_once_and_no_process_fills_it_up(tmp_path: Path) -> None:
    changes = {"dataloader_drop_last": False, "environment_proportions": "natural"}
    args = make_args(tmp_path, per_device_train_batch_size=48, **changes)
    data = make_dataset((8, 8, 8))
    trainer = OODTrainer(make_model(), args, train_dataset=data)
    (batch,) = list(trainer.get_train_dataloader())
    assert len(batch["labels"]) == 24
    with pytest.raises(ValueError, match="24 training samples do not fill one batch of 24 on each of 2"):
        check_batches(data, args, args, 24, processes=2)


def test_what_trains_less_than_it_says_is_told(tmp_path: Path, caplog: Any) -> None:
    logging.enable_propagation()
    try:
        OODTrainer(
            make_model(),
            make_args(tmp_path, per_device_train_batch_size=6, gradient_accumulation_steps=4),
            train_dataset=make_dataset((200, 200, 3)),
        )
        OODTrainer(
            make_model(), make_args(tmp_path, per_device_train_batch_size=2), train_dataset=make_dataset()
        )
    finally:
        logging.disable_propagation()
    assert "'environment_2' has 3 samples and fills 8 places of each step of 24" in caplog.text
    assert "each of them is drawn 45 times in an epoch" in caplog.text
    assert "A batch of 2 has no room for 3 environments" in caplog.text
