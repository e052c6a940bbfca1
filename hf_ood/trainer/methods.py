"""From a method's name, such as `irm+rsc`, to its objective and its feature transform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..data.configurations import unknown_name
from ..masking import FEATURE_TRANSFORMS, FeatureTransform
from ..objectives import ERM, OBJECTIVES, Objective

METHODS: dict[str, type[Objective] | type[FeatureTransform]] = {**OBJECTIVES, **FEATURE_TRANSFORMS}


@dataclass(frozen=True)
class Method:
    """One objective and at most one feature transform. `name` is the canonical name, objective first."""

    objective: Objective
    feature_transform: FeatureTransform | None = None

    @property
    def name(self) -> str:
        parts = [] if isinstance(self.objective, ERM) and self.feature_transform else [self.objective.name]
        return "+".join(parts + ([self.feature_transform.name] if self.feature_transform else []))

    def hyperparameters(self) -> dict[str, dict[str, Any]]:
        """The values of every part's hyper-parameters, by the part's name."""
        parts = [part for part in (self.objective, self.feature_transform) if part is not None]
        return {part.name: {f.name: asdict(part)[f.name] for f in fields(part) if f.init} for part in parts}


def method_parts(name: str) -> list[str]:
    """`irm+rsc` -> `[irm, rsc]`. Raises `ValueError` with the nearest match for an unknown part."""
    parts = name.lower().split("+")
    for part in parts:
        if part not in METHODS:
            raise ValueError(unknown_name("method", part, list(METHODS)))
    return parts


def build_method(name: str, options: Mapping[str, Mapping[str, Any]] | None = None) -> Method:
    """`build_method("irm+rsc", {"irm": {"penalty_weight": 10}})`; a transform alone is combined with ERM.

    Raises `ValueError` for unknown parts, unknown options, and two parts that act at the same place.
    """
    options = options or {}
    built: dict[str, Objective | FeatureTransform] = {}
    for part in method_parts(name):
        cls, given = METHODS[part], options.get(part, {})
        known = [f.name for f in fields(cls) if f.init]
        for option in given:
            if option not in known:
                raise ValueError(unknown_name(f"option of {part}", option, known))
        place = "objective" if part in OBJECTIVES else "feature_transform"
        if place in built:
            raise ValueError(
                f"{name!r}: {built[place].name} and {part} both act as {place.replace('_', ' ')}."
            )
        built[place] = cls(**given)
    built.setdefault("objective", ERM())
    return Method(**built)  # type: ignore[arg-type]
