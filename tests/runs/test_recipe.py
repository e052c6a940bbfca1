"""Recipes and settings: types, lines in errors, and the way back from a run to its settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_ood import OODConfig
from hf_ood.resources import BENCH, RECIPES, recipe_file
from hf_ood.runs import DataSpec, MethodSpec, RunSpec, read_recipe, run
from hf_ood.runs.settings import comparable_settings, settings_of

OWN = [file for file in sorted(RECIPES.glob("*.yaml")) if "\narms:" not in file.read_text()]


def recipe(folder: Path, text: str) -> Path:
    (folder / "own.yaml").write_text(text)
    return folder / "own.yaml"


def test_values_are_what_their_types_say(tmp_path: Path) -> None:
    spec = read_recipe(
        recipe(
            tmp_path,
            "method: irm\nlearning_rate: 1e-4\nsave_total_limit: null\nenvironment_column: site\n"
            "validation: 0.2\nirm: {penalty_weight: 10}\nload_best_model_at_end: false\n",
        )
    ).spec()
    assert spec.training.learning_rate == 1e-4 and spec.training.save_total_limit is None
    assert spec.data.environment_column == ["site"] and spec.data.validation == ["0.2"]
    assert spec.options == {"irm": {"penalty_weight": 10.0}}
    assert spec.training.load_best_model_at_end is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method: irm\nlearning_rate: fast\n", "own.yaml, line 2: learning_rate: 'fast' will not do"),
        ("method: irm\n\nirm:\n  l2: many\n", "own.yaml, line 4: irm.l2: 'many' will not do"),
        ("method: erm\nseed: 1\nmethod: irm\n", "own.yaml, line 3: method was given in line 1 already"),
        ("irm:\n  l2: 1\n  l2: 2\n", "own.yaml, line 3: l2 was given in line 2 already"),
        ("method: irm\nirm:\n\tl2: 1\n", "own.yaml, line 3 is not valid YAML"),
        ("seed: null\n", "own.yaml, line 1: seed: None will not do"),
        ("in_memory: sometimes\n", "own.yaml, line 1: in_memory: 'sometimes' will not do"),
        ("irm: 3\n", "own.yaml, line 1: irm is a section"),
        ("model: lenet\nmodel_name_or_path: mlp\n", "model_name_or_path and model are one option"),
        (
            "stages:\n- name: first\n- name: second\n  learning_rate: fast\n",
            "own.yaml, line 4: stage 'second': learning_rate: 'fast' will not do",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as told:
        read_recipe(recipe(tmp_path, text)).spec()
    assert message in str(told.value)


def test_only_a_name_that_is_near_is_suggested() -> None:
    with pytest.raises(ValueError, match="Did you mean 'learning_rate'") as near:
        RunSpec.from_settings({"lerning_rate": 1})
    assert near.value.path == ("lerning_rate",)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"Unknown key 'patience_of_a_saint'\.$"):
        RunSpec.from_settings({"patience_of_a_saint": 3})


@pytest.mark.parametrize("file", OWN, ids=lambda file: file.stem)
def test_a_runs_settings_make_the_same_run_again(file: Path) -> None:
    settings = comparable_settings(read_recipe(file).spec())
    assert comparable_settings(RunSpec.from_settings(settings)) == settings


def test_a_stage_may_go_back_to_a_default() -> None:
    spec = RunSpec.from_settings(
        {"learning_rate": 0.5, "stages": [{"name": "a"}, {"name": "b", "learning_rate": 0.001}]}
    )
    again = RunSpec.from_settings(settings_of(spec))
    assert [stage.training.learning_rate for stage in again.stages.values()] == [0.5, 0.001]


def test_a_spec_made_in_python_is_that_of_its_settings() -> None:
    made = RunSpec(DataSpec("linear_unit_tests"), method=MethodSpec("vrex"))
    assert settings_of(made) == {"dataset": "linear_unit_tests", "method": "vrex"}
    assert made.data.configuration == "default"


def test_a_recipe_is_found_by_its_name_and_by_its_old_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert recipe_file("quickstart") == RECIPES / "quickstart.yaml"
    assert recipe_file("trainers/recipes/quickstart.yaml") == RECIPES / "quickstart.yaml"
    assert recipe_file("bench/emoji_styles") == BENCH / "emoji_styles.yaml"
    own = recipe(tmp_path, "method: irm\n")
    assert recipe_file(own) == own
    with pytest.raises(ValueError, match="Did you mean 'quickstart'"):
        recipe_file("quikstart")
    assert RunSpec.from_recipe("quickstart").method.name == "irm+rsc"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"irm": {"penalty_weight": 10.0}}, r"options\['irm'\] has no effect: the run has options of .*erm"),
        ({"lenet": {"instance_nrm": True}}, "Did you mean 'lenet.instance_norm'"),
        ({"lenet": {"instance_norm": "perhaps"}}, "lenet.instance_norm: 'perhaps' will not do"),
    ],
)
def test_options_of_a_spec_made_in_python_are_checked_too(
    options: dict[str, dict[str, object]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        run(RunSpec(training=OODConfig(str(tmp_path / "run"), use_cpu=True), options=options))
    assert not (tmp_path / "run").exists()


def test_what_was_given_is_told_without_making_other_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    training = OODConfig("runs/mine", use_cpu=True, eval_strategy="no", learning_rate=0.5)
    training.max_steps = 7
    monkeypatch.setattr(OODConfig, "__post_init__", lambda self: pytest.fail("processes are set up anew"))
    assert settings_of(RunSpec(training=training)) == {
        "output_dir": "runs/mine",
        "use_cpu": True,
        "eval_strategy": "no",
        "learning_rate": 0.5,
        "max_steps": 7,
    }
