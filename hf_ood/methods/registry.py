"""From a method's name, such as `irm+rsc`, to its parts: what acts on the loss, on features and so on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, NamedTuple

from ..errors import unknown_name
from .averaging import AVERAGINGS, Averaging
from .losses import LOSSES, SampleLoss
from .masking import FEATURE_TRANSFORMS, FeatureTransform
from .mixing import MIXINGS, Mixing
from .objectives import ERM, OBJECTIVES, Objective
from .updates import UPDATES, Update

Part = Objective | FeatureTransform | Mixing | Update | Averaging


class Kind(NamedTuple):
    """What acts at one place: the class that they all are of, and those that there are, by name."""

    base: type[Part]
    methods: dict[str, Any]


KINDS: dict[str, Kind] = {  # the fields of `Method`, in this order
    "objective": Kind(Objective, OBJECTIVES),
    "feature_transform": Kind(FeatureTransform, FEATURE_TRANSFORMS),
    "mixing": Kind(Mixing, MIXINGS),
    "update": Kind(Update, UPDATES),
    "averaging": Kind(Averaging, AVERAGINGS),
}
METHODS: dict[str, type[Part]] = {name: cls for kind in KINDS.values() for name, cls in kind.methods.items()}


def add_method(cls: type[Any]) -> None:
    """See `hf_ood.register`."""
    if issubclass(cls, SampleLoss):
        _add_loss(cls)
        return
    kind = next((kind for kind in KINDS.values() if issubclass(cls, kind.base)), None)
    name, described = getattr(cls, "name", ""), is_dataclass(cls)
    if kind is None or not described:
        bases = ", ".join([*(kind.base.__name__ for kind in KINDS.values()), SampleLoss.__name__])
        raise ValueError(f"{cls.__name__} is no method: it must be a dataclass, and a subclass of {bases}.")
    if not name.isidentifier() or not name.islower() or name in METHODS:
        raise ValueError(
            f"{cls.__name__}.name must be a word in lower case that no method has, not {name!r}."
        )
    kind.methods[name] = METHODS[name] = cls


def _add_loss(cls: type[SampleLoss]) -> None:
    name = getattr(cls, "name", "")
    if not is_dataclass(cls) or not name.isidentifier() or not name.islower() or name in LOSSES:
        raise ValueError(
            f"{cls.__name__} must be a dataclass whose name is a word in lower case that no loss has, not "
            f"{name!r}."
        )
    LOSSES[name] = cls


@dataclass(frozen=True)
class Method:
    """One objective, and at most one part of every other kind. `name` is canonical: in that order."""

    objective: Objective
    feature_transform: FeatureTransform | None = None
    mixing: Mixing | None = None
    update: Update | None = None
    averaging: Averaging | None = None

    @property
    def parts(self) -> list[Part]:
        return [part for part in vars(self).values() if part is not None]

    @property
    def name(self) -> str:
        names = [part.name for part in self.parts]
        return "+".join(names[1:] if isinstance(self.objective, ERM) and names[1:] else names)

    def hyperparameters(self) -> dict[str, dict[str, Any]]:
        """The values of every part's hyper-parameters, by the part's name."""
        return {
            part.name: {f.name: asdict(part)[f.name] for f in fields(part) if f.init} for part in self.parts
        }


def method_parts(name: str) -> list[str]:
    """`irm+rsc` -> `[irm, rsc]`. Raises `ValueError` with the nearest match for an unknown part."""
    parts = name.lower().split("+")
    for part in parts:
        if part not in METHODS:
            raise ValueError(unknown_name("method", part, list(METHODS)))
    return parts


def build_method(name: str, options: Mapping[str, Mapping[str, Any]] | None = None) -> Method:
    """`build_method("irm+rsc", {"irm": {"penalty_weight": 10}})`; without an objective it is ERM's.

    Raises `ValueError` for unknown parts, unknown options, and two parts that act at the same place.
    """
    options = options or {}
    built: dict[str, Any] = {}
    for part in method_parts(name):
        cls, given = METHODS[part], options.get(part, {})
        known = [f.name for f in fields(cls) if f.init]
        for option in given:
            if option not in known:
                raise ValueError(unknown_name(f"option of {part}", option, known))
        kind = next(kind for kind, (_, methods) in KINDS.items() if part in methods)
        if kind in built:
            raise ValueError(f"{name!r}: {built[kind].name} and {part} both act as {kind.replace('_', ' ')}.")
        built[kind] = cls(**given)
    built.setdefault("objective", ERM())
    return Method(**built)
