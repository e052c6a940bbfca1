"""What is compared with what, and the targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from hand_written import run_loop
from heads import (
    Heads,
    by_batched_loop,
    by_plain_loop,
    by_trainer,
    float32_difference,
    in_bulk,
)
from inputs import IMAGES, input_pipeline, linear_probe, measure_build
from processes import images_per_second
from report import (
    Target,
    at_least,
    at_most,
    heading,
    interleaved,
    milliseconds_more,
    ratios,
    show,
    show_steps,
)
from steps import (
    BATCH,
    VIT_BATCH,
    WARM_UP,
    Clock,
    in_environments,
    lenet,
    linear_model,
    run_ood_trainer,
    run_trainer,
    small_vit,
    vectors,
)
from torch import nn
from transformers import set_seed

from hf_ood.data import EnvironmentDataset, colored_mnist_tensors
from hf_ood.methods.losses import LDAM, CrossEntropy, Focal, LogitAdjusted, SampleLoss
from hf_ood.methods.objectives import OBJECTIVES
from hf_ood.methods.registry import METHODS

# SWAD's cost is that of the evaluations it needs.
ROSTER = [name for name in METHODS if name not in ("erm", "swad")]
OWN_TARGETS = {"dann": 1.10, "rsc": 1.35}
ALIGNING = ("coral", "causirl", "mmd", "rdm")
LOSSES: dict[str, SampleLoss] = {
    "label_smoothing": CrossEntropy(label_smoothing=0.1),
    "class_weights": CrossEntropy(class_weights="balanced"),
    "focal": Focal(),
    "logit_adjusted": LogitAdjusted(),
    "ldam": LDAM(),
}
NEAR_THE_START: dict[str, dict[str, float]] = {"l2_sp": {"l2_sp": 0.01}, "layer_decay": {"layer_decay": 0.8}}


@dataclass
class Settings:
    """How often and how long to measure, and the data that sections share."""

    rounds: int = 5
    steps: int | None = None
    methods: list[str] | None = None

    def measured(self, default: int) -> int:
        """How many steps of a run are measured."""
        return self.steps or default

    @cached_property
    def images(self) -> EnvironmentDataset:
        return colored_mnist_tensors("unseen_colors")["train"]


def run(loop: Callable[..., Clock], build: Callable[[], nn.Module], *args: Any, **kwargs: Any) -> Clock:
    """Train a new network, the same each time."""
    set_seed(0)
    return loop(build(), *args, **kwargs)


def typical_steps(contenders: Mapping[str, Callable[[], Clock]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender's typical step, by round."""
    found = interleaved(contenders, rounds)
    return {name: [clock.typical for clock in clocks] for name, clocks in found.items()}


def erm(settings: Settings) -> None:
    """LeNet on images in memory: OODTrainer with ERM against a hand-written loop."""
    heading(f"erm: LeNet, batch {BATCH}, 1 thread")
    shared = (lenet, settings.images, settings.measured(50))
    found = typical_steps(
        {
            "hand-written": partial(run, run_loop, *shared),
            "OODTrainer, ERM": partial(run, run_ood_trainer, *shared),
        },
        settings.rounds,
    )
    show_steps(found)
    rate = ratios(found["hand-written"], found["OODTrainer, ERM"])
    show("images/s, OODTrainer / hand-written", rate, target=at_least(0.9))


def methods(settings: Settings) -> None:
    """LeNet: every method against ERM, which runs just before it."""
    heading(f"methods: LeNet, batch {BATCH}, 1 thread, step of a method / step of ERM")
    step = partial(run, run_ood_trainer, lenet, settings.images, settings.measured(50))
    for name in settings.methods or ROSTER:
        found = typical_steps({"ERM": step, name: partial(step, name)}, settings.rounds)
        second = name in OBJECTIVES and OBJECTIVES[name].needs_start
        label = f"{name} (a second forward pass)" if second else name
        show(label, ratios(found[name], found["ERM"]), target=method_target(name))


def method_target(name: str) -> Target | None:
    """What a step may cost, in steps of ERM."""
    if name in OWN_TARGETS:
        return at_most(OWN_TARGETS[name])
    if name in ALIGNING:
        return at_most(1.10)
    if name not in OBJECTIVES or OBJECTIVES[name].needs_start or hasattr(OBJECTIVES[name], "width"):
        return None  # a frozen copy or a discriminator is a network more
    return at_most(1.15 if OBJECTIVES[name].needs_features else 1.05)


def losses(settings: Settings) -> None:
    """LeNet: every loss of classes against cross-entropy, under ERM."""
    heading(f"losses: LeNet, batch {BATCH}, 1 thread, step of a loss / step of cross-entropy")
    step = partial(run, run_ood_trainer, lenet, settings.images, settings.measured(50))
    for name, loss in LOSSES.items():
        found = typical_steps({"cross_entropy": step, name: partial(step, loss=loss)}, settings.rounds)
        show(name, ratios(found[name], found["cross_entropy"]), target=at_most(1.02))


def near_the_start(settings: Settings) -> None:
    """LeNet: what holds weights back, against plain ERM."""
    heading(f"near_the_start: LeNet, batch {BATCH}, 1 thread, step with an option / step without")
    step = partial(run, run_ood_trainer, lenet, settings.images, settings.measured(50))
    for name, options in NEAR_THE_START.items():
        found = typical_steps({"ERM": step, name: partial(step, **options)}, settings.rounds)
        show(name, ratios(found[name], found["ERM"]), target=at_most(1.05))


def fixed(settings: Settings) -> None:
    """A tiny linear network: what a step costs however small the network is."""
    heading(f"fixed: linear network, batch {BATCH}, 1 thread")
    steps = settings.measured(300)
    shared = (linear_model, vectors(BATCH * (WARM_UP + steps)), steps)
    found = typical_steps(
        {
            "hand-written": partial(run, run_loop, *shared),
            "Trainer": partial(run, run_trainer, *shared),
            "OODTrainer, ERM": partial(run, run_ood_trainer, *shared),
            "OODTrainer, IRM": partial(run, run_ood_trainer, *shared, "irm"),
        },
        settings.rounds,
    )
    show_steps(found)
    show("Trainer - hand-written", milliseconds_more(found["Trainer"], found["hand-written"]), "ms")
    for name, target in (("OODTrainer, ERM", at_most(0.25)), ("OODTrainer, IRM", at_most(0.35))):
        show(f"{name} - Trainer", milliseconds_more(found[name], found["Trainer"]), "ms", target)


def vit(settings: Settings) -> None:
    """A small ViT: OODTrainer with ERM and IRM against plain Trainer."""
    heading(f"vit: small ViT, batch {VIT_BATCH}, 1 thread")
    shared = (small_vit, settings.images, settings.measured(60))
    found = typical_steps(
        {
            "Trainer": partial(run, run_trainer, *shared, batch=VIT_BATCH),
            "OODTrainer, ERM": partial(run, run_ood_trainer, *shared, batch=VIT_BATCH),
            "OODTrainer, IRM": partial(run, run_ood_trainer, *shared, "irm", batch=VIT_BATCH),
        },
        settings.rounds,
    )
    show_steps(found)
    for name in ("OODTrainer, ERM", "OODTrainer, IRM"):
        show(f"{name} / Trainer", ratios(found[name], found["Trainer"]), target=at_most(1.03))


def processes(settings: Settings) -> None:
    """LeNet on two processes against one: OODTrainer, Trainer, and a hand-written loop with DDP (gloo)."""
    heading(f"processes: LeNet, batch {BATCH} and 1 thread on each, mean step")
    loops = {"hand-written": "hand_written", "Trainer": "trainer", "OODTrainer": "ood_trainer"}
    found = interleaved(
        {
            f"{label}, {number}": partial(images_per_second, loop, number, settings.measured(100))
            for number in (1, 2)
            for label, loop in loops.items()
        },
        settings.rounds,
    )
    for name, rates in found.items():
        show(f"{name} process{'es' if name.endswith('2') else ''}", rates, "images/s")
    show("hand-written, 2 / 1", ratios(found["hand-written, 2"], found["hand-written, 1"]))
    show("OODTrainer, 2 / 1", ratios(found["OODTrainer, 2"], found["OODTrainer, 1"]), target=at_least(1.8))
    hand_written = found["hand-written, 2"]
    show("Trainer / hand-written, 2 processes", ratios(found["Trainer, 2"], hand_written))
    against = ratios(found["OODTrainer, 2"], hand_written)
    show("or: OODTrainer / hand-written, 2 processes", against, target=at_least(0.97))


def compiled(settings: Settings) -> None:
    """A small ViT under torch.compile (inductor; needs a C++ compiler) against the same, eager."""
    # Only the first compilation of ERM finds an empty cache: what follows compiles the same network.
    heading(f"compiled: small ViT, batch {VIT_BATCH}, 1 thread, OODTrainer with torch_compile=True")
    for name in ("erm", "irm"):
        step = partial(
            run, run_ood_trainer, small_vit, settings.images, settings.measured(40), name, VIT_BATCH
        )
        found = interleaved({"eager": step, "compiled": partial(step, compiled=True)}, settings.rounds)
        eager, fast = ([clock.typical for clock in clocks] for clocks in found.values())
        show(f"{name}, step compiled / eager", ratios(fast, eager), target=at_most(1))
        show(f"{name}, compiling", [clock.warm_up for clock in found["compiled"]], "s")


def environments(settings: Settings) -> None:
    """LeNet under IRM: a batch of 1,000 environments against one of three."""
    heading("environments: LeNet, IRM, batch 1,000, 1 thread")
    step = partial(run, run_ood_trainer, lenet, steps=settings.measured(20), name="irm", batch=1000)
    images, labels = settings.images.columns["pixel_values"], settings.images.labels
    found = typical_steps(
        {str(number): partial(step, in_environments(images, labels, number)) for number in (3, 1000)},
        settings.rounds,
    )
    show("step, 1,000 environments / 3", ratios(found["1000"], found["3"]), target=at_most(1.2))


def inputs(settings: Settings) -> None:
    """Batches through the DataLoader, and steps of a linear probe on cached features."""
    heading(f"inputs: batch {BATCH}, 1 thread")
    found = interleaved(
        {
            "pipeline": partial(input_pipeline, settings.images),
            "probe": partial(linear_probe, settings.images, settings.measured(1000)),
        },
        settings.rounds,
    )
    show("input pipeline", found["pipeline"], "images/s", at_least(100_000))
    show("linear probe, IRM", found["probe"], "steps/s")


def build(settings: Settings) -> None:
    """Building the 70,000 images of one Colored MNIST, once: seconds, and the peak of memory."""
    heading(f"build: {IMAGES:,} images, 1 thread")
    for as_dataset, what, bound in ((False, "tensors", 2), (True, "PNG dataset", 15)):
        seconds, memory = measure_build(as_dataset)
        show(what, [seconds], "s", at_most(bound))
        show(f"{what}, peak memory / raw bytes", [memory], target=at_most(3) if as_dataset else None)


def heads(settings: Settings) -> None:
    """100 heads of IRM on frozen features: fit_heads against loops and OODTrainer, heads a second."""
    steps = settings.measured(50)
    for features, target in ((1280, 5), (384, 8)):
        many = Heads(features)
        heading(f"heads: {many.number} heads of IRM, {features:,} features, {steps} steps, 1 thread")
        contenders = {
            "plain loop, one by one": by_plain_loop,
            "OODTrainer, one by one": by_trainer,
            "batched loop": by_batched_loop,
            "fit_heads": in_bulk,
        }
        found = interleaved(
            {name: partial(loop, many, steps) for name, loop in contenders.items()}, settings.rounds
        )
        for name, rates in found.items():
            show(name, rates, "heads/s")
        ours = found["fit_heads"]
        show("fit_heads / plain loop", ratios(ours, found["plain loop, one by one"]), target=at_least(target))
        show("fit_heads / OODTrainer", ratios(ours, found["OODTrainer, one by one"]), target=at_least(target))
        show("fit_heads / batched loop", ratios(ours, found["batched loop"]), target=at_least(0.8))
        difference = float32_difference(many, steps)
        print(f"  largest difference of logits to one by one, float32: {difference:.1e}")


SECTIONS: dict[str, Callable[[Settings], None]] = {
    section.__name__: section
    for section in (
        erm,
        methods,
        losses,
        near_the_start,
        fixed,
        vit,
        processes,
        compiled,
        environments,
        inputs,
        build,
        heads,
    )
}
