"""From settings, as recipes and flags give them, to the spec of a run, and back."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ..data.built_in import BUILT_IN
from ..methods.losses import CrossEntropy
from ..methods.losses.by_name import NAME, check_loss_options
from ..methods.registry import method_parts
from ..models import MODELS
from ..options import not_finite
from ..trainer import OODConfig
from .adapters import LORA
from .flags import ALIASES, PARTS, default_of, flag, run_fields
from .network import MODEL_CONFIG, model_section
from .sections import LOSS, sections
from .spec import RunSpec
from .stages import read_stages

Settings = dict[str, Any]  # options by their flags' names; a section such as `irm` is a dict
STAGES = "stages"
CLASS_WEIGHTS, POSITIVE_WEIGHTS = "class_weights", "positive_weights"
NEAR = 0.65  # less alike, a suggestion misleads


class SettingsError(ValueError):
    """A setting that is unknown or has a wrong value; `path` leads to it: `("irm", "penalty_weight")`."""

    def __init__(self, message: str, path: Sequence[str | int]):
        super().__init__(message)
        self.path = tuple(path)


def spec_from_settings(settings: Mapping[str, Any], command: str = "") -> RunSpec:
    """The run that these settings describe. Sections of what is not used may stay in them.

    Raises `SettingsError` for unknown names and wrong types, `ValueError` for what does not go together.
    """
    whole = canonical(settings)
    changes = read_stages(whole.pop(STAGES)) if STAGES in whole else {}
    spec = _spec(whole, command)
    for number, (name, changed) in enumerate(changes.items()):
        try:
            spec.stages[name] = _spec(merge(whole, canonical(changed)), command)
        except SettingsError as error:
            raise SettingsError(f"stage {name!r}: {error}", (STAGES, number, *error.path)) from error
    return spec


def canonical(settings: Mapping[str, Any]) -> Settings:
    """One name for each option; what Hugging Face's scripts call it works too, but not both at once."""
    found: Settings = {}
    for key, value in settings.items():
        name = ALIASES.get(key, key)
        if name in found:
            raise SettingsError(f"{key} and {name} are one option: leave one of them out.", [key])
        found[name] = value
    if isinstance(found.get(LOSS), str):  # its name alone
        found[LOSS] = {NAME: found[LOSS]}
    if CLASS_WEIGHTS in found:  # a shorter name of the loss's option
        own = found.get(LOSS) or {}
        if CLASS_WEIGHTS in own:
            both = f"{CLASS_WEIGHTS} and {LOSS}.{CLASS_WEIGHTS}"
            raise SettingsError(f"{both} are one option: leave one of them out.", [CLASS_WEIGHTS])
        found[LOSS] = {**own, CLASS_WEIGHTS: found.pop(CLASS_WEIGHTS)}
    for weights in (CLASS_WEIGHTS, POSITIVE_WEIGHTS):
        if isinstance(found.get(LOSS), dict) and isinstance(found[LOSS].get(weights), list):
            found[LOSS] = {**found[LOSS], weights: ",".join(map(str, found[LOSS][weights]))}
    return found


def merge(*parts: Mapping[str, Any]) -> Settings:
    """Later parts win; sections are merged key by key. The options of a loss go with it where a later part
    names another one."""
    merged: Settings = {}
    for part in parts:
        for name, value in part.items():
            if name == LOSS and isinstance(value, dict) and isinstance(merged.get(name), str):
                merged[name] = {NAME: merged[name]}
            both = isinstance(value, dict) and isinstance(merged.get(name), dict)
            if both and name == LOSS and value.get(NAME) not in (None, merged[name].get(NAME)):
                both = False
            merged[name] = {**merged[name], **value} if both else value
    return merged


def _spec(settings: Mapping[str, Any], command: str) -> RunSpec:
    known, own = run_fields(), sections()
    values: dict[str, dict[str, Any]] = {part: {} for part in (*PARTS, "training", "")}
    options: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        if key in known:
            part, field = known[key]
            values[part][field.name] = _converted(value, _hint(part, field.name), [key])
        elif key == MODEL_CONFIG or key in own:
            options[key] = typed_section(key, value, own.get(key))
            if key == LOSS:
                _check_loss(options[key])
        elif isinstance(value, Mapping):
            raise SettingsError(unknown_setting("section", key, [*own, MODEL_CONFIG]), [key])
        else:
            raise SettingsError(unknown_setting("key", key, [*known, *ALIASES, *_dotted(own)]), [key])
    parts = {part: cls(**values[part]) for part, cls in PARTS.items()}
    training = OODConfig(**values["training"])
    spec = RunSpec(**parts, training=training, options=options, command=command, **values[""])
    chosen = chosen_sections(spec)
    return replace(spec, options={name: given for name, given in options.items() if name in chosen})


def typed_section(name: str, content: Any, known: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options of a section with their types. Raises `SettingsError` for unknown ones and wrong values.
    `known`: those that there are, by name; None: fields of a network's configuration."""
    if not isinstance(content, Mapping):
        raise SettingsError(f"{name} is a section: its options go below it, not {content!r}.", [name])
    if known is None:  # which fields there are depends on the network
        numbers = {key: _as_number(value) for key, value in content.items()}
        for key, value in numbers.items():
            if (wrong := not_finite(value)) is not None:
                raise SettingsError(f"{name}.{key}: {wrong} is not a finite number.", [name, key])
        return numbers
    found = {}
    for key, value in content.items():
        if key not in known:
            raise SettingsError(unknown_setting("key", f"{name}.{key}", _dotted({name: known})), [name, key])
        found[key] = _converted(value, known[key].hint, [name, key])
    return found


def _check_loss(given: Mapping[str, Any]) -> None:
    """Every option is one of the loss that is named."""
    name = given.get(NAME, CrossEntropy.name)
    for key in given:
        try:
            check_loss_options(name, [] if key == NAME else [key])
        except ValueError as error:
            raise SettingsError(str(error), [LOSS, key]) from error


def _as_number(value: Any) -> Any:
    """YAML reads 1e-5 as text."""
    if isinstance(value, list):
        return [_as_number(part) for part in value]
    try:
        number = json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        return value
    return number if isinstance(number, (int, float)) else value


def chosen_sections(spec: RunSpec) -> set[str]:
    """The sections that have an effect."""
    return {
        *method_parts(spec.method.name),
        model_section(spec.network),
        spec.data.dataset,
        spec.method.infer_environments,
        spec.method.fit_last_layer,
        LORA,
        LOSS,
    }


def check_options(spec: RunSpec) -> None:
    """Raise `ValueError` for options that a spec made in Python has of something that it does not use, or
    that are unknown or of the wrong type: they would do nothing, or other than they say."""
    own = sections()
    for name, given in spec.options.items():
        if name not in chosen_sections(spec):
            used = ", ".join(sorted(chosen_sections(spec) & {*own, MODEL_CONFIG}))
            raise SettingsError(f"options[{name!r}] has no effect: the run has options of {used}.", [name])
        typed_section(name, given, own.get(name))
        if name == LOSS:
            _check_loss(given)


def settings_of(spec: RunSpec) -> Settings:
    """The settings that differ from the defaults; of a stage, from those of the whole run. As a recipe, they
    make the same run again."""
    found = _asked(spec) | plain(spec.options)
    if spec.stages:
        whole = _asked(spec)
        found[STAGES] = [
            {"name": name, **changeable(_changes(_asked(stage), whole) | plain(stage.options))}
            for name, stage in spec.stages.items()
        ]
    return found


def _asked(spec: RunSpec) -> Settings:
    """What was asked for by plain keys, without sections."""
    found: Settings = {}
    for key, (part, field) in run_fields().items():
        if part == "training":
            continue
        value = getattr(getattr(spec, part) if part else spec, field.name)
        if value != default_of(field):
            found[key] = plain(value)
    return found | plain(spec.training.given())


def _changes(ours: Settings, theirs: Settings) -> Settings:
    """What makes `theirs` ours; what only they have goes back to its default."""
    back = {key: plain(default_of(run_fields()[key][1])) for key in theirs if key not in ours}
    return back | {key: value for key, value in ours.items() if key not in theirs or value != theirs[key]}


def comparable_settings(spec: RunSpec) -> Settings:
    """The settings that decide what a run gives, without secrets; another run of them is the same run."""
    free = {key for key, (_, field) in run_fields().items() if flag(field).resume}
    found = {key: value for key, value in settings_of(spec).items() if key not in free}
    if spec.stages:
        found[STAGES] = [
            {key: value for key, value in stage.items() if key not in free} for stage in found[STAGES]
        ]
    return found


def changeable(settings: Mapping[str, Any]) -> Settings:
    """The settings that a stage may have: the others hold for the whole run."""
    known = run_fields()
    whole = {*(key for key, (_, field) in known.items() if not flag(field).stages), MODEL_CONFIG}
    return {key: value for key, value in settings.items() if key not in {*whole, *BUILT_IN, *MODELS}}


def plain(value: Any) -> Any:
    """What YAML and JSON can hold: enumerations as their values, tuples as lists."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value


@lru_cache
def _hints(part: str) -> dict[str, Any]:
    return get_type_hints({"training": OODConfig, "": RunSpec, **PARTS}[part])


def _hint(part: str, name: str) -> Any:
    return _hints(part)[name]


@lru_cache
def _adapter(hint: Any) -> TypeAdapter:
    return TypeAdapter(hint, config=ConfigDict(coerce_numbers_to_str=True))


def _converted(value: Any, hint: Any, path: Sequence[str]) -> Any:
    """A value as its type says: YAML reads 1e-4 as text, and one name may stand for a list of one."""
    tries: list[Callable[[], Any]] = [lambda: value, lambda: [value]]
    adapter = _adapter(hint)
    error: ValidationError | None = None
    for given in tries:
        try:
            converted = adapter.validate_python(given())
            if (wrong := not_finite(converted)) is not None:
                raise SettingsError(f"{'.'.join(path)}: {wrong} is not a finite number.", path)
            return converted
        except ValidationError as failed:
            error = error or failed
    assert error is not None
    reason = error.errors()[0]["msg"]
    raise SettingsError(f"{'.'.join(path)}: {value!r} will not do: {reason}.", path) from error


def _dotted(known: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [f"{section}.{name}" for section, options in known.items() for name in options]


def unknown_setting(what: str, name: str, known: Sequence[str]) -> str:
    """The message for a setting that there is not; a suggestion only where one is really alike."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=NEAR)
    return f"Unknown {what} {name!r}." + (f" Did you mean {near[0]!r}?" if near else "")
