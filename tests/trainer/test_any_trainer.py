"""What users bring trains over environments: the shapes of transformers' own examples, and a trainer with a
loss of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import own_trainers
import pytest
import torch
import torch.nn.functional as F
from datasets import DatasetDict
from documents import run_block
from own_trainers import (
    COUNTS,
    IRM_OPTIONS,
    PLACES,
    TRAINERS,
    WEIGHTS,
    WeightedTrainer,
    WithoutHook,
    assert_same_step,
    first_step,
    image_data,
    text_data,
    text_trainer,
    to_pixels,
)
from tiny_models import save_image_model, save_text_model
from transformers import AutoTokenizer, BertForSequenceClassification, Trainer, ViTForImageClassification

from hf_ood import ERM, EnvironmentTrainer

EXAMPLES = ["text", "images"]


def make(name: str, folder: Path, **options: Any) -> Trainer:
    save, trainer = TRAINERS[name]
    save(folder)
    return trainer(folder, **options)


@pytest.mark.parametrize("name", TRAINERS)
def test_every_batch_has_the_environments_of_the_string_column_in_equal_parts(
    name: str, tmp_path: Path
) -> None:
    trainer = make(name, tmp_path, num_train_epochs=2, max_steps=-1)
    assert trainer.environment_names == list(PLACES)
    trainer.train()
    assert trainer.objective.seen == [[4, 4, 4]] * (2 * sum(COUNTS) // 12)


@pytest.mark.parametrize("layout", [(6, 2), (3, 4)])
@pytest.mark.parametrize("name", TRAINERS)
def test_a_step_in_micro_batches_has_the_gradient_of_the_whole(
    name: str, layout: tuple[int, int], tmp_path: Path
) -> None:
    batch, accumulation = layout
    divided = first_step(make(name, tmp_path, batch=batch, accumulation=accumulation))
    assert_same_step(divided, first_step(make(name, tmp_path)))


@pytest.mark.parametrize("name", TRAINERS)
def test_the_law_is_tested_where_the_method_matters(name: str, tmp_path: Path) -> None:
    irm, erm = (first_step(make(name, tmp_path, objective=objective)) for objective in (None, ERM()))
    one, other = (torch.cat([g.flatten() for g in step["gradients"].values()]) for step in (irm, erm))
    assert torch.cosine_similarity(one, other, dim=0) < 0.98


@pytest.mark.nightly
def test_and_so_it_has_on_two_processes(tmp_path: Path) -> None:
    whole = {}
    for name in TRAINERS:
        (tmp_path / name).mkdir()
        whole[name] = first_step(make(name, tmp_path / name))
    launcher = "-m torch.distributed.run --standalone --local-addr 127.0.0.1 --nproc_per_node 2".split()
    done = subprocess.run(
        [sys.executable, *launcher, own_trainers.__file__, str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,  # seconds, on a machine that is busy with other things
    )
    assert done.returncode == 0, done.stderr
    for (name, _), step in torch.load(tmp_path / "two.pt").items():
        assert_same_step(step, whole[name])


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_tutorials_metric_is_that_of_the_predictions(name: str, tmp_path: Path) -> None:
    """Beside the library's own, of each environment by its name."""
    trainer = make(name, tmp_path, max_steps=8, learning_rate=3e-3)
    trainer.train()
    data = trainer.eval_dataset["validation"]
    found = trainer.predict(data)
    labels = np.array(data.with_format(None)["label"])
    assert np.array_equal(found.label_ids, labels)
    hits = found.predictions.argmax(-1) == labels
    metrics = trainer.evaluate()
    assert 0 < hits.mean() < 1
    assert metrics["eval_validation_hit_rate"] == metrics["eval_validation_accuracy"] == hits.mean()
    where = np.array(data.with_format(None)["environment"])
    for place in PLACES:
        assert metrics[f"eval_validation_{place}_accuracy"] == pytest.approx(hits[where == place].mean())


def test_a_loss_that_is_only_known_as_a_mean_is_refused_with_the_way_out(tmp_path: Path) -> None:
    save_text_model(tmp_path)
    with pytest.raises(TypeError, match=r"WeightedTrainer computes a loss of its own.*per_sample\(self"):
        text_trainer(tmp_path, WithoutHook)


def test_irm_takes_the_slopes_of_the_users_loss(tmp_path: Path) -> None:
    """IRMv1 as its paper writes it, from the same twelve samples: the slope in a scale of 1 on the logits."""
    trainer = make("own loss", tmp_path)
    batch = next(iter(trainer.get_train_dataloader()))
    labels, environments = batch.pop("labels"), batch.pop("environment")
    trainer.model.train()
    scale = torch.ones(3, requires_grad=True)  # one for each environment
    logits = trainer.model(**batch).logits * scale[environments][:, None]
    losses = F.cross_entropy(logits, labels, weight=WEIGHTS, reduction="none")
    risks = torch.stack([losses[environments == number].mean() for number in range(3)])
    (slopes,) = torch.autograd.grad(risks.sum(), scale, create_graph=True)
    weight = IRM_OPTIONS["penalty_weight"]
    loss = (risks.mean() + weight * slopes.square().mean()) / weight
    loss.backward()
    assert weight * slopes.square().mean() > 0.01 * risks.mean()
    expected = {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}
    fresh = first_step(make("own loss", tmp_path))
    assert_same_step(fresh, {"gradients": expected, "loss": loss.item()})


def test_evaluation_is_the_users_own(tmp_path: Path) -> None:
    trainer = make("own loss", tmp_path)
    metrics = trainer.evaluate()
    found = trainer.predict(trainer.eval_dataset)
    logits, labels = torch.tensor(found.predictions), torch.tensor(found.label_ids)
    assert metrics["eval_hit_rate"] == np.mean(found.predictions.argmax(-1) == found.label_ids)
    own = [
        F.cross_entropy(logits[rows], labels[rows], weight=WEIGHTS) * len(rows)
        for rows in torch.arange(len(labels)).split(8)
    ]
    assert metrics["eval_loss"] == pytest.approx((torch.stack(own).sum() / len(labels)).item(), rel=1e-5)


def check_run(names: dict[str, Any]) -> None:
    trainer = names["trainer"]
    assert trainer.state.global_step == 2 * sum(COUNTS) // 12
    assert {f"eval_validation_{place}_accuracy" for place in PLACES} <= names["metrics"].keys()


def test_the_documents_script_for_texts_runs(tmp_path: Path) -> None:
    save_text_model(tmp_path)
    names = run_block(
        "your_trainer.md",
        0,
        model=BertForSequenceClassification.from_pretrained(tmp_path),
        tokenizer=AutoTokenizer.from_pretrained(tmp_path),
        output_dir=str(tmp_path / "run"),
        data=DatasetDict(
            {
                split: text_data(tmp_path, counts).select_columns(["text", "label", "environment"])
                for split, counts in (("train", COUNTS), ("validation", (5, 6, 7)))
            }
        ),
    )
    check_run(names)
    assert names["metrics"]["eval_validation_hit_rate"] == names["metrics"]["eval_validation_accuracy"]


def test_the_documents_script_for_images_runs(tmp_path: Path) -> None:
    save_image_model(tmp_path)
    check_run(
        run_block(
            "your_trainer.md",
            1,
            model=ViTForImageClassification.from_pretrained(tmp_path),
            to_pixels=to_pixels,
            output_dir=str(tmp_path / "run"),
            data=DatasetDict({"train": image_data(), "validation": image_data((5, 6, 7))}),
        )
    )


def test_the_documents_trainer_with_a_loss_of_its_own_is_the_tested_one(tmp_path: Path) -> None:
    trainer_class = run_block("your_trainer.md", 2)["WeightedEnvironmentTrainer"]
    theirs = first_step(make("own loss", tmp_path, trainer_class=trainer_class))
    assert_same_step(theirs, first_step(make("own loss", tmp_path)))


class WrongOrder(WeightedTrainer, EnvironmentTrainer):
    """The user's trainer computes its loss, and the objective is never asked."""


def test_the_wrong_order_of_bases_is_refused(tmp_path: Path) -> None:
    save_text_model(tmp_path)
    with pytest.raises(TypeError, match="first of the bases"):
        text_trainer(tmp_path, WrongOrder).train()
