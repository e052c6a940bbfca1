"""How long a method waits: a number of optimizer steps, or a share of the training's."""

from __future__ import annotations


def resolve_steps(value: float, total_steps: int) -> int:
    """Steps from a number of them, 1 or more, or from a share below 1 of all `total_steps`, rounded down.

    As `TrainingArguments.warmup_steps`, which rounds up: a share here always leaves a step to act in.
    """
    return int(value) if value >= 1 else int(value * total_steps + 1e-9)  # 0.29 * 100 is 28.999999999999996


def check_outlasted(option: str, steps: int, total_steps: int) -> None:
    """Raises `ValueError` for a wait, named by its `option`, that takes all steps of the training."""
    if steps and steps >= total_steps:
        raise ValueError(
            f"{option} is {steps} steps, and the training has {total_steps}: what it waits for would never "
            "happen. Train longer, give fewer steps, or a share of them below 1, such as 0.1."
        )


def check_not_negative(option: str, value: float) -> None:
    """Raises `ValueError` for a number of steps, or a share of them, below 0."""
    if value < 0:
        raise ValueError(f"{option} must be 0 or more, not {value:g}.")
