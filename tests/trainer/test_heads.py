"""Heads in bulk are what `OODTrainer` makes of each alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from hf_ood import EnvironmentDataset, HeadSpec, OODConfig, fit_heads
from hf_ood.methods.losses import CrossEntropy
from hf_ood.methods.objectives import ERM, OBJECTIVES, Objective, Outputs, Sums
from hf_ood.methods.registry import METHODS, build_method
from hf_ood.trainer.heads.fit import _build, fit_alone, resolved
from hf_ood.trainer.heads.reasons import why_alone

TOGETHER = [name for name in METHODS if why_alone(build_method(name), OODConfig()) is None]
QUICK = ("erm", "irm", "eqrm", "lisa", "rsc", "swa")  # the others are tested nightly
NUMBERS = ("penalty_weight", "step_size", "share", "quantile", "ema", "alpha", "drop_rate", "weight", "decay")
SEED = 3


def nightly_but(first: str, *others: str) -> list[Any]:
    """The first name every time, the others nightly."""
    return [first, *(pytest.param(name, marks=pytest.mark.nightly) for name in others)]


def vectors(number: int = 150, seed: int = 0, dtype: torch.dtype = torch.float64) -> EnvironmentDataset:
    """Three classes in three environments, each of which adds something of its own to the class."""
    generator = torch.Generator().manual_seed(seed)
    labels, places = torch.randint(0, 3, (2, number), generator=generator)
    inputs = torch.randn(number, 8, generator=generator, dtype=dtype)
    inputs[torch.arange(number), labels] += 1.5
    inputs[torch.arange(number), 3 + places] += labels
    return EnvironmentDataset(None, labels, places, list("abc"), ["x", "y", "z"], inputs=inputs)


def linear_layer() -> nn.Module:
    return nn.Linear(8, 3).double()


def arguments(folder: Path, **changes: Any) -> OODConfig:
    usual = {"per_device_train_batch_size": 30, "max_steps": 13, "learning_rate": 0.02, "logging_steps": 1000}
    return OODConfig(output_dir=str(folder), **{**usual, "use_cpu": True, "disable_tqdm": True, **changes})


def specs_of(name: str) -> list[HeadSpec]:
    """A method with its defaults, with other numbers, and with other warm-ups, weight decay and rate."""
    part = name.split("+")[0]
    options: dict[str, Any] = {}
    for field in fields(METHODS[part]):
        if field.name in NUMBERS and "search" in field.metadata:
            search = field.metadata["search"]
            options[field.name] = (
                (search.low * search.high) ** 0.5 if search.log else (search.low + search.high) / 2
            )
    warmups = dict.fromkeys(getattr(METHODS[part], "warmups", ()), 0.6)
    return [
        HeadSpec(name),
        HeadSpec(name, {part: options}, learning_rate=0.01),
        HeadSpec(name, {part: {**options, **warmups}}, weight_decay=0.2),
        HeadSpec(name, {part: warmups}),
    ]


def largest_difference(
    specs: list[HeadSpec],
    training: OODConfig,
    network: str | Callable[[], nn.Module],
    dtype: torch.dtype = torch.float64,
    **more: Any,
) -> float:
    rows, validation = vectors(dtype=dtype), vectors(60, seed=1, dtype=dtype)
    training.seed = SEED
    heads = fit_heads(rows, specs, training, network=network, validation=validation, **more)
    assert {head.together for head in heads} == {len(specs)}
    found = []
    for spec, head in zip(specs, heads, strict=True):
        built = _build(network, rows, SEED)
        settled = resolved(training, validation, SEED)
        alone = fit_alone(rows, spec, settled, SEED, built, validation=validation, **more)
        assert (head.selection, head.steps, head.best_step) == (alone.selection, alone.steps, alone.best_step)
        found += [float((alone.weights[name] - own).abs().max()) for name, own in head.weights.items()]
        assert any(
            not torch.equal(own, alone.network.state_dict()[name] * 0) for name, own in head.weights.items()
        )
    return max(found)


OTHERS = [name for name in TOGETHER if name not in ("dann", "cdann", "swad", *QUICK)]  # those are below


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.nightly) for name in OTHERS)]
)
def test_each_method_gives_a_linear_head_what_it_gives_it_alone(name: str, tmp_path: Path) -> None:
    """Two epochs, evaluated and chosen from: mixtures are drawn as one training of its own draws them."""
    assert largest_difference(specs_of(name), arguments(tmp_path), "linear") < 1e-8


@pytest.mark.parametrize("name", nightly_but("group_dro+mixup+ema", "irm", "fishr", "coral", "rsc+lisa"))
def test_heads_of_two_layers(name: str, tmp_path: Path) -> None:
    assert largest_difference(specs_of(name), arguments(tmp_path), "mlp") < 1e-8


@pytest.mark.parametrize("name", nightly_but("fishr+mixup", "irm", "ib_irm", "rsc", "vrex+rsc", "mixup"))
def test_features_may_be_the_inputs_themselves(name: str, tmp_path: Path) -> None:
    assert largest_difference(specs_of(name), arguments(tmp_path), linear_layer) < 1e-8


@pytest.mark.parametrize("name", nightly_but("cdann", "dann"))
def test_networks_of_an_objectives_own_train_along(name: str, tmp_path: Path) -> None:
    own = {"width": 8, "discriminator_steps": 1, "dropout": 0.2}
    specs = [HeadSpec(name, {name: {**own, "weight": weight}}) for weight in (0.5, 2.0)]
    training = arguments(tmp_path, max_grad_norm=0.5)
    assert largest_difference(specs, training, "mlp", torch.float32) < 1e-5


def test_swad_goes_by_the_validation_loss(tmp_path: Path) -> None:
    training = arguments(tmp_path, eval_strategy="steps", eval_steps=2, save_strategy="no", max_steps=30)
    specs = [HeadSpec("erm+swad", learning_rate=rate) for rate in (0.01, 0.1)]
    assert largest_difference(specs, training, "linear") < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"lr_scheduler_type": "cosine", "warmup_steps": 0.2, "max_grad_norm": 0.1},
        {"environment_proportions": "groups", "sample_with_replacement": True, "label_smoothing_factor": 0.1},
        {"environment_proportions": "natural", "dataloader_drop_last": False, "max_steps": 11},
        {"metric_for_best_model": "loss", "eval_strategy": "steps", "eval_steps": 4, "save_strategy": "best"},
        {"metric_for_best_model": "worst_accuracy", "data_seed": 7, "adam_beta1": 0.5},
        {"eval_strategy": "no", "save_strategy": "no"},
    ],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_arguments_are_followed(changes: dict[str, Any], tmp_path: Path) -> None:
    specs = [
        HeadSpec("erm"),
        HeadSpec("irm", {"irm": {"l2": 0.01, "warmup_steps": 4, "reset_optimizer": True}}),
    ]
    specs += [HeadSpec("mixup"), HeadSpec("sd", {"sd": {"warmup_steps": 3}})]
    assert largest_difference(specs, arguments(tmp_path, **changes), "linear") < 1e-8


def test_the_loss_of_a_sample_may_be_another(tmp_path: Path) -> None:
    loss = CrossEntropy(label_smoothing=0.2, class_weights=[1, 2, 5])
    specs = [HeadSpec("irm"), HeadSpec("vrex"), HeadSpec("mixup")]
    assert largest_difference(specs, arguments(tmp_path), "linear", loss=loss) < 1e-8


def test_seeds_and_environments_have_rows_of_their_own(tmp_path: Path) -> None:
    rows, training = vectors(), arguments(tmp_path)
    specs = [
        HeadSpec("irm", seed=seed, environments=names)
        for seed in (1, 2)
        for names in (["x", "y"], ["z", "y"])
    ]
    heads = fit_heads(rows, specs, training)
    assert [head.together for head in heads] == [1] * 4
    for spec, head in zip(specs, heads, strict=True):
        kept = [rows.environment_names.index(name) for name in spec.environments or []]
        own = rows.select(torch.isin(rows.environments, torch.tensor(kept)).nonzero().squeeze(1))
        (alone,) = fit_heads(own, [HeadSpec("irm", seed=spec.seed)], training)
        assert all(torch.equal(head.weights[name], alone.weights[name]) for name in head.weights)


def test_a_broken_head_leaves_the_others_alone(tmp_path: Path) -> None:
    specs = [HeadSpec("erm"), HeadSpec("sd", learning_rate=1e30), HeadSpec("irm")]
    good, broken, other = fit_heads(
        vectors(dtype=torch.float32), specs, arguments(tmp_path, eval_strategy="no", save_strategy="no")
    )
    assert broken.error is not None and "infinite or NaN" in broken.error
    assert good.error is None and other.error is None
    assert good.weights["representation.weight"].isfinite().all()


def test_what_cannot_be_batched_is_trained_by_the_trainer_and_says_why(tmp_path: Path) -> None:
    training = arguments(tmp_path)
    specs = [HeadSpec("sam"), HeadSpec("erm"), HeadSpec("supcon")]
    assert [head.together for head in fit_heads(vectors(), specs, training)] == [1, 1, 1]
    assert why_alone(build_method("sam"), training) == "sam makes the steps of its weights itself"
    assert why_alone(build_method("supcon"), training) == "supcon is no function of sums over samples"
    accumulating = arguments(tmp_path, gradient_accumulation_steps=2)
    assert "gradient_accumulation_steps" in str(why_alone(build_method("erm"), accumulating))
    assert "sgd" in str(why_alone(build_method("erm"), arguments(tmp_path, optim="sgd")))
    own = arguments(tmp_path, metric_for_best_model="eval_validation_mean_auroc", greater_is_better=True)
    assert "mean_auroc" in str(why_alone(build_method("erm"), own))


@dataclass
class Stubborn(ERM):
    """Decides in Python by a number that differs between heads, and keeps what it made of it."""

    name: ClassVar[str] = "stubborn"
    power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.factor = 2 * self.power

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts = super().loss(totals, step)
        return (loss**2 if self.power > 1.5 else loss) * self.factor, parts


@dataclass
class Silent(ERM):
    """Uses a number that differs between heads where sums are made."""

    name: ClassVar[str] = "silent"
    power: float = 1.0

    def sums(self, outputs: Outputs) -> Sums:
        return outputs.added_up(loss=outputs.losses**self.power)


@pytest.mark.parametrize("kind", [Stubborn, Silent])
def test_a_method_that_does_not_take_tensors_is_evaluated_head_by_head(
    kind: type[Objective], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OBJECTIVES, kind.name, kind)
    monkeypatch.setitem(METHODS, kind.name, kind)
    specs = [HeadSpec(kind.name, {kind.name: {"power": power}}) for power in (1.0, 1.2, 2.0)]
    assert largest_difference(specs, arguments(tmp_path), "linear") < 1e-8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"specs": [HeadSpec("erm", environments=["w"])]}, "environment 'w'"),
        ({"specs": [HeadSpec("irm", {"irm": {"weight": 1}})]}, "option of irm"),
        ({"specs": [HeadSpec("irm", environments=["x"])]}, "at least 2"),
        ({"network": "lenet"}, "head 'lenet'"),
        ({"network": lambda: nn.Sequential(nn.Linear(8, 3))}, "is no head of vectors"),
    ],
)
def test_mistakes_are_told_before_training(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"specs": [HeadSpec("erm")], **change}
    with pytest.raises(ValueError, match=message):
        fit_heads(vectors(), given.pop("specs"), arguments(tmp_path), **given)
    numbers = EnvironmentDataset(
        None, torch.rand(9), torch.arange(9) % 3, ["y"], list("abc"), inputs=torch.rand(9, 2)
    )
    with pytest.raises(ValueError, match="samples of classes"):
        fit_heads(numbers, [HeadSpec("erm")], arguments(tmp_path))
