"""What holds for every option of a run: its topic, and whether stages or a resumed run may differ in it."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, replace
from typing import Any

from ..options import Flag
from ..trainer import OODConfig
from .spec import DataSpec, MethodSpec, NetworkSpec, RunSpec

PARTS: dict[str, type[Any]] = {"data": DataSpec, "network": NetworkSpec, "method": MethodSpec}
OTHERS = "others"
TRAINING = "training"
ENVIRONMENTS = "environments"
SELECTION = "selection"
OUTPUT = "output"
HARDWARE = "hardware"
HUB = "hub"

# Options of `TrainingArguments`, which says none of this of its own.
_TRAINING_FLAGS: dict[str, Flag] = {
    **{
        name: Flag(TRAINING)
        for name in (
            "num_train_epochs max_steps per_device_train_batch_size gradient_accumulation_steps "
            "learning_rate lr_scheduler_type warmup_steps weight_decay optim max_grad_norm"
        ).split()
    },
    "seed": Flag(TRAINING, stages=False),
    "data_seed": Flag(TRAINING),
    "environment_proportions": Flag(ENVIRONMENTS),
    "sample_with_replacement": Flag(ENVIRONMENTS),
    **{
        name: Flag(SELECTION)
        for name in (
            "eval_strategy eval_steps per_device_eval_batch_size load_best_model_at_end "
            "metric_for_best_model greater_is_better early_stopping_patience early_stopping_threshold"
        ).split()
    },
    "output_dir": Flag(OUTPUT, stages=False, resume=True),
    "resume_from_checkpoint": Flag(OUTPUT, stages=False, resume=True),
    **{name: Flag(OUTPUT) for name in "save_strategy save_steps save_total_limit logging_steps".split()},
    **{name: Flag(OUTPUT) for name in "report_to run_name".split()},
    **{name: Flag(OUTPUT, resume=True) for name in ("disable_tqdm", "enable_jit_checkpoint")},
    **{
        name: Flag(HARDWARE, stages=False)
        for name in "use_cpu bf16 fp16 torch_compile dataloader_num_workers".split()
    },
    "ddp_backend": Flag(HARDWARE, stages=False, resume=True),
    **{
        name: Flag(HUB, resume=True)
        for name in "push_to_hub hub_model_id hub_token hub_private_repo hub_revision".split()
    },
}


def flag(field: Field[Any]) -> Flag:
    """What holds for a field of `RunSpec`, of its parts, or of `OODConfig`."""
    own = field.metadata.get("flag") or _TRAINING_FLAGS.get(field.name) or Flag()
    return own if own.topic else replace(own, topic=_topic(field))


def default_of(field: Field[Any]) -> Any:
    """Its value where none is given."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def flag_name(field: Field[Any]) -> str:
    """What its flag and its key in a recipe are called."""
    return flag(field).name or field.name


def _topic(field: Field[Any]) -> str:
    """Of what names none: the part of the run that it belongs to."""
    part = next((part for part, cls in PARTS.items() if field.name in cls.__dataclass_fields__), HARDWARE)
    return OTHERS if field.name in OODConfig.__dataclass_fields__ else part


def run_fields() -> dict[str, tuple[str, Field[Any]]]:
    """Every option of a run by its flag -> the attribute of `RunSpec` that has it ("" for its own)."""
    found = {
        flag_name(field): (part, field) for part, cls in PARTS.items() for field in fields(cls) if field.init
    }
    found |= {flag_name(field): ("", field) for field in fields(RunSpec) if "help" in field.metadata}
    return found | {field.name: ("training", field) for field in fields(OODConfig) if field.init}


ALIASES = {alias: name for name, (_, field) in run_fields().items() for alias in flag(field).aliases}
