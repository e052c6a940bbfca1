"""NaN and infinity: refused as options, and never in a file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from transformers import TrainingArguments

from hf_ood.cli.arguments import parse_arguments
from hf_ood.errors import UsageError
from hf_ood.evaluation import save_results
from hf_ood.json_files import json_text
from hf_ood.methods.objectives import IRM
from hf_ood.methods.registry import METHODS, Method
from hf_ood.runs.sections import sections
from hf_ood.runs.settings import spec_from_settings
from hf_ood.trainer.checks import check_arguments
from hf_ood.trainer.environment_options import EnvironmentOptions

NUMBERS = [
    (section, name)
    for section, options in sections().items()
    for name, option in options.items()
    if isinstance(option.default, float)
]
TRAINING = (
    "learning_rate",
    "weight_decay",
    "max_grad_norm",
    "num_train_epochs",
    "warmup_steps",
    "label_smoothing_factor",
)


@pytest.mark.slow
def test_every_number_of_every_method_and_data_set_is_refused_where_it_is_none() -> None:
    assert {"irm", "groupdro", "mixup"} & {section for section, _ in NUMBERS}
    for section, name in NUMBERS:
        for value in (math.nan, math.inf, -math.inf):
            method = section if section in METHODS else "erm"
            with pytest.raises(ValueError, match="is not a finite number"):
                spec_from_settings({"method": method, section: {name: value}})


@pytest.mark.parametrize("name", TRAINING)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_training_arguments_too(name: str, value: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_arguments([f"--{name}={value}"])
    assert f"{name}: {value} is not a finite number" in raised.value.message


def test_in_python_too(tmp_path: Path) -> None:
    arguments = TrainingArguments(str(tmp_path), use_cpu=True)
    with pytest.raises(ValueError, match=r"irm.penalty_weight: nan"):
        check_arguments(arguments, EnvironmentOptions(), Method(IRM(penalty_weight=math.nan)))
    arguments.weight_decay = math.inf
    with pytest.raises(ValueError, match=r"weight_decay: inf"):
        check_arguments(arguments, EnvironmentOptions(), Method(IRM()))


def test_what_is_undefined_is_null_in_files(tmp_path: Path) -> None:
    value = {"a": math.nan, "b": [1.0, math.inf, {"c": -math.inf}], "d": (2, None, "NaN")}
    assert json.loads(json_text(value)) == {"a": None, "b": [1.0, None, {"c": None}], "d": [2, None, "NaN"]}
    save_results({"loss": math.nan, "history": [{"train_loss": math.inf}]}, tmp_path)
    text = (tmp_path / "results.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"loss": None, "history": [{"train_loss": None}]}
