"""How environments are sampled and networks looked at: options beside those of any `TrainingArguments`."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import Flag, option

PROPORTIONS = ("equal", "groups", "classes", "natural")
BALANCES_CLASSES = ("groups", "classes")  # those that draw classes equally often


@dataclass
class EnvironmentOptions:
    """A dataclass mixin: beside the arguments of any trainer it makes those of its environment trainer.

    Arguments without it train with its defaults. Raises `ValueError` for unknown proportions.

    Example:
        @dataclass
        class RewardArguments(EnvironmentOptions, RewardConfig): ...
    """

    environment_proportions: str = option(
        "equal",
        "What a batch holds: equal (parts of the environments), groups (equal parts of every class in every "
        "environment), classes (equal parts of every class, whatever its environment), or natural (as in the "
        "data).",
    )
    sample_with_replacement: bool = option(
        False, "Draw samples independently within an environment, instead of going through it."
    )
    feature_layer: str | None = option(
        None,
        "The module whose output are the features that a feature transform acts on. Default: the last that "
        "the whole prediction goes through and whose places all count.",
    )
    freeze_batch_norm: bool = option(
        False,
        "Train with batch normalisation's running statistics, unchanged; its weights still learn. Otherwise "
        "statistics are of each micro-batch on each process, over all its environments, never of one "
        "environment; running ones follow that mixture and serve every environment in evaluation.",
    )

    l2_sp: float = option(
        0.0,
        "Pull the weights below the last linear layer towards those that the training starts from: half of "
        "it times their squared distance is part of the loss (L2-SP, Li et al. 2018, arXiv:1802.01483).",
        flag=Flag(topic="training"),
    )
    layer_decay: float = option(
        1.0,
        "Each layer, from the last to the first, learns with this times the rate of the layer after it "
        "(ELECTRA's base model: 0.8); 1: all with the same.",
        flag=Flag(topic="training"),
    )
    save_on_signal: bool = option(
        True,
        "On SIGTERM (a preempted job), SIGINT (Ctrl-C) or SIGHUP, save a checkpoint after the step that is "
        "under way and stop; a second signal stops at once. Of several processes one that gets it is enough.",
        flag=Flag(topic="output", resume=True),
    )

    accept_missing_keys: bool = option(
        False,
        "Resume, or start from weights, that lack some of the network's: those are newly "
        "initialised, and that is said. Otherwise it is an error.",
        flag=Flag(topic="output", resume=True),
    )

    def __post_init__(self) -> None:
        if self.environment_proportions not in PROPORTIONS:
            raise ValueError(
                "environment_proportions must be 'equal', 'groups', 'classes' or 'natural', not "
                f"{self.environment_proportions!r}."
            )
        if not 0 <= self.l2_sp < float("inf"):
            raise ValueError(f"l2_sp must be at least 0, not {self.l2_sp}.")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay must lie above 0 and at most at 1, not at {self.layer_decay}.")
        beside = getattr(super(), "__post_init__", None)
        if beside is not None:
            beside()
