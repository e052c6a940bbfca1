"""Sweeps from the command line: whole, killed and resumed, shared by two processes, in PostgreSQL."""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import PIL.Image
import pytest
import yaml
from datasets import ClassLabel, Dataset, Features, Image
from page_numbers import looked_up

from hf_ood import SD, OODConfig
from hf_ood.cli.dossier import main as dossier
from hf_ood.cli.sweep import main
from hf_ood.errors import UsageError
from hf_ood.evaluation.results import load_results
from hf_ood.experiments.sweep.choices import CANDIDATES_FILE, CHOICES_FILE
from hf_ood.experiments.sweep.report import COST_FILE, RECIPES, TABLE_FILE
from hf_ood.experiments.sweep.space import search_space
from hf_ood.experiments.sweep.trials import Trials, open_storage
from hf_ood.json_files import read_object

RECIPE = {
    "per_device_train_batch_size": 36,
    "max_steps": 4,
    "eval_strategy": "no",
    "save_strategy": "no",
    "use_cpu": True,
    "model": "mlp",
    "mlp": {"hidden_size": 8, "image_size": 8, "stride": 1},
}


def write_data(folder: Path) -> None:
    """Three training environments and one of the test split, of 60 images of 8x8 each."""
    random = np.random.default_rng(0)
    names = ClassLabel(names=["north", "east", "west", "south"])
    features = Features(image=Image(), label=ClassLabel(names=["dark", "bright"]), environment=names)
    for split, environments in (("train", (0, 1, 2)), ("validation", (0, 1, 2)), ("test", (3,))):
        rows: dict[str, list] = {"image": [], "label": [], "environment": []}
        for environment in environments:
            for label in random.integers(0, 2, 60):
                pixels = random.integers(0, 100, (8, 8, 3)) + 60 * label + 20 * environment
                rows["image"].append(PIL.Image.fromarray(pixels.astype(np.uint8)))
                rows["label"].append(label)
                rows["environment"].append(environment)
        Dataset.from_dict(rows, features=features).to_parquet(folder / "data" / f"{split}.parquet")


def flags(folder: Path, *more: str, trials: int = 2) -> list[str]:
    recipe = folder / "recipe.yaml"
    if not recipe.exists():
        write_data(folder)
        recipe.write_text(yaml.safe_dump({**RECIPE, "dataset_name": str(folder / "data")}))
    return [
        "--config", str(recipe), "--methods", "erm", "sd", "--trials", str(trials), "--seeds", "2",
        "--held_out", "north", "--executor", "in_process",
        "--runs_dir", str(folder / "runs"), "--results_dir", str(folder / "out"), *more,
    ]  # fmt: skip


def candidates(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "out" / "sweep" / CANDIDATES_FILE)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted sweep by one process."""
    folder = tmp_path_factory.mktemp("plain")
    assert main(flags(folder)) == 0
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One trial, two environments held out in turn, all protocols."""
    folder = tmp_path_factory.mktemp("whole")
    more = ("--held_out", "north", "west", "--protocols", "validation", "leave_one_out", "east", "oracle")
    assert main(flags(folder, *more, trials=1)) == 0
    return folder


@pytest.mark.slow
def test_a_sweep_leaves_tables_recipes_and_costs(whole: Path) -> None:
    table = candidates(whole)
    assert len(table) == 2 * 2 * 2 * 4  # methods, held out, seeds, protocols
    assert table["accuracy"].between(0, 1).all()
    assert set(table.loc[table["oracle"], "protocol"]) == {"oracle"}
    text = (whole / "out" / "sweep" / TABLE_FILE).read_text()
    assert "🟥 oracle" in text and "± " in text and "average" in text
    assert "| learning_rate | 3.162e-05 | 0.003162 | logarithm | DomainBed, small images |" in text
    assert text.index("training-environment") < text.index("oracle")
    costs = pd.read_csv(whole / "out" / "sweep" / COST_FILE, index_col=0)
    # 3 pairs of environments and 2 held-out ones, with 2 seeds: pairs are shared
    assert costs["runs"].tolist() == [10, 10]
    assert (costs["CPU seconds"] > 0).all()
    for file in (whole / "out" / "sweep" / RECIPES).iterdir():
        recipe = yaml.safe_load(file.read_text())
        assert recipe["test_environments"] == [file.stem.split("-")[-1]]
        assert set(recipe["train_environments"]).isdisjoint(recipe["test_environments"])


@pytest.mark.slow
def test_every_number_of_its_dossier_is_in_the_sweep(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep, out = whole / "out" / "sweep", ["--output_dir", str(tmp_path / "dossier")]
    choices = read_object(sweep / CHOICES_FILE)
    for more in ([], ["--method", "sd", "--protocol", "validation environment east"]):
        (page,) = dossier(["--sweep", str(sweep), *more, *out])
        assert looked_up(page, {CHOICES_FILE: choices}) >= 16
    assert choices["classes"] == ["dark", "bright"] and "dark, bright" in page.read_text()
    assert "Not known here: confidence against accuracy; accuracy of each class" in page.read_text()
    table = candidates(whole).set_index(["method", "held_out", "trial", "seed", "protocol"])
    for line in choices["choices"]:
        results = load_results(whole / "runs" / line["run"])
        trained_on = {"north", "east", "west"} - {line["held_out"]}
        if line["protocol"] == "validation environment east":  # its run does without east too
            trained_on -= {"east"}
        assert set(results["trained_environments"]) == trained_on
        (entry,) = line["tested"].values()
        assert entry == results["environments"][line["held_out"]] and entry["count"] == 120
        own = table.loc[tuple(line[name] for name in table.index.names)]
        assert own["accuracy"] == pytest.approx(entry["accuracy"], abs=1e-6)
        assert own["score"] == pytest.approx(line["score"], abs=1e-6)
    (sweep / CHOICES_FILE).rename(sweep / "away.json")
    with pytest.raises(UsageError):
        dossier(["--sweep", str(sweep), *out])
    assert "Repeat the command of hf-ood sweep" in capsys.readouterr().err
    (sweep / "away.json").rename(sweep / CHOICES_FILE)
    with pytest.raises(UsageError):
        dossier(["--sweep", str(whole / "out"), *out])
    assert "several sweeps: name one of them, sweep" in capsys.readouterr().err


@pytest.mark.slow
def test_a_finished_sweep_is_not_repeated_and_more_trials_go_on(
    plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = candidates(plain)
    assert main(flags(plain)) == 0
    shown = capsys.readouterr().out
    assert "[1/" not in shown and "ORACLE" in shown
    assert main(flags(plain, trials=3)) == 0
    after = candidates(plain)
    assert set(after["trial"]) == {0, 1, 2}
    pd.testing.assert_frame_equal(after[after["trial"] < 2].reset_index(drop=True), before)


def test_the_first_trial_has_the_defaults_and_no_other_is_drawn_twice(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/s.db")
    for sampler in ("random", "tpe"):
        trials = Trials(sampler, storage, sampler, "none", tmp_path / "locks")
        drawn = []
        for wanted in (1, 2, 3, 4):  # a round each, as with one worker
            (taken,) = trials.take_up(
                "sd", "north", wanted, at_once=1, space=search_space("sd", {"max_steps": 4})
            )
            trials.tell(taken, 0.5)
            drawn.append(taken.values)
        assert drawn[0]["sd.penalty_weight"] == SD().penalty_weight
        assert drawn[0]["learning_rate"] == OODConfig.learning_rate
        assert len({values["learning_rate"] for values in drawn}) == 4
        first = trials.ended("sd", "north")[0]
        assert first.params == drawn[0]  # so that TPE learns from it


@pytest.mark.slow
def test_the_command_of_a_sweeps_run_repeats_it_as_printed(plain: Path, tmp_path: Path) -> None:
    file = sorted((plain / "runs").glob("*/results.json"))[0]
    results = json.loads(file.read_text())
    program, *arguments = shlex.split(results["command"])
    assert program == "hf-ood" and arguments[0] == "train"
    again = [sys.executable, "-m", "hf_ood", *arguments, "--output_dir", str(tmp_path / "again")]
    shown = subprocess.run(
        again, capture_output=True, text=True, cwd=plain
    )  # it names no folder above the data
    assert shown.returncode == 0, shown.stderr
    repeated = json.loads((tmp_path / "again" / "results.json").read_text())
    assert repeated["environments"] == results["environments"]
    card = (file.parent / "README.md").read_text()
    assert results["command"] in card


@pytest.mark.parametrize("held_out", [[], ["west"], ["north", "west"]])
def test_a_recipe_that_holds_environments_out_itself_names_the_ways_out(
    held_out: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = flags(tmp_path)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "test_environments: [west]\n")
    start = given.index("--held_out")
    given[start : start + 2] = ["--held_out", *held_out] if held_out else []
    with pytest.raises(SystemExit):
        main(given)
    told = capsys.readouterr().err
    assert "has test_environments: west" in told and "--held_out test_split" in told


def test_the_recipes_own_test_environments_may_be_what_is_held_out(tmp_path: Path) -> None:
    given = flags(tmp_path, "--methods", "erm", "--held_out", "test_split", "--seeds", "1", trials=1)
    recipe = tmp_path / "recipe.yaml"
    content = yaml.safe_load(recipe.read_text())
    table = tmp_path / "data" / "train.parquet"  # one table without a test split
    recipe.write_text(yaml.safe_dump({**content, "dataset_name": str(table), "test_environments": ["west"]}))
    assert main(given) == 0
    (written,) = (tmp_path / "out" / "sweep" / RECIPES).iterdir()
    recipe_of_best = yaml.safe_load(written.read_text())
    assert recipe_of_best["test_environments"] == ["west"]
    assert recipe_of_best["train_environments"] == ["north", "east"]


@pytest.mark.nightly
def test_a_killed_sweep_goes_on_to_the_same_tables(plain: Path, tmp_path: Path) -> None:
    command = [sys.executable, "trainers/sweep.py", *flags(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("[3/"):
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out" / "sweep" / CANDIDATES_FILE).exists()
    assert main(flags(tmp_path)) == 0
    assert_same(tmp_path, plain)


def assert_same(folder: Path, plain: Path) -> None:
    expected = candidates(plain)
    pd.testing.assert_frame_equal(candidates(folder), expected[expected["trial"] < 2].reset_index(drop=True))


@pytest.mark.slow
def test_folds_over_training_environments_choose_for_the_own_test_split(tmp_path: Path) -> None:
    more = (
        "--methods",
        "vrex",
        "--held_out",
        "test_split",
        "--protocols",
        "leave_one_out",
        "east",
        "--seeds",
        "1",
    )
    assert main(flags(tmp_path, *more, trials=1)) == 0
    assert set(candidates(tmp_path)["protocol"]) == {
        "leave-one-environment-out",
        "validation environment east",
    }
    costs = pd.read_csv(tmp_path / "out" / "sweep" / COST_FILE, index_col=0)
    assert costs["runs"].tolist() == [4]  # on all three, and without each one


@pytest.mark.nightly
def test_tpe_and_pruning(tmp_path: Path) -> None:
    assert main(flags(tmp_path, "--methods", "erm", "--sampler", "tpe", "--pruner", "median", trials=7)) == 0
    storage = f"sqlite:///{tmp_path / 'out' / 'sweeps.db'}"
    study = optuna.load_study(study_name="sweep/erm/north", storage=storage)
    states = [trial.state.name for trial in study.trials]
    assert len(states) == 7 and set(states) <= {"COMPLETE", "PRUNED"}
    assert all(
        len(trial.intermediate_values) == 2 for trial in study.trials if trial.state.name == "COMPLETE"
    )
    assert all(len(trial.intermediate_values) == 1 for trial in study.trials if trial.state.name == "PRUNED")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--methods", "irn"], "'irm'"),
        (["--methods", "irm", "--protocols", "leave_one_out"], "needs 2 training environments"),
        (["--held_out", "nort"], "north"),
        (["--protocols", "validaton"], "'validation'"),
        (["--storage", "nonsense://x"], "Optuna URL"),
    ],
)
def test_wrong_names(wrong: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(flags(tmp_path, *wrong))
    assert told in capsys.readouterr().err


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[str]:
    """A real server on loopback, run by an unprivileged user where the tests are root's."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (pip install 'psycopg[binary]')")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if not programs:
        pytest.skip("there is no PostgreSQL server here (apt install postgresql)")
    folder = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    if os.getuid() == 0:
        shutil.chown(folder, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [str(programs[-1].parent / program), *arguments], check=True, user=user, cwd=folder,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    data = str(folder / "data")
    run("initdb", "-D", data, "-U", "sweeper", "--auth", "trust", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -k {folder}"
    run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql://sweeper@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


def test_a_trial_too_many_waits_for_a_sweep_that_wants_more(tmp_path: Path) -> None:
    trials = Trials("s", open_storage(f"sqlite:///{tmp_path}/s.db"), "random", "none", tmp_path / "locks")
    for _ in range(3):  # by processes that all saw none
        trials.study("sd", "north").ask()
    first = trials.take_up("sd", "north", wanted=2, at_once=5, space=search_space("sd"))
    assert [taken.trial.number for taken in first] == [0, 1]
    assert trials.take_up("sd", "north", wanted=2, at_once=5, space=search_space("sd")) == []
    more = trials.take_up("sd", "north", wanted=4, at_once=5, space=search_space("sd"))
    assert [taken.trial.number for taken in more] == [2, 3]


def test_of_processes_that_ask_at_the_same_moment_one_leaves_what_is_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = Trials("s", open_storage(f"sqlite:///{tmp_path}/s.db"), "random", "none", tmp_path / "locks")
    ask = optuna.Study.ask

    def second_to_ask(study: optuna.Study) -> optuna.Trial:
        ask(study)
        return ask(study)

    monkeypatch.setattr(optuna.Study, "ask", second_to_ask)
    assert trials.take_up("sd", "north", wanted=1, at_once=5, space=search_space("sd")) == []


@pytest.mark.nightly
def test_two_processes_share_a_sweep_in_postgresql(postgresql: str, tmp_path: Path, plain: Path) -> None:
    command = [sys.executable, "trainers/sweep.py", *flags(tmp_path, "--storage", postgresql)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    for process in both:
        told = process.communicate(timeout=120)[0]
        assert process.returncode == 0, told
    for method in ("erm", "sd"):
        study = optuna.load_study(study_name=f"sweep/{method}/north", storage=postgresql)
        # Both may have asked at the same moment: what is beyond the wanted two was not begun.
        assert [trial.state.name for trial in study.trials[:2]] == ["COMPLETE"] * 2
        assert not any(trial.params for trial in study.trials[2:])
    assert main(flags(tmp_path, "--storage", postgresql)) == 0
    assert_same(tmp_path, plain)
