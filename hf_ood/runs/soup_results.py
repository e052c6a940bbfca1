"""What a soup's results say of the runs that it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluation.metrics import mean_measure
from .ingredients import SOUP, Ingredient
from .settings import Settings
from .starting_weights import STARTING_WEIGHTS

UNIFORM, GREEDY = "uniform", "greedy"
COSTS = ("steps", "seconds", "cpu_seconds")


def described(
    ingredients: Sequence[Ingredient],
    used: Sequence[Ingredient],
    protocol: str,
    diwa: bool,
    own: tuple[float, float],
) -> dict[str, Any]:
    """What the results of a soup say of the runs that it is made of. `own`: seconds, and CPU seconds, that
    making it took."""
    results = [ingredient.results for ingredient in ingredients]
    first = results[0]
    costs = {name: sum(each[name] for each in results) for name in COSTS}
    samples = sum(each["samples_per_second"] * each["seconds"] for each in results)
    shared = common([each["hyperparameters"] for each in results])
    return {
        "method": ", ".join(dict.fromkeys(each["method"] for each in results)),
        "dataset": first["dataset"],
        "config": first["config"],
        "seed": first["seed"],
        "selection": selection_of(ingredients, used, protocol, diwa),
        "trained_environments": first["trained_environments"],
        "history": [],
        "hyperparameters": {
            **shared,
            SOUP: {"protocol": protocol, "runs": len(ingredients), "used": len(used)},
        },
        "steps": costs["steps"],
        "seconds": costs["seconds"] + own[0],
        "cpu_seconds": costs["cpu_seconds"] + own[1],
        "samples_per_second": samples / costs["seconds"],
        STARTING_WEIGHTS: first[STARTING_WEIGHTS],
        SOUP: [
            {
                "run": ingredient.folder.name,
                "method": ingredient.results["method"],
                **{f"validation_{name}": value for name, value in ingredient.validation.items()},
                **_tested(ingredient),
                "used": ingredient in used,
            }
            for ingredient in ingredients
        ],
    }


def _tested(ingredient: Ingredient) -> dict[str, float | None]:
    environments = ingredient.results["environments"].items()
    return mean_measure({name: entry for name, entry in environments if entry["split"] == "test"})


def selection_of(
    ingredients: Sequence[Ingredient], used: Sequence[Ingredient], protocol: str, diwa: bool
) -> str:
    """The rule that made the weights, in words, and the one that chose each run's."""
    number = len(ingredients)
    rule = f"mean of the weights of {number} runs (uniform soup)"
    if protocol == GREEDY:
        rule = (
            f"mean of the weights of {len(used)} of {number} runs, added from the best mean validation "
            "figure down where the soup's did not fall (greedy soup)"
        )
    if diwa:
        rule += ", all of a sweep from one initialisation (DiWA)"
    each = dict.fromkeys(ingredient.results["selection"] for ingredient in ingredients)
    return f"{rule}; of each run: {', '.join(each)}"


def common(settings: Sequence[Mapping[str, Any]]) -> Settings:
    """The keys on which all agree; of sections, the keys in them. Stages are one value."""
    first, *others = settings
    found: Settings = {}
    for key, value in first.items():
        theirs = [other.get(key) for other in others]
        if isinstance(value, Mapping) and all(isinstance(other, Mapping) for other in theirs):
            found[key] = common([value, *theirs])  # type: ignore[list-item]
        elif all(other == value for other in theirs):
            found[key] = value
    return found
