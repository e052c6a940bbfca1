"""Flags, dotted flags, recipes, and the errors that name the nearest one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from documents import code_blocks

from hf_ood import register
from hf_ood.cli.arguments import parse_arguments
from hf_ood.errors import UsageError
from hf_ood.experiments.sweep.space import search_space
from hf_ood.methods.losses import CrossEntropy
from hf_ood.methods.objectives import OBJECTIVES
from hf_ood.methods.registry import METHODS, build_method
from hf_ood.runs.results import recorded_loss
from hf_ood.runs.settings import settings_of

ROOT = Path(__file__).parents[2]
RECIPES = [
    path for path in sorted((ROOT / "hf_ood" / "recipes").glob("*.yaml")) if "\narms:" not in path.read_text()
]  # studies have their own test


def write(folder: Path, text: str) -> str:
    (folder / "recipe.yaml").write_text(text)
    return str(folder / "recipe.yaml")


@pytest.mark.parametrize(
    ("flags", "recipe", "expected"),
    [
        ("--class_weights balanced", "", "balanced"),
        ("--class_weights 1,5", "", "1,5"),
        ("--class_weights 1 5", "", "1,5"),
        ("", "class_weights: balanced", "balanced"),
        ("", "class_weights: [1, 5]", "1,5"),
        ("", "loss: {class_weights: [1, 5]}", "1,5"),
        ("--class_weights 2,3", "class_weights: [1, 5]", "2,3"),
    ],
)
def test_class_weights_have_two_spellings(flags: str, recipe: str, expected: str, tmp_path: Path) -> None:
    config = ["--config", write(tmp_path, f"method: erm\n{recipe}\n")]
    arguments = parse_arguments([*config, *flags.split()])
    assert arguments.options == {"loss": {"class_weights": expected}}
    assert settings_of(arguments)["loss"] == {"class_weights": expected}  # the note has one spelling
    assert "class_weights" not in settings_of(arguments)


def test_class_weights_are_given_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError):
        parse_arguments(["--class_weights", "1,5", "--loss.class_weights", "balanced"])
    assert "class_weights and loss.class_weights are one option" in capsys.readouterr().err
    recipe = write(tmp_path, "loss: {class_weights: balanced}\n")
    assert parse_arguments(["--config", recipe, "--class_weights", "1,5"]).options["loss"] == {
        "class_weights": "1,5"  # flags override the recipe
    }


def test_flags_reach_their_places() -> None:
    arguments = parse_arguments(
        (
            "--method irm+rsc --irm.penalty_weight 7 --rsc.mask channel --irm.divisor 1 "
            "--lenet.edge_branch true --colored_mnist.correlations 0.9 0.8 --dataset_config "
            "background_shortcut --learning_rate 5e-4 --use_cpu true"
        ).split()
    )
    assert arguments.options == {
        "colored_mnist": {"correlations": [0.9, 0.8]},
        "irm": {"divisor": 1.0, "penalty_weight": 7.0},
        "lenet": {"edge_branch": True},
        "rsc": {"mask": "channel"},
    }
    assert arguments.training.learning_rate == 5e-4
    assert arguments.data.dataset_config == "background_shortcut"


def test_a_recipe_is_overridden_by_flags_and_its_numbers_are_numbers(tmp_path: Path) -> None:
    recipe = write(
        tmp_path,
        "method: irm\nlearning_rate: 5e-4\nuse_cpu: true\nnum_train_epochs: 2\nirm:\n  penalty_weight: 1e4\n"
        "  warmup_steps: 3\ncolored_mnist:\n  correlations: [0.95, 0.8]\nrsc: {drop_rate: 0.2}\n"
        'lr_scheduler_kwargs: {"num_cycles": 2}\nmax_train_samples: null\n',
    )
    arguments = parse_arguments(["--config", recipe, "--irm.warmup_steps", "9", "--num_train_epochs", "1"])
    assert arguments.options["irm"] == {"penalty_weight": 1e4, "warmup_steps": 9}
    assert arguments.options["colored_mnist"] == {"correlations": [0.95, 0.8]}
    assert "rsc" not in arguments.options  # a section of a method that is not used may stay in a recipe
    assert arguments.training.learning_rate == 5e-4
    assert arguments.training.num_train_epochs == 1
    assert arguments.training.lr_scheduler_kwargs == {"num_cycles": 2}


def test_the_loss_of_samples_is_a_section(tmp_path: Path) -> None:
    flags = "--loss.label_smoothing 0.1 --loss.class_weights balanced".split()
    assert parse_arguments(flags).options == {"loss": {"label_smoothing": 0.1, "class_weights": "balanced"}}
    recipe = write(tmp_path, "method: irm\nloss: {label_smoothing: 0.2, class_weights: '1,4'}\n")
    arguments = parse_arguments(["--config", recipe])
    assert CrossEntropy(**arguments.options["loss"]) == CrossEntropy(0.2, (1.0, 4.0))
    assert recorded_loss(arguments) == {
        "loss": {
            **{"name": "cross_entropy", "label_smoothing": 0.2},
            **{"class_weights": (1.0, 4.0), "effective_beta": 0.9999},
        }
    }
    assert recorded_loss(parse_arguments([])) == {}


@pytest.mark.parametrize(("flag", "value"), [("irm.warmup_steps", 0.25), ("eqrm.burn_in_steps", 7)])
def test_a_warmup_is_a_share_or_a_number_of_steps(flag: str, value: float, tmp_path: Path) -> None:
    method, _, option = flag.partition(".")
    recipe = write(tmp_path, f"method: {method}\n{method}: {{{option}: {value}}}\n")
    for given in (["--method", method, f"--{flag}", str(value)], ["--config", recipe]):
        assert parse_arguments(given).options == {method: {option: value}}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--irm.penalty_wieght 3 --method irm", "Did you mean 'irm.penalty_weight'?"),
        ("--learning_rat 1", "Did you mean 'learning_rate'?"),
        ("--method irn", "Did you mean 'irm'?"),
        ("--rsc.drop_rate 0.2", "--rsc.drop_rate has no effect with --method erm"),
        ("--num_train_epochs many", "invalid float value: 'many'"),
        ("--config", "--config needs a file"),
        ("--config nowhere.yaml", "There is no recipe nowhere.yaml"),
        ("--environment_proportions equl", "'equal', 'groups', 'classes' or 'natural'"),
    ],
)
def test_a_wrong_command_line_says_what_to_do(
    flags: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError) as error:
        parse_arguments(flags.split())
    assert error.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methd: irm", "Did you mean 'method'?"),
        ("irm: {penalty_weigth: 2}\nmethod: irm", "Did you mean 'irm.penalty_weight'?"),
        ("imr: {penalty_weight: 2}", "Did you mean 'irm'?"),
        ("method: [", "is not valid YAML"),
        ("- method", "must hold `flag: value` lines"),
    ],
)
def test_a_wrong_recipe_says_what_to_do(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError):
        parse_arguments(["--config", write(tmp_path, text)])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_in_the_repository_parses(recipe: Path) -> None:
    arguments = parse_arguments(["--config", str(recipe)])
    for stage in arguments.stages.values() or [arguments]:
        build_method(stage.method.name, stage.options)


def test_a_method_in_a_script_of_ones_own() -> None:
    """The script of docs/extending.md, imported as workers of a sweep import it."""
    (script,) = code_blocks("extending.md", "python")
    try:
        exec(script, {"__name__": "__mp_main__"})
        arguments = parse_arguments(["--method", "risk_range+sam", "--risk_range.weight", "3"])
        objective = build_method(arguments.method.name, arguments.options).objective
        totals = {"count": torch.tensor([2.0, 0.0, 4.0]), "loss": torch.tensor([2.0, 0.0, 8.0])}
        assert objective.loss(totals, 0)[0] == 1.5 + 3 * 1
        assert "risk_range.weight" in search_space("risk_range")
        with pytest.raises(ValueError, match="a word in lower case that no method has, not 'risk_range'"):
            register(type(objective))
    finally:
        METHODS.pop("risk_range", None)
        OBJECTIVES.pop("risk_range", None)
    with pytest.raises(ValueError, match="int is no method: it must be a dataclass"):
        register(int)


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_arguments(["--help", "all"])
    assert not ended.value.code
    shown = capsys.readouterr().out
    text = " ".join(shown.split())
    for topic in ("data:", "training:", "hardware:", "dataset colored_mnist:", "model lenet:"):
        assert topic in shown
    for name, method in METHODS.items():
        assert (f"method {name}:" in shown) == bool(
            [field for field in method.__dataclass_fields__.values() if field.metadata]
        )
    assert "Initial learning rate (DomainBed: 1e-3). (default: 0.001)" in text
    assert "--hub_token str" in text
