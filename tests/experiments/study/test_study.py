"""Reading studies, and the runs they stand for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from hf_ood.cli.arguments import parse_arguments
from hf_ood.experiments.keyed_run import used
from hf_ood.experiments.study import Claim, Study, load_study, study_files, summarize
from hf_ood.experiments.study.study import BUDGETS
from hf_ood.experiments.study.table import COLUMNS, measure
from hf_ood.reporting.study_figure import draw_study
from hf_ood.runs.settings import merge

RECIPES = Path(__file__).parents[3] / "hf_ood" / "recipes"
STUDY = Study(
    "colours",
    "A title",
    arms={"ERM": {"method": "erm"}, "IRM": {"method": "irm", "irm": {"penalty_weight": 5.0}}},
    settings={"irm": {"warmup_steps": 3}, "learning_rate": 0.01},
    budgets={"quick": {"max_steps": 3, "seeds": 2}},
)


@pytest.mark.slow
@pytest.mark.parametrize("name", study_files(RECIPES))
@pytest.mark.parametrize("budget", BUDGETS)
def test_every_run_of_every_study_is_a_valid_recipe(name: str, budget: str, tmp_path: Path) -> None:
    study = load_study(RECIPES / f"{name}.yaml")
    runs = study.runs(budget, seeds=1)
    assert [run.arm for run in runs] == list(study.arms)
    for run in runs:
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(yaml.safe_dump(run.recipe(tmp_path)))
        arguments = parse_arguments(["--config", str(recipe)])
        assert arguments.training.seed == 0
        assert arguments.options[arguments.data.dataset]["seed"] == 0
    assert set(study.report) <= set(study.arms)


def test_full_studies_have_at_least_five_seeds() -> None:
    for name in study_files(RECIPES):
        study = load_study(RECIPES / f"{name}.yaml")
        assert len(study.runs("full")) >= 5 * len(study.arms)


def test_a_run_merges_settings_budget_and_arm() -> None:
    runs = STUDY.runs("quick")
    assert [(run.arm, run.seed) for run in runs] == [("ERM", 0), ("IRM", 0), ("ERM", 1), ("IRM", 1)]
    expected = {"warmup_steps": 3, "penalty_weight": 5.0}
    assert runs[1].settings["irm"] == expected and runs[1].settings["max_steps"] == 3
    assert runs[2].recipe(Path("root"))["colored_mnist"] == {"seed": 1}
    assert merge({"a": {"x": 1}}, {"a": {"y": 2}}) == {"a": {"x": 1, "y": 2}}
    assert [run.seed for run in STUDY.runs("quick", seeds=3, only=["IRM"])] == [0, 1, 2]


def test_the_key_changes_with_everything_that_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    quick, full = STUDY.runs("quick"), STUDY.runs("full")
    keys = [run.key for run in quick + full]
    assert len(set(keys)) == len(keys)
    assert keys == [run.key for run in STUDY.runs("quick") + STUDY.runs("full")]
    monkeypatch.setattr("hf_ood.runs.origin.code_hash", lambda: "an edited line in irm.py")
    assert not set(keys) & {run.key for run in quick + full}


RESULTS = {
    "environments": {"random": {"accuracy": 0.6}, "test/random": {"accuracy": 0.55}},
    "mean_accuracy": 0.6,
    "stages": [{"name": "pretrain", "mean_accuracy": 0.7, "environments": {"random": {"accuracy": 0.71}}}],
}


def test_a_measure_may_be_a_stages() -> None:
    names = ("mean_accuracy", "random", "test/random", "pretrain/mean_accuracy", "pretrain/random")
    assert [measure(RESULTS, name) for name in names] == [0.6, 0.6, 0.55, 0.7, 0.71]
    without = {name: value for name, value in RESULTS.items() if name != "stages"}
    assert measure(without, "pretrain/mean_accuracy") is None
    for wrong in ("pretrian/mean_accuracy", "pretrain/meen_accuracy", "rendom"):
        with pytest.raises(ValueError, match="Unknown measure"):
            measure(RESULTS, wrong)


def test_a_claim_may_compare_two_measures_of_one_arm() -> None:
    before, after = "pretrain/mean_accuracy", "mean_accuracy"
    claim = Claim("harms", better="VAE", measure=before, than="VAE", than_measure=after)
    stages = [{"name": "pretrain"}, {"name": "finetune"}]
    study = replace(
        STUDY, arms={"VAE": {"stages": stages}, "LeNet": {}}, measures=[before, after], claims=[claim]
    )
    values = {
        ("VAE", before): (70.0, 72.0, 71.0),
        ("VAE", after): (60.0, 63.0, 61.0),
        ("LeNet", after): (1, 2, 3),
    }
    rows = [
        ("colours", arm, seed, name, value, "settings", "key", "commit", 1.0)
        for (arm, name), seeds in values.items()
        for seed, value in enumerate(seeds)
    ]
    summary = summarize(study, pd.DataFrame(rows, columns=COLUMNS), "quick", Path("nowhere"))
    assert summary.claims[0].measure == "pretrain/mean_accuracy - mean_accuracy"
    assert (summary.claims[0].better, summary.claims[0].than) == ("VAE after pretrain", "VAE after finetune")
    assert summary.claims[0].difference.mean == pytest.approx(29 / 3)
    assert summary.claims[0].verdict == "holds"
    assert [set(row.measures) for row in summary.rows] == [{before, after}, {after}]
    draw_study(summary)


def test_stages_survive_merging_and_yaml() -> None:
    stages = [{"name": "a", "irm": {"l2": 0.1}}, {"name": "b", "trainable": ["head.*"]}]
    (run,) = replace(STUDY, arms={"two": {"stages": stages}}).runs("quick", seeds=1)
    assert yaml.safe_load(yaml.safe_dump(run.recipe(Path("root"))))["stages"] == stages
    sections = {"stages": [{"name": "a", "method": "vrex"}], "vrex": {"l2": 0.1}, "rsc": {"mask": "channel"}}
    assert used(sections) == {name: sections[name] for name in ("stages", "vrex")}


def test_unknown_names_are_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Did you mean 'IRM'"):
        STUDY.runs("quick", only=["IRN"])
    file = tmp_path / "study.yaml"
    wrong_claim = {"text": "", "better": "ERN", "than": "ERM"}
    other_measure = {"text": "", "better": "ERM", "than": "ERM", "than_measure": "worst"}
    not_measured = {"text": "", "better": "ERM", "than": "ERM", "measure": "mean_acuracy"}
    for content, message in (
        ({"title": "x", "armz": {}}, "Did you mean 'arms'"),
        ({"arms": {}}, "lacks 'title'"),
        ({"title": "x", "arms": {"ERM": {}}, "claims": [wrong_claim]}, "'ERM'"),
        ({"title": "x", "arms": {"ERM": {}}, "claims": [not_measured]}, "Did you mean 'mean_accuracy'"),
        ({"title": "x", "arms": {"ERM": {}}, "claims": [other_measure]}, "Unknown measure 'worst'"),
    ):
        file.write_text(yaml.safe_dump(content))
        with pytest.raises(ValueError, match=message):
            load_study(file)


def test_less_is_better_of_a_squared_error() -> None:
    results = {"mean_squared_error": 11.5, "environments": {"a": {"squared_error": 11.5, "count": 9}}}
    assert measure(results, "mean_squared_error") == 11.5
    assert measure(results, "mean_accuracy") is None and measure(results, "validation_accuracy") is None
    claim = Claim("helps", better="IRM", than="ERM", measure="mean_squared_error")
    study = replace(STUDY, measures=["mean_squared_error", "mean_accuracy"], claims=[claim])
    values = {"ERM": (13.0, 14.0, 13.5), "IRM": (11.0, 11.5, 11.2)}
    rows = [
        ("colours", arm, seed, "mean_squared_error", value, "settings", "key", "commit", 1.0)
        for arm, seeds in values.items()
        for seed, value in enumerate(seeds)
    ]
    summary = summarize(study, pd.DataFrame(rows, columns=COLUMNS), "quick", Path("nowhere"))
    assert summary.claims[0].difference.mean == pytest.approx(6.8 / 3)
    assert summary.claims[0].verdict == "holds"
    assert [set(row.measures) for row in summary.rows] == [{"mean_squared_error"}] * 2
    panel, empty = draw_study(summary).axes
    assert panel.get_xlabel() == "mean squared error" and empty.get_xlabel() == "mean accuracy (%)"


def rows_of(values: dict[tuple[str, str], tuple[float, ...]]) -> pd.DataFrame:
    rows = [
        ("colours", arm, seed, name, value, "settings", "key", "commit", 1.0)
        for (arm, name), seeds in values.items()
        for seed, value in enumerate(seeds)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_the_studys_margin_decides_what_is_no_difference_and_a_claim_may_have_its_own() -> None:
    claims = [Claim("a", "IRM", "ERM"), Claim("b", "IRM", "ERM", margin=0.05)]
    study = replace(STUDY, claims=claims, margin=3.0)
    table = rows_of(
        {("ERM", "mean_accuracy"): (70.0, 72.0, 71.0), ("IRM", "mean_accuracy"): (70.5, 71.5, 71.2)}
    )
    first, second = summarize(study, table, "quick", Path("nowhere")).claims
    assert (first.margin, first.verdict) == (3.0, "no difference")
    assert (second.margin, second.verdict) == (0.05, "inconclusive")
    assert second.seeds_needed is None or second.seeds_needed > 3


def test_every_printed_figure_is_beside_ours_whoever_prints_it() -> None:
    study = replace(
        STUDY,
        report={"ERM": {"mean_accuracy": 71.5}, "IRM": {"mean_accuracy": 90.0, "worst_accuracy": 1.0}},
        also_printed={"its authors": {"ERM": {"mean_accuracy": 50.0}}},
    )
    table = rows_of(
        {("ERM", "mean_accuracy"): (70.0, 72.0, 71.0), ("IRM", "mean_accuracy"): (70.5, 71.5, 71.2)}
    )
    found = summarize(study, table, "quick", Path("nowhere")).printed
    assert [(row.source, row.arm, row.place) for row in found] == [
        ("report", "ERM", "matches"),
        ("report", "IRM", "below"),
        ("its authors", "ERM", "above"),
    ]
    assert found[2].difference == pytest.approx(21.0)


def test_an_environment_that_a_run_left_out_chooses(tmp_path: Path) -> None:
    content = {
        "title": "x",
        "arms": {"weak": {"irm": {"penalty_weight": 1.0}}, "strong": {"irm": {"penalty_weight": 9.0}}},
        "settings": {"method": "irm"},
        "selection": {
            "groups": {"IRM": ["weak", "strong"]},
            "rules": {"leave one out": "left_out", "oracle": "mean_accuracy"},
            "leave_out": ["red", "green"],
            "left_out_groups": ["IRM"],
        },
        "budgets": {"quick": {"max_steps": 9, "left_out": {"max_steps": 5}}},
    }
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(content))
    study = load_study(file)
    folds = [
        "weak, left out: red",
        "weak, left out: green",
        "strong, left out: red",
        "strong, left out: green",
    ]
    assert sorted(study.arms) == sorted(["weak", "strong", *folds])
    run = next(run for run in study.runs("quick", 1) if run.arm == "strong, left out: red")
    assert run.settings["train_environments"] == ["green"] and run.settings["test_environments"] == ["red"]
    assert run.settings["irm"] == {"penalty_weight": 9.0} and run.settings["max_steps"] == 5
    assert "left_out" not in run.settings and study.runs("quick", 1)[0].settings["max_steps"] == 9
    values = {("weak", "mean_accuracy"): (20.0, 22.0), ("strong", "mean_accuracy"): (60.0, 62.0)}
    values |= {(fold, "mean_accuracy"): (90.0 - place, 91.0) for place, fold in enumerate(folds)}
    choices = {choice.rule: choice for choice in summarize(study, rows_of(values), "quick", tmp_path).choices}
    assert (choices["leave one out"].arm, choices["leave one out"].value.mean) == ("weak", 21.0)
    assert choices["oracle"].arm == "strong"
    del values[folds[3], "mean_accuracy"]  # not all folds are there yet
    choices = {choice.rule: choice for choice in summarize(study, rows_of(values), "quick", tmp_path).choices}
    assert set(choices) == {"oracle"}
    content["selection"]["left_out_groups"] = ["IRN"]
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match="Unknown group 'IRN'"):
        load_study(file)
    content["selection"] |= {"leave_out": [], "left_out_groups": []}
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match="Unknown measure 'left_out'"):
        load_study(file)


def test_the_papers_methods_have_their_own_published_settings_and_share_runs_with_their_selection() -> None:
    noise, chosen = (
        load_study(RECIPES / f"{name}.yaml") for name in ("label_noise", "label_noise_selection")
    )
    arms = {run.arm: run for run in noise.runs("full", 1)}
    single = [run for arm, run in arms.items() if "two logits" not in arm]
    assert len(single) == 5 and all(run.settings["mlp"]["single_logit"] for run in single)
    grey, erm = arms["grey-scale oracle"].settings, arms["ERM"].settings
    assert (grey["mlp"]["hidden_size"], grey["max_steps"], grey["learning_rate"]) == (83, 101, 0.00282)
    assert (erm["mlp"]["hidden_size"], erm["max_steps"], erm["learning_rate"]) == (256, 501, 0.001)
    shared = {run.settings_key for run in single} & {run.settings_key for run in chosen.runs("full", 1)}
    assert len(shared) == 3  # ERM, IRM, EIIL then IRM
