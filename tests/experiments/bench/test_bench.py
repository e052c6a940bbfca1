"""A bench of one's own recipe: whole, interrupted and resumed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml
from small_bench import ENVIRONMENTS, flags, write_recipe

from hf_ood.cli import bench as command
from hf_ood.cli.bench import main
from hf_ood.experiments.bench.configuration import default_names, find, named_configurations, read
from hf_ood.experiments.bench.kept import CHOICES_FILE
from hf_ood.experiments.bench.plan import make_bench
from hf_ood.runs.settings import spec_from_settings


def choices(folder: Path, budget: str = "quick") -> pd.DataFrame:
    return pd.read_csv(folder / "out" / budget / "mine" / CHOICES_FILE)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    write_recipe(folder)
    assert main(flags(folder)) == 0
    return folder


@pytest.mark.slow
def test_a_users_recipe_gets_the_whole_treatment(whole: Path) -> None:
    table = choices(whole)
    assert set(table["method"]) == {"erm", "vrex", "own environment"}
    assert set(table["held_out"]) == set(ENVIRONMENTS) and set(table["seed"]) == {0, 1}
    assert (
        len(table) == 2 * 4 * 2 * 2 + 4 * 2
    )  # methods, environments, seeds, protocols; the environments alone
    assert (whole / "out" / "quick" / "leaderboard.html").exists()
    assert "## mine" in (whole / "out" / "quick" / "leaderboard.md").read_text()


@pytest.mark.slow
def test_a_finished_bench_is_not_repeated(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = choices(whole)
    assert main(flags(whole)) == 0
    assert "[1/" not in capsys.readouterr().out
    pd.testing.assert_frame_equal(choices(whole), before)


@pytest.mark.slow
def test_an_interrupted_bench_goes_on(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recipe(tmp_path)
    follow, rounds = command.follow, []

    def interrupted(*arguments):  # type: ignore[no-untyped-def]
        if rounds:
            raise KeyboardInterrupt
        rounds.append(1)
        return follow(*arguments)

    monkeypatch.setattr(command, "follow", interrupted)
    with pytest.raises(SystemExit):
        main(flags(tmp_path))
    assert "the same command goes on" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(flags(tmp_path)) == 0
    columns = ["method", "held_out", "seed", "protocol", "score", "accuracy"]
    pd.testing.assert_frame_equal(choices(tmp_path)[columns], choices(whole)[columns])


@pytest.mark.slow
def test_a_dry_run_counts_and_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_recipe(tmp_path)
    assert main(flags(tmp_path, "--dry_run", "--budget", "full", "--trials", "3")) == 0
    shown = capsys.readouterr().out
    # 4 environments held out and 6 pairs for each method, 4 alone; 3 trials, 2 seeds
    assert (
        f"mine: 2 methods, 4 environments, leave-one-out, 3 trials, seeds 0 to 1: {24 * 3 * 2} trainings"
        in shown
    )
    assert "trainings in all, about" in shown
    assert not (tmp_path / "out").exists()


def test_the_packages_configurations_are_recipes() -> None:
    assert default_names() == ["digit_sources", "emoji_styles", "flight_delays", "rated_genres"]
    for file in named_configurations().values():
        configuration = read(file)
        assert configuration.section.title
        for budget in ("quick", "full"):
            spec = spec_from_settings(configuration.with_budget(budget))
            assert spec.training.per_device_train_batch_size and spec.training.eval_strategy == "no"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"bench": {"tittle": "x"}}, "line 2: Unknown key 'tittle'. Did you mean 'title'?"),
        ({"bench": {"quick": {"trials": "many"}}}, "bench.quick.trials"),
        ({"test_environments": ["south"]}, "leave test_environments out"),
    ],
)
def test_mistakes_in_a_recipe_are_told(tmp_path: Path, more: dict, told: str) -> None:
    with pytest.raises(ValueError, match=r"mine\.yaml") as error:
        read(write_recipe(tmp_path, **more))
    assert told in str(error.value)


def test_what_is_no_name_and_no_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Did you mean 'emoji_styles'"):
        find("emoji_style")
    with pytest.raises(SystemExit):
        main(["--from_results", "--trials", "3"])


def test_methods_arms_and_what_cannot_go(tmp_path: Path) -> None:
    arms = {"balanced": {"method": "erm", "class_weights": "balanced"}, "no_such": {"method": "mixstyle"}}
    recipe = write_recipe(tmp_path, bench={"arms": arms}, validation=["south"])
    settings = yaml.safe_load(recipe.read_text())
    with pytest.raises(ValueError, match="give a share"):
        make_bench(read(recipe), "quick", None, 1, range(1), folds=False)
    del settings["validation"]
    recipe.write_text(yaml.safe_dump(settings))
    bench = make_bench(read(recipe), "full", ["vrex", "balanced"], 2, range(5, 8), folds=True)
    assert bench.methods == ["erm", "vrex", "balanced"] and len(bench.plan.protocols) == 3
    run = bench.plan.runs("balanced", {}, "south", 5)[None]
    assert run.settings["loss"] == {"class_weights": "balanced"} and run.settings["method"] == "erm"
    assert run.settings["test_environments"] == ["south"] and run.arm == "balanced without south"
    alone = bench.own.runs("erm", {}, "south", 5)[None]
    assert alone.settings["train_environments"] == ["south"] and len(alone.settings["test_environments"]) == 3
    with pytest.raises(ValueError, match="Unknown method 'vrexx'"):
        make_bench(read(recipe), "full", ["vrexx"], 1, range(1), folds=False)
