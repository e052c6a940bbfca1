"""Every loss against its equation and autograd, alone and beneath objectives, in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_ood import LDAM, Focal, Huber, LogitAdjusted, SquaredError, register
from hf_ood.cli.arguments import parse_arguments
from hf_ood.errors import UsageError
from hf_ood.methods.losses import LOSSES, BinaryCrossEntropy, CrossEntropy, SampleLoss, loss_for
from hf_ood.methods.losses.by_name import build_loss
from hf_ood.methods.objectives import IRM, CVaR, Fishr, GroupDRO, Objective, Outputs, VREx
from hf_ood.runs.published_command import flags_of
from hf_ood.runs.settings import settings_of

NUMBER, CLASSES, ENVIRONMENTS = 24, 4, 3
ROWS = torch.arange(NUMBER)
places = ROWS % 5 % ENVIRONMENTS  # ragged
training = torch.tensor([0] * 50 + [1] * 20 + [2] * 3 + [3])
VARIANTS: dict[str, dict[str, Any]] = {
    "cross_entropy": {"label_smoothing": 0.1, "class_weights": "square_root"},
    "focal": {"gamma": 1.5, "class_weights": "effective"},
    "logit_adjusted": {"tau": 0.7},
    "ldam": {"scale": 3.0, "class_weights": "balanced"},
    "binary_cross_entropy": {"positive_weights": "balanced"},
    "squared_error": {},
    "huber": {"delta": 0.8},
}


def make(name: str, options: dict[str, Any] | None = None) -> tuple[SampleLoss, Tensor, Tensor]:
    """A prepared loss, logits and labels."""
    generator = torch.Generator().manual_seed(3)
    loss = LOSSES[name](**VARIANTS[name] if options is None else options)
    outputs = 1 if loss.regression else CLASSES
    logits = 2 * torch.randn(NUMBER, outputs, generator=generator, dtype=torch.float64)
    if loss.multi_label:
        labels = (torch.rand(NUMBER, CLASSES, generator=generator, dtype=torch.float64) < 0.3).double()
        known = labels
    elif loss.regression:
        known = labels = torch.randn(NUMBER, generator=generator, dtype=torch.float64)
    else:
        labels, known = torch.randint(0, CLASSES, (NUMBER,), generator=generator), training
    return loss_for(known, outputs, loss), logits.requires_grad_(), labels


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_residuals_and_slopes_are_derivatives(name: str, plain: bool) -> None:
    loss, logits, labels = make(name, {} if plain else None)
    (expected,) = torch.autograd.grad(loss(logits, labels).sum(), logits)
    torch.testing.assert_close(loss.residuals(logits, labels), expected)
    scale = torch.ones(NUMBER, 1, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(loss(scale * logits, labels).sum(), scale)
    torch.testing.assert_close(loss.slopes(logits, labels), expected[:, 0])


@pytest.mark.parametrize("name", [name for name, cls in LOSSES.items() if cls.takes_shares])
def test_mixed_samples_too(name: str) -> None:
    loss, logits, labels = make(name)
    if not labels.is_floating_point():
        labels = F.one_hot(labels, CLASSES).double()
    mixed = 0.3 * labels + 0.7 * labels.roll(1, 0)
    (expected,) = torch.autograd.grad(loss(logits, mixed).sum(), logits)
    torch.testing.assert_close(loss.residuals(logits, mixed), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_irm_and_its_gradient_are_those_of_the_loss(name: str) -> None:
    """Against double backward through the risks of scaled logits."""
    loss, logits, labels = make(name)
    objective = IRM(penalty_weight=3.0, warmup_steps=0, divisor=1.0)
    outputs = Outputs(logits, labels, places, ENVIRONMENTS, loss=loss)
    found, _ = objective.loss(objective.sums(outputs), step=0)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    risks = torch.stack(
        [loss(scale * logits[places == e], labels[places == e]).mean() for e in range(ENVIRONMENTS)]
    )
    slopes = [torch.autograd.grad(risk, scale, create_graph=True)[0] for risk in risks]
    expected = risks.mean() + 3 * torch.stack(slopes).square().mean()
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(value, logits, retain_graph=True)[0] for value in (found, expected))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", LOSSES)
def test_fishr_has_the_loss_s_gradient_of_every_sample(name: str) -> None:
    loss, logits, labels = make(name)
    features = torch.randn(NUMBER, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    head = torch.nn.Linear(3, logits.shape[1], dtype=torch.float64)
    gradients = []
    for i in range(NUMBER):
        own = loss(head(features[i : i + 1]), labels[i : i + 1]).sum()
        weight, bias = torch.autograd.grad(own, list(head.parameters()))
        gradients.append(torch.cat([weight, bias[:, None]], dim=1))
    stacked = torch.stack(gradients)
    variances = torch.stack([stacked[places == e].var(0, correction=0) for e in range(ENVIRONMENTS)])
    expected = (variances - variances.mean(0)).square().mean()
    objective = Fishr(warmup_steps=0, ema=0.0)
    outputs = Outputs(head(features), labels, places, ENVIRONMENTS, features, loss=loss)
    _, parts = objective.loss(objective.sums(outputs), step=0)
    torch.testing.assert_close(parts["fishr_penalty"], expected)


@pytest.mark.parametrize("objective", [VREx(warmup_steps=0), GroupDRO(), CVaR()])
@pytest.mark.parametrize("name", LOSSES)
def test_risks_of_environments_are_means_of_the_loss(name: str, objective: Objective) -> None:
    loss, logits, labels = make(name)
    totals = objective.sums(Outputs(logits, labels, places, ENVIRONMENTS, loss=loss))
    expected = [
        sum(loss(logits[i : i + 1], labels[i : i + 1]).item() for i in range(NUMBER) if places[i] == e)
        for e in range(ENVIRONMENTS)
    ]
    assert totals["loss"].tolist() == pytest.approx(expected)


def test_equations_are_those_of_the_papers() -> None:
    _, logits, labels = make("focal")
    counts = torch.bincount(training, minlength=CLASSES).tolist()
    probabilities = logits.softmax(1).tolist()
    own = [row[label] for row, label in zip(probabilities, labels.tolist(), strict=True)]
    focal = [-((1 - p) ** 1.5) * math.log(p) for p in own]
    assert Focal(gamma=1.5)(logits, labels).tolist() == pytest.approx(focal)
    adjusted, margins = [], [0.5 * (1 / count) ** 0.25 for count in counts]  # the rarest class has one
    with_margins = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        raised = [math.exp(z) * (count / 74) ** 0.7 for z, count in zip(row, counts, strict=True)]
        adjusted.append(-math.log(raised[label] / sum(raised)))
        lowered = [math.exp(3 * (z - (k == label) * margins[k])) for k, z in enumerate(row)]
        with_margins.append(-math.log(lowered[label] / sum(lowered)))
    assert LogitAdjusted(0.7).prepare(training, CLASSES)(logits, labels).tolist() == pytest.approx(adjusted)
    loss = LDAM(scale=3.0).prepare(training, CLASSES)
    assert loss(logits, labels).tolist() == pytest.approx(with_margins)


@pytest.mark.parametrize(
    ("kind", "weigh"),
    [
        ("balanced", lambda n: 1 / n),
        ("square_root", lambda n: n**-0.5),
        ("effective", lambda n: (1 - 0.9999) / (1 - 0.9999**n)),
        ("8,4,2,1", None),
    ],
)
@pytest.mark.parametrize("name", ["cross_entropy", "focal", "ldam"])
def test_weights_of_classes_have_mean_one_over_samples(name: str, kind: str, weigh: Any) -> None:
    loss: Any = build_loss({"name": name, "class_weights": kind}).prepare(training, CLASSES)
    counts = torch.bincount(training, minlength=CLASSES).tolist()
    weights = [8.0, 4.0, 2.0, 1.0] if weigh is None else [weigh(n) for n in counts]
    mean = sum(n * w for n, w in zip(counts, weights, strict=True)) / sum(counts)
    assert loss.factors.tolist() == pytest.approx([w / mean for w in weights], rel=1e-5)


def test_labels_that_are_there_weigh_as_much_as_those_that_are_not() -> None:
    loss, logits, labels = make("binary_cross_entropy")
    with_label = labels.sum(0)
    weights = torch.where(labels > 0, (NUMBER - with_label) / with_label, 1.0)
    torch.testing.assert_close((weights * labels).sum(0), NUMBER - with_label)
    each = F.binary_cross_entropy(logits.sigmoid(), labels, reduction="none")
    torch.testing.assert_close(loss(logits, labels), (weights * each).mean(1), rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="some label is the same for all training samples"):
        BinaryCrossEntropy(positive_weights="balanced").prepare(torch.zeros(4, 2), 2)
    with pytest.raises(ValueError, match="has 3 numbers, but there are 2 labels"):
        BinaryCrossEntropy(positive_weights="1,2,3").prepare(torch.zeros(4, 2), 2)


def test_limits_are_what_the_docstrings_say() -> None:
    _, logits, labels = make("focal")
    plain = CrossEntropy()(logits, labels)
    torch.testing.assert_close(Focal(gamma=0.0)(logits, labels), plain)
    evenly = torch.arange(CLASSES)
    torch.testing.assert_close(LogitAdjusted().prepare(evenly, CLASSES)(logits, labels), plain)
    _, outputs, targets = make("huber")
    half = SquaredError()(outputs, targets) / 2
    torch.testing.assert_close(Huber(delta=1e6)(outputs, targets), half)
    extreme = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)  # p is 1 and 0 exactly
    for gamma in (0.5, 1.0, 2.0):
        loss = Focal(gamma=gamma)
        zeros = torch.zeros(2).long()
        for value in (loss(extreme, zeros), loss.slopes(extreme, zeros)):
            (gradient,) = torch.autograd.grad(value.sum(), extreme)
            assert value.isfinite().all() and gradient.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_summed_in_float32(name: str) -> None:
    loss, logits, labels = make(name)
    half, labels = logits.detach().bfloat16(), labels.float() if labels.is_floating_point() else labels
    found = [loss(half, labels), loss.residuals(half, labels), loss.slopes(half, labels)]
    expected = [loss(half.float(), labels), loss.residuals(half.float(), labels)]
    assert all(value.dtype == torch.float32 for value in found)
    for ours, theirs in zip(found, expected, strict=False):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("focal", torch.tensor([0.5, 1.5]), "focal is not the loss of these data, whose labels are numbers"),
        ("huber", torch.tensor([0, 1]), "huber is not the loss of these data, whose labels are classes"),
        ("ldam", torch.zeros(2, 2), "ldam is not the loss of these data, which have 2 labels a sample"),
        ("squared_error", torch.zeros(2, 2), "which have 2 labels a sample"),
        ("binary_cross_entropy", torch.tensor([0, 1]), "which have one label a sample"),
    ],
)
def test_a_loss_of_other_labels_is_refused(name: str, labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss_for(labels, 2, LOSSES[name]())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "focl"}, "Did you mean 'focal'"),
        ({"gamma": 2.0}, "gamma is no option of cross_entropy, but of focal: name the loss"),
        (
            {"name": "focal", "label_smoothing": 0.1},
            "label_smoothing is no option of focal, but of",
        ),
        ({"name": "focal", "gama": 2.0}, "Did you mean 'gamma'"),
        ({"name": "focal", "gamma": -1.0}, "loss.gamma must be 0 or more"),
        ({"name": "huber", "delta": 0.0}, "loss.delta must be positive"),
        ({"name": "ldam", "max_margin": 0.0}, "loss.max_margin must be positive"),
        ({"name": "logit_adjusted", "tau": 0.0}, "0 is cross_entropy"),
        ({"class_weights": "effective", "effective_beta": 1.0}, "must lie in 0..1, without 1"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_loss(options)


@pytest.mark.parametrize("name", ["logit_adjusted", "ldam"])
def test_what_needs_counts_says_so(name: str) -> None:
    with pytest.raises(ValueError, match=r"call prepare\(labels, num_labels\) first"):
        LOSSES[name]()(torch.zeros(1, 2), torch.tensor([0]))


def test_flags_name_a_loss_and_its_options(tmp_path: Path) -> None:
    spec = parse_arguments("--loss focal --loss.gamma 3".split())
    assert spec.options == {"loss": {"name": "focal", "gamma": 3.0}}
    assert build_loss(spec.options["loss"]) == Focal(gamma=3.0)
    again = parse_arguments(flags_of(settings_of(spec)))
    assert again.options == spec.options
    (tmp_path / "recipe.yaml").write_text("loss: {name: focal, gamma: 2}\nmethod: irm\n")
    recipe = ["--config", str(tmp_path / "recipe.yaml")]
    assert parse_arguments([*recipe, "--loss.gamma", "4"]).options["loss"] == {"name": "focal", "gamma": 4.0}
    assert parse_arguments([*recipe, "--loss", "ldam"]).options["loss"] == {"name": "ldam"}
    (tmp_path / "recipe.yaml").write_text("loss: focal\nstages:\n- name: one\n- {name: two, loss: ldam}\n")
    stages = parse_arguments(recipe).stages
    assert [stage.options["loss"] for stage in stages.values()] == [{"name": "focal"}, {"name": "ldam"}]


def test_a_flag_of_another_loss_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    for flags, message in (
        ("--loss.gamma 2", "loss.gamma is no option of cross_entropy, but of focal"),
        ("--loss foscal", "Did you mean 'focal'?"),
    ):
        with pytest.raises(UsageError):
            parse_arguments(flags.split())
        assert message in capsys.readouterr().err


def test_a_loss_of_ones_own_has_a_flag() -> None:
    @dataclass
    class Doubled(SampleLoss):
        name: ClassVar[str] = "doubled"

        def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
            return 2 * F.cross_entropy(logits, labels, reduction="none")

    try:
        register(Doubled)
        assert build_loss(parse_arguments(["--loss", "doubled"]).options["loss"]) == Doubled()
        with pytest.raises(ValueError, match="a word in lower case that no loss has, not 'doubled'"):
            register(Doubled)
    finally:
        LOSSES.pop("doubled", None)
