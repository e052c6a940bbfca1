"""Training classifiers of transformers: methods on features, frozen statistics, precision, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from backbones import BACKBONES, LANGUAGE, make_backbone, make_inputs
from conftest import make_args, make_dataset, make_model
from one_step import DATA, OPTIONS, gradients, make_data
from torch import Tensor, nn
from transformers import PreTrainedModel

from hf_ood import CORAL, RSC, MixStyle, OODTrainer
from hf_ood.data import collate
from hf_ood.methods.objectives import OBJECTIVES
from hf_ood.methods.updates import UPDATES
from hf_ood.models import batch_norms

ADDITIVE = [name for name, cls in OBJECTIVES.items() if cls.additive]


def collate_texts(batch: Any) -> dict[str, Tensor]:
    """Token ids of different lengths instead of images, from the first pixels of each."""
    batch = collate(batch)
    ids = 3 + (batch.pop("pixel_values")[:, 0, 0, :9] * 26).long()
    mask = (torch.arange(9) < 5 + ids[:, :1] % 5).long()
    return {"input_ids": ids * mask, "attention_mask": mask, **batch}


def make_trainer(model: nn.Module, folder: Path, text: bool = False, **options: Any) -> OODTrainer:
    options.setdefault("objective", CORAL())
    options.setdefault("feature_transform", RSC())
    args = make_args(folder, **options.pop("args", {}))
    collator = {"data_collator": collate_texts} if text else {}
    return OODTrainer(model, args, train_dataset=make_dataset(), **collator, **options)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_parameter_that_the_network_uses_moves(name: str, tmp_path: Path) -> None:
    model = make_backbone(name, num_labels=2)
    inputs = {key: value for key, value in make_inputs(name).items() if key != "labels"}
    model(**inputs).logits[:, 0].sum().backward()
    used = {key for key, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad()
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    make_trainer(model, tmp_path, name in LANGUAGE, args={"max_steps": 2}).train()
    still = {key for key, parameter in model.named_parameters() if torch.equal(parameter, before[key])}
    assert still.isdisjoint(used)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_mixstyle_acts_after_an_early_stage_that_is_named(tmp_path: Path) -> None:
    model, shapes = make_backbone("resnet", num_labels=2), set()

    class Noting(MixStyle):
        def __call__(self, features: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            shapes.add(tuple(features.shape))
            return super().__call__(features, *args, **kwargs)

    args = {"max_steps": 2, "feature_layer": "resnet.encoder.stages.0"}
    make_trainer(model, tmp_path, feature_transform=Noting(p=1.0), args=args).train()
    assert shapes == {(24, 8, 7, 7)}


@pytest.mark.parametrize("frozen", [False, True])
def test_batch_statistics_run_along_unless_they_are_frozen(frozen: bool, tmp_path: Path) -> None:
    model = make_backbone("resnet", num_labels=2)
    norms = batch_norms(model)
    means = [norm.running_mean.clone() for norm in norms]
    weights = [norm.weight.detach().clone() for norm in norms]
    make_trainer(model, tmp_path, args={"max_steps": 2, "freeze_batch_norm": frozen}).train()
    assert norms
    for norm, mean, weight in zip(norms, means, weights, strict=True):
        assert torch.equal(norm.running_mean, mean) == frozen
        assert not torch.equal(norm.weight, weight)


def test_batch_statistics_make_micro_batches_another_network_and_frozen_ones_do_not(tmp_path: Path) -> None:
    def difference(frozen: bool) -> float:
        whole, divided = (
            gradients(
                OBJECTIVES["irm"](**OPTIONS["irm"]),
                make_data(DATA["equal"]),
                *layout,
                tmp_path,
                make_backbone("resnet", num_labels=2),
                freeze_batch_norm=frozen,
            )["loss"]
            for layout in ((48, 1), (12, 4))
        )
        return abs(divided / whole - 1)

    assert difference(frozen=True) < 1e-5 < 1e-4 < difference(frozen=False)


NEAR_ROUNDING = {"rdm": {"penalty_weight": 3.0}}  # kernels as narrow as bfloat16's digits


@pytest.mark.slow
@pytest.mark.parametrize("name", ADDITIVE)
def test_activation_checkpointing_changes_no_gradient_and_bfloat16_little(name: str, tmp_path: Path) -> None:
    plain, checkpointed, rounded = (
        gradients(
            OBJECTIVES[name](**OPTIONS.get(name, {}) | NEAR_ROUNDING.get(name, {})),
            make_data(DATA["equal"]),
            24,
            2,
            tmp_path,
            make_backbone("vit", num_labels=2),
            RSC(mask="channel", restoration="none"),
            **options,
        )
        for options in ({}, {"activation_checkpointing": True}, {"bf16": True})
    )
    for key, gradient in plain["gradients"].items():
        torch.testing.assert_close(checkpointed["gradients"][key], gradient)
    assert not torch.is_autocast_enabled("cpu")
    assert rounded["loss"] == pytest.approx(plain["loss"], rel=0.1)
    flat, near = (
        torch.cat([part.flatten() for part in step["gradients"].values()]) for step in (plain, rounded)
    )
    assert torch.nn.functional.cosine_similarity(flat, near, dim=0) > 0.9


def test_a_compiled_network_refuses_what_it_would_pass_over_or_fail_at(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rsc acts through hooks"):
        make_trainer(make_backbone("vit", num_labels=2), tmp_path, args={"torch_compile": True})
    args = make_args(tmp_path, torch_compile=True)
    with pytest.raises(ValueError, match="iga differentiates gradients"):
        OODTrainer(make_model(), args, update=UPDATES["iga"](), train_dataset=make_dataset())


def logits(model: PreTrainedModel) -> Tensor:
    with torch.no_grad():
        return model.eval()(pixel_values=make_inputs("vit")["pixel_values"]).logits


def test_the_best_checkpoint_is_loaded_though_its_weights_have_other_names(tmp_path: Path) -> None:
    """transformers saves a ViT under the names of its first release; `Trainer` looks for those of today."""
    model = make_backbone("vit", num_labels=2)
    trainer = make_trainer(
        model,
        tmp_path,
        args={
            "max_steps": 4,
            "eval_strategy": "steps",
            "eval_steps": 1,
            "save_strategy": "steps",
            "save_steps": 1,
            "learning_rate": 0.1,
            "metric_for_best_model": "eval_validation_loss",
            "greater_is_better": False,
        },
        eval_dataset=make_dataset(),
    )
    trainer.train()
    best = Path(str(trainer.state.best_model_checkpoint))
    assert best.name != "checkpoint-4"
    torch.testing.assert_close(logits(model), logits(type(model).from_pretrained(best)))


def test_a_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path: Path) -> None:
    whole, parts, resumed = (make_backbone("vit", num_labels=2) for _ in range(3))
    make_trainer(whole, tmp_path / "whole").train()
    make_trainer(parts, tmp_path / "parts", args={"save_strategy": "steps", "save_steps": 2}).train()
    make_trainer(resumed, tmp_path / "parts").train(
        resume_from_checkpoint=str(tmp_path / "parts" / "checkpoint-2")
    )
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
