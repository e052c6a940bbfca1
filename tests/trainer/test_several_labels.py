"""Several labels a sample in `OODTrainer`: trained exactly, measured, chosen by, and refused where classes
are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import make_args, make_dataset, make_model
from datasets import Dataset, Features, List, Value
from transformers import DefaultDataCollator, set_seed

from hf_ood import (
    CDANN,
    IRM,
    LISA,
    RSC,
    EnvironmentDataset,
    LinearConfig,
    LinearForImageClassification,
    Mixup,
    MLPConfig,
    MLPForImageClassification,
    OODTrainer,
    SmallResNetConfig,
    SmallResNetForImageClassification,
    VREx,
)
from hf_ood.discovery import EIIL, KMeansEnvironments, Reference
from hf_ood.methods.losses import BinaryCrossEntropy
from hf_ood.trainer.data_checks import lacking_labels

NAMES = ["bright", "red", "random"]
SEVERAL = "multi_label_classification"


def make_several(counts: tuple[int, ...] = (24, 24, 24), seed: int = 0) -> EnvironmentDataset:
    data = make_dataset(counts, seed)
    pixels = data.columns["pixel_values"].float()
    red = (pixels[:, 0].mean((1, 2)) > pixels[:, 1].mean((1, 2))).long()
    chance = torch.randint(0, 2, red.shape, generator=torch.Generator().manual_seed(seed))
    labels = torch.stack([data.labels, red, chance], dim=1)
    return EnvironmentDataset(
        data.columns["pixel_values"], labels, data.environments, NAMES, data.environment_names
    )


def make_linear() -> LinearForImageClassification:
    set_seed(0)
    return LinearForImageClassification(LinearConfig(num_labels=3, problem_type=SEVERAL))


def make(
    folder: Path, model: Any = None, options: dict[str, Any] | None = None, **changes: Any
) -> OODTrainer:
    args = make_args(folder, **{"report_to": "none", "learning_rate": 1e-3, **changes})
    given = {"train_dataset": make_several(), "eval_dataset": make_several((12, 9, 12), 1), **(options or {})}
    return OODTrainer(model or make_linear(), args, **given)


def test_a_checkpoint_is_chosen_by_macro_f1(tmp_path: Path) -> None:
    trainer = make(tmp_path, eval_strategy="steps", eval_steps=2, save_strategy="steps", save_steps=2)
    assert trainer.args.metric_for_best_model == "eval_validation_mean_macro_f1"
    assert trainer.args.greater_is_better is True
    trainer.train()
    assert trainer.selection == "best validation mean macro f1 over evaluations"
    log = next(entry for entry in trainer.state.log_history if "loss" in entry)
    assert log["binary_cross_entropy"] == pytest.approx(log["loss"], rel=1e-5) and "accuracy" not in log
    found = trainer.evaluate()
    result = trainer.predict(make_several((12, 9, 12), 1))
    logits, labels = torch.tensor(result.predictions), torch.tensor(result.label_ids)
    loss = F.binary_cross_entropy_with_logits(logits, labels)
    assert found["eval_validation_loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert {"eval_validation_worst_auroc", "eval_validation_environment_1_exact_match"} <= set(found)


@pytest.mark.parametrize("objective", [IRM(10.0, 0), VREx(10.0, 0)])
def test_micro_batches_train_as_one_batch(objective: Any, tmp_path: Path) -> None:
    found = []
    for parts in (1, 3):
        changes = {"per_device_train_batch_size": 36 // parts, "gradient_accumulation_steps": parts}
        options = {"objective": objective}
        trainer = make(tmp_path / f"{parts}", options=options, optim="sgd", max_steps=2, **changes)
        trainer.train()
        found.append(torch.cat([p.detach().flatten() for p in trainer.model.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_mixtures_are_between_yes_and_no(tmp_path: Path) -> None:
    trainer = make(tmp_path, options={"mixing": Mixup()})
    trainer.train()
    batch = {"pixel_values": torch.rand(4, 3, 28, 28), "environment": torch.arange(4) % 2}
    trainer.model.eval()
    outputs = trainer.outputs(trainer.model, {**batch, "labels": torch.randint(0, 2, (4, 3)).float()})
    expected = F.binary_cross_entropy_with_logits(outputs.logits, outputs.labels, reduction="none").mean(1)
    torch.testing.assert_close(outputs.losses, expected)
    assert ((outputs.labels > 0) & (outputs.labels < 1)).any()


@pytest.mark.parametrize(
    "make_network",
    [
        lambda: make_model(num_labels=3, problem_type=SEVERAL),
        lambda: MLPForImageClassification(MLPConfig(num_labels=3, hidden_size=8, problem_type=SEVERAL)),
        make_linear,
        lambda: SmallResNetForImageClassification(
            SmallResNetConfig(
                num_labels=3, hidden_sizes=[8, 8], depths=[1, 1], embedding_size=8, problem_type=SEVERAL
            )
        ),
    ],
)
def test_the_networks_own_loss_is_binary_cross_entropy(make_network: Any) -> None:
    pixels, labels = torch.rand(4, 3, 28, 28), torch.randint(0, 2, (4, 3)).float()
    output = make_network().eval()(pixel_values=pixels, labels=labels)
    torch.testing.assert_close(output.loss, F.binary_cross_entropy_with_logits(output.logits, labels))


def test_labels_of_evaluations_are_matched_by_name(tmp_path: Path) -> None:
    data, order = make_several((12, 9, 12), 1), [2, 0, 1]
    other = data.with_labels(data.labels[:, order], [NAMES[number] for number in order])
    trainer = make(tmp_path)
    torch.testing.assert_close(
        torch.tensor(trainer.predict(other).label_ids), torch.tensor(trainer.predict(data).label_ids)
    )
    with pytest.raises(ValueError, match=r"labels of the set of .* are not those of the training set"):
        trainer.predict(data.with_labels(data.labels, ["bright", "blue", "random"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feature_transform": RSC()}, "rsc looks for .* a multi-label classification has none: use another"),
        ({"objective": CDANN(width=8)}, "cdann compares samples of one class, and a multi-label"),
        (
            {"mixing": LISA()},
            "lisa pairs samples by their classes, and a multi-label classification has none",
        ),
    ],
)
def test_what_needs_classes_is_refused_by_name(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        make(tmp_path, make_model(num_labels=3, problem_type=SEVERAL), options)


def test_groups_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'groups' balances the classes.*use 'equal' or 'natural'"):
        make(tmp_path, environment_proportions="groups")


def test_a_model_with_other_outputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="3 labels a sample, the model 2 outputs: build it with num_labels=3"
    ):
        make(tmp_path, make_model(num_labels=2, problem_type=SEVERAL))


def test_environments_are_inferred_by_slopes_and_not_by_classes() -> None:
    logits, labels = torch.randn(8, 3), torch.randint(0, 2, (8, 3)).float()
    reference = Reference(logits, labels, torch.randn(8, 2))
    expected = BinaryCrossEntropy().slopes(logits, labels) > 0
    assert EIIL(steps=0).infer(reference, seed=0).bool().tolist() == expected.tolist()
    with pytest.raises(ValueError, match="a multi_label has none: use eiil"):
        KMeansEnvironments().infer(reference, seed=0)
    with pytest.raises(ValueError, match="none of which is a wrong class"):
        reference.wrong  # noqa: B018


def test_what_cannot_be_learnt_is_told() -> None:
    labels = torch.tensor([[0, 1, 0], [0, 0, 1], [0, 1, 1], [0, 1, 0]])
    data = EnvironmentDataset(torch.rand(4, 2), labels, torch.tensor([0, 0, 2, 2]), NAMES, ["x", "y", "z"])
    assert lacking_labels(data) == [
        "Every or no training sample has the label 'bright': the model cannot learn it.",
        "Some label is the same for all samples of 'z': there the environment tells it.",
    ]
    assert lacking_labels(make_several()) == []


def test_rows_of_the_hub_with_lists_of_floats_train(tmp_path: Path) -> None:
    kinds = Features(
        {"pixel_values": List(Value("float32")), "labels": List(Value("float32")), "site": Value("string")}
    )
    generator = torch.Generator().manual_seed(0)
    rows = {
        "pixel_values": torch.rand(24, 4, generator=generator).tolist(),
        "labels": torch.randint(0, 2, (24, 3), generator=generator).float().tolist(),
        "site": ["north", "south"] * 12,
    }
    data = Dataset.from_dict(rows, features=kinds)
    set_seed(0)
    model = LinearForImageClassification(LinearConfig(num_labels=3, num_features=4, problem_type=SEVERAL))
    options = {"train_dataset": data, "eval_dataset": data, "environment_column": "site"}
    options["data_collator"] = DefaultDataCollator()
    trainer = make(tmp_path, model, options, per_device_train_batch_size=8)
    trainer.train()
    assert {"eval_north_macro_f1", "eval_mean_exact_match"} <= {
        name.replace("validation_", "") for name in trainer.evaluate()
    }
