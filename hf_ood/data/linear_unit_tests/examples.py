"""The three problems, as samplers of one environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from ...options import option

Samples = tuple[np.ndarray, np.ndarray, np.ndarray]  # invariant [N, I], spurious [N, S], target [N]
Sampler = Callable[[np.random.Generator, int], Samples]  # of the environment with this number


@dataclass(frozen=True)
class LinearUnitTestConfig:
    """Options of a linear unit test. The data are a pure function of the example and of these.

    Defaults are those of the paper's code. Raises `ValueError` for numbers that make no problem.
    """

    seed: int = option(0, "Seed of every random choice: the world, its environments, the samples.")
    environments: int = option(3, "Number of environments; those after the third are drawn at random.")
    invariant_dims: int = option(5, "Number of invariant values.")
    spurious_dims: int = option(5, "Number of spurious values.")
    samples: int = option(10_000, "Samples of each environment in each split.")
    scrambled: bool = option(False, "Rotate the inputs at random, so that no value is purely invariant.")
    oracle: bool = option(False, "Shuffle the spurious values of train and validation as well.")

    def __post_init__(self) -> None:
        for name, least in (("environments", 2), ("invariant_dims", 1), ("spurious_dims", 1), ("samples", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}.")

    @property
    def environment_names(self) -> list[str]:
        return [f"environment_{number}" for number in range(self.environments)]


def cause_and_effect(config: LinearUnitTestConfig, rng: np.random.Generator) -> Sampler:
    """Example 1, regression: causes -> target -> effects. Noise on causes and target has the environment's
    scale, that on effects has scale 1 always: only the causes predict equally in all environments."""
    scales = [0.1, 1.5, 2.0, *10 ** rng.uniform(-2, 1, max(config.environments - 3, 0))]
    dims = config.invariant_dims, config.spurious_dims
    to_target = rng.normal(size=(dims[0], dims[0])) / dims[0]
    to_effects = rng.normal(size=dims) / dims[1]

    def sample(rng: np.random.Generator, environment: int) -> Samples:
        scale, shape = scales[environment], (config.samples, dims[0])
        causes = scale * rng.normal(size=shape)
        target = causes @ to_target + scale * rng.normal(size=shape)
        effects = target @ to_effects + rng.normal(size=(config.samples, dims[1]))
        return causes, effects, target.sum(1)

    return sample


def cows_and_camels(config: LinearUnitTestConfig, rng: np.random.Generator) -> Sampler:
    """Example 2: the animal makes the label and is a hundred times fainter than the background, which fits
    the animal with a probability near 1 that differs between environments."""
    more = max(config.environments - 3, 0)
    fits = [0.95, 0.97, 0.99, *rng.uniform(0.9, 1, more)]
    cows = [0.3, 0.5, 0.7, *rng.uniform(0.3, 0.7, more)]

    def sample(rng: np.random.Generator, environment: int) -> Samples:
        animal = np.where(rng.random(config.samples) < cows[environment], 1, -1)
        background = np.where(rng.random(config.samples) < fits[environment], animal, -animal)
        invariant, spurious = (
            sign[:, None] + rng.normal(size=(config.samples, dims)) / 10**0.5
            for sign, dims in ((animal, config.invariant_dims), (background, config.spurious_dims))
        )
        return invariant / 100, spurious, invariant.sum(1) > 0

    return sample


def small_margin(config: LinearUnitTestConfig, rng: np.random.Generator) -> Sampler:
    """Example 3: classes lie close together in the invariant values and far apart in the spurious ones, there
    along another direction in every environment."""
    directions = rng.normal(size=(config.environments, config.spurious_dims))

    def sample(rng: np.random.Generator, environment: int) -> Samples:
        label = np.arange(config.samples) % 2
        side = (1 - 2 * label)[:, None]
        invariant = side * 0.1 + 0.1 * rng.normal(size=(config.samples, config.invariant_dims))
        spurious = side * directions[environment] + 0.1 * rng.normal(
            size=(config.samples, config.spurious_dims)
        )
        return invariant, spurious, label

    return sample


# name -> the problem, and the names of its classes; a regression has its target's
EXAMPLES: dict[str, tuple[Callable[[LinearUnitTestConfig, np.random.Generator], Sampler], list[str]]] = {
    "example_1": (cause_and_effect, ["target"]),
    "example_2": (cows_and_camels, ["camel", "cow"]),
    "example_3": (small_margin, ["0", "1"]),
}
CONFIGURATIONS = {
    "example_1": "Regression: causes and effects of a target, at a scale of each environment's own.",
    "example_2": "Classes told by a faint animal, and by a strong background that mostly fits it.",
    "example_3": "Classes a small margin apart, and far apart along a direction of each environment's own.",
}
OPTIONS = [field.name for field in fields(LinearUnitTestConfig)]
