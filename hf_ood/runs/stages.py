"""Stages of a run: a recipe's list of named changes to it, carried out one after the other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from ..data.align import align
from ..data.built_in import BUILT_IN
from ..errors import unknown_name
from ..json_files import read_object
from ..manifest import refuse_damaged_model
from ..models import MODELS, MeanPooledConfig, StemmedConfig, batch_norms, without_stem
from ..models.classes import class_names, with_class_order
from ..trainer.weight_names import check_keys
from .flags import ALIASES, flag, run_fields
from .last_layer import TRAINED
from .network import MODEL_CONFIG
from .spec import RunSpec

STAGE_FIGURES = (
    "mean_accuracy",
    "worst_accuracy",
    "train_accuracy",
    "gap",
    "shift_gap",
    "steps",
    "seconds",
    "selection",
)
# What the model of the stage before decided about the training images, and what fitted the last layer.
FOUND = ("inferred", "upweighted", "last_layer")
# What a regression, and several labels a sample, have in place of accuracies.
STAGE_OTHERS = (
    "mean_rmse", "worst_rmse", "train_rmse", "mean_squared_error", "train_squared_error",
    "mean_macro_f1", "worst_macro_f1", "train_macro_f1",
)  # fmt: skip
CHOSEN_STEP = "chosen_step"  # the key of the results: the step whose weights were kept
STEPS_OF = "steps_of"
# What says how steps are made.
OF_STEPS = (
    "max_steps", "num_train_epochs", "learning_rate", "weight_decay", "per_device_train_batch_size",
    "gradient_accumulation_steps", "warmup_steps", "lr_scheduler_type", "environment_proportions",
)  # fmt: skip
LENGTHS = ("max_steps", "num_train_epochs")
STARTS = ("scratch", "previous")  # what --start_from says that is neither a stage nor a folder
TOTALS = ("steps", "seconds", "cpu_seconds")


def read_stages(content: Any) -> dict[str, dict[str, Any]]:
    """A recipe's `stages` -> what each stage changes, by its name, in order. Raises `ValueError`.

    Unknown keys are left to who reads the settings; refused here is what could not be a stage.
    """
    if not isinstance(content, list) or not content or not all(isinstance(entry, dict) for entry in content):
        raise ValueError("stages must be a list of `name: ...` with the flags that each stage changes.")
    known = run_fields() | {alias: run_fields()[name] for alias, name in ALIASES.items()}
    stages: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(content, 1):
        name = entry.get("name")
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ValueError(f"Stage {number} needs a name of letters, digits, - and _; it has {name!r}.")
        if name in stages:
            raise ValueError(f"Two stages are called {name!r}: give each its own name.")
        changes = {key: value for key, value in entry.items() if key != "name"}
        for key in changes:
            fixed = key in known and not flag(known[key][1]).stages
            if fixed or key in (*BUILT_IN, *MODELS, MODEL_CONFIG):
                raise ValueError(f"Stage {name!r} cannot change {key}: set it for the whole run.")
            if key in OF_STEPS and takes_no_steps(changes):
                raise ValueError(
                    f"Stage {name!r} fits its last layer, which takes no steps: leave {key} out of it."
                )
            if key in LENGTHS and changes.get(STEPS_OF) is not None:
                raise ValueError(
                    f"Stage {name!r} takes the steps of {changes[STEPS_OF]}: leave {key} out of it."
                )
        _check_steps_of(name, changes.get(STEPS_OF), stages)
        stages[name] = changes
    return stages


def _check_steps_of(name: str, other: Any, earlier: Mapping[str, Any]) -> None:
    if other is None:
        return
    if other not in earlier:
        raise ValueError(
            f"Stage {name!r}: " + unknown_name("earlier stage in steps_of", other, list(earlier))
        )
    if takes_no_steps(earlier[other]):
        raise ValueError(f"Stage {name!r}: {other} fits its last layer, which takes no steps to go by.")


def takes_no_steps(changes: Mapping[str, Any]) -> bool:
    """Whether a stage with these changes fits its last layer instead of training it."""
    return changes.get("fit_last_layer", TRAINED) != TRAINED


def changed_by(given: Mapping[str, Any], stage: Mapping[str, Any]) -> dict[str, Any]:
    """Of flags for a whole run, those that a stage can follow: where nothing is trained, none about steps;
    where it goes by another stage, not how many."""
    useless = OF_STEPS if takes_no_steps(stage) else LENGTHS if stage.get(STEPS_OF) is not None else ()
    return {key: value for key, value in given.items() if key not in useless}


def place_stages(spec: RunSpec, folder: Path) -> list[RunSpec]:
    """The stages, each with its own folder (`1-pretrain`); a run without stages is its only one."""
    spec.training.output_dir = str(folder)
    for number, (name, stage) in enumerate(spec.stages.items(), 1):
        stage.training.output_dir = str(folder / f"{number}-{name}")
        stage.before = tuple(spec.stages)[: number - 1]
        stage.training.push_to_hub, stage.training.hub_token = False, None  # the whole run is published
    if spec.method.steps_of is not None and not spec.stages:
        raise ValueError("--steps_of names an earlier stage of a recipe, and this run has no stages.")
    return list(spec.stages.values()) or [spec]


def stage_before(stages: Sequence[RunSpec], number: int) -> RunSpec | None:
    """The stage whose weights stage `number`, from 0, may start from: the one that its `start_from` names, or
    the one before it; None for the first."""
    start, before = stages[number].network.start_from, stages[number].before
    if start in before and start not in STARTS:
        return stages[before.index(start)]
    return stages[number - 1] if number else None


def take_steps_of(stage: RunSpec, results: Mapping[str, Mapping[str, Any]]) -> None:
    """Give a stage as many steps as the weights had taken that the stage it names ended with. `results`: of
    the stages before it, by name."""
    if stage.method.steps_of is not None:
        stage.training.max_steps = results[stage.method.steps_of][CHOSEN_STEP]


def freeze_all_but(model: PreTrainedModel, patterns: Sequence[str] | None) -> None:
    """Train only the parameters whose names match a pattern (`*` matches any part of a name); None: all.

    The optimizer never sees the others, so weight decay leaves them alone. Raises `ValueError` for a pattern
    that matches nothing. A frozen batch normalisation keeps its statistics too.
    """
    network = without_stem(model)  # an input stem has no parameters, and leaves the others their names
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns or ():
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(unknown_name("parameter pattern", pattern, shortened(names)))
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(patterns is None or any(fnmatchcase(name, pattern) for pattern in patterns))
    for norm in batch_norms(model):
        if not any(own.requires_grad for own in norm.parameters()):
            norm.register_forward_pre_hook(_use_running_statistics)


def _use_running_statistics(module: nn.Module, inputs: Any) -> None:
    """`Trainer` puts the whole model into training mode before every step; this puts one layer back."""
    module.eval()


def shortened(names: Sequence[str], limit: int = 8) -> list[str]:
    return [*names[:limit], "..."] if len(names) > limit else list(names)


def load_weights(model: PreTrainedModel, folder: Path, accept_missing: bool = False) -> None:
    """Fill the model with a saved one's weights, each class with those of the class of its name. What the
    saved one lacks stays as it is with `accept_missing`, which is said.

    Raises `ValueError` when there are none that fit, and when files are damaged or lack weights.
    """
    if not (folder / "config.json").exists():
        raise ValueError(f"start_from: {folder} holds no checkpoint (config.json and *.safetensors).")
    refuse_damaged_model(folder)
    kind = read_object(folder / "config.json").get("model_type")
    if kind != StemmedConfig.model_type:
        model = without_stem(model)  # weights of a network that saw the whole image
    if (kind == MeanPooledConfig.model_type) != isinstance(model.config, MeanPooledConfig):
        raise ValueError(
            f"start_from: the head of one of {folder} ({kind}) and of the run's network "
            f"({model.config.model_type}) reads the mean over tokens, the other's does not: use the same "
            f"--pooling, or --model {folder}, whose encoder gets a new head with --pooling mean."
        )
    model_class: Any = type(model)
    saved, info = model_class.from_pretrained(folder, output_loading_info=True)
    check_keys(folder, info["missing_keys"], info["unexpected_keys"], accept_missing)
    ours, theirs = class_names(model.config), class_names(saved.config)
    try:
        weights = saved.state_dict()
        if ours != theirs:
            order = align(ours, theirs, "classes", "the data", f"the checkpoint {folder}").ids
            weights = with_class_order(saved, order.tolist())
        own = {name: value for name, value in model.state_dict().items() if name in info["missing_keys"]}
        model.load_state_dict({**weights, **own})
    except RuntimeError as error:
        raise ValueError(f"start_from: {folder} holds another network's weights. {error}") from error


def combine(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The results of a run from those of its stages, by name, in order.

    Everything at the top level describes the last stage, but for its steps and seconds, which are the whole
    run's, and `history`, which runs through all stages on one axis of steps and epochs.
    """
    rows, history, steps, epochs = [], [], 0, 0.0
    for name, results in stages.items():
        rows.append(
            {
                "name": name,
                "method": results["method"],
                "environments": results["environments"],
                **{
                    figure: results[figure]
                    for figure in (*STAGE_FIGURES, *STAGE_OTHERS, *FOUND, "trained_environments")
                    if figure in results
                },
            }
        )
        history += [
            {**record, "step": steps + record["step"], "epoch": epochs + record["epoch"], "stage": name}
            for record in results["history"]
        ]
        steps += results["steps"]
        epochs += results["hyperparameters"]["training"]["epochs"]
    last = list(stages.values())[-1]
    totals = {name: sum(results[name] for results in stages.values()) for name in TOTALS}
    return {**last, **totals, "history": history, "stages": rows}
