"""The forecast of a real run: its re-runs, its estimates, its interval, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hospitals import FLAGS, patients, write_patients
from page_numbers import looked_up

from hf_ood.cli.dossier import main as dossier
from hf_ood.cli.evaluate import main as evaluate
from hf_ood.cli.forecast import main
from hf_ood.cli.train import main as train
from hf_ood.data import read_dataset
from hf_ood.errors import UsageError
from hf_ood.evaluation.forecast import average, errors_of_rule, student
from hf_ood.evaluation.meta_analysis import meta_analysis
from hf_ood.evaluation.results import load_results
from hf_ood.evaluation.shift import CheckpointEncoder
from hf_ood.experiments.forecast.outputs import load_run, outputs_of_rows
from hf_ood.experiments.forecast.plan import find_finished, make_plan
from hf_ood.runs.folder import recorded_settings

pytestmark = pytest.mark.slow
HERE = "--executor in_process"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the hospitals A to F, new rows of G with labels, without, and with a few."""
    place = tmp_path_factory.mktemp("hospitals")
    write_patients(place / "patients.csv")
    train(["--dataset", str(place / "patients.csv"), *FLAGS, "--output_dir", str(place / "run")])
    known = patients(["G"], 400, seed=5)
    known.to_csv(place / "known.csv", index=False)
    known.drop(columns=["label"]).to_csv(place / "new.csv", index=False)
    known.assign(label=known["label"].where(known.index < 60)).to_csv(place / "few.csv", index=False)
    return place


def forecast(place: Path, rows: str | None, more: str = "") -> dict[str, Any]:
    """What the command writes, by re-runs that are made once."""
    site = f"--unlabelled {place / rows}" if rows else ""
    out = place / f"forecast-{rows}"
    flags = f"--run {place / 'run'} {site} --runs_dir {place / 'again'} --output_dir {out} {HERE} {more}"
    main(flags.split())
    return json.loads((out / "forecast.json").read_text())


@pytest.fixture(scope="module")
def report(place: Path) -> dict[str, Any]:
    return forecast(place, "new.csv")


def test_every_training_environment_is_left_out_once(place: Path, report: dict[str, Any]) -> None:
    plan = make_plan(place / "run")
    assert [trial["environment"] for trial in report["trials"]] == [*"ABCDEF"] == [*plan.environments]
    for trial in report["trials"]:
        folder = place / "again" / trial["run"]["folder"]
        results = load_results(folder)
        name = trial["environment"]
        assert results["trained_environments"] == [other for other in "ABCDEF" if other != name]
        entry = results["environments"][name]  # the truth is what the re-run itself measured
        for measure in ("accuracy", "macro_f1", "worst_group"):
            assert trial["truths"][measure] == pytest.approx(entry[measure]), measure
        assert trial["measures"]["right"] == round(entry["accuracy"] * entry["count"])
        assert trial["measures"]["ece"] == pytest.approx(entry["ece"], abs=1e-6)
        assert trial["nearest"] in results["trained_environments"]
        assert recorded_settings(folder / "arguments.yaml")["test_environments"] == [name]


def test_the_interval_is_of_the_trials(report: dict[str, Any]) -> None:
    found = report["forecast"]["macro_f1"]
    trials = report["trials"]
    truths = [trial["truths"]["macro_f1"] for trial in trials]
    estimated = {name: [trial["estimates"]["macro_f1"][name] for trial in trials]
                 for name in ("in_domain", "confidence")}  # fmt: skip
    estimated["leave_one_out"] = [(sum(truths) - truth) / 5 for truth in truths]
    assert found["weights"] == pytest.approx(average(truths, estimated))
    expected = student(found["estimate"], errors_of_rule("average", truths, estimated))
    assert found["forecast"]["low"] == pytest.approx(expected.low)
    assert found["forecast"]["n"] == 6 and report["warnings"] == []


def test_the_truth_of_the_new_site_lies_inside(place: Path, report: dict[str, Any]) -> None:
    flags = f"--run {place / 'run'} --dataset {place / 'known.csv'} --output_dir {place / 'evaluation'}"
    measured = evaluate(flags.split())["environments"]["G"]
    for measure, found in report["forecast"].items():
        assert found["forecast"]["low"] <= measured[measure] <= found["forecast"]["high"]
    few = forecast(place, "few.csv")
    better, plain = few["forecast"]["accuracy"]["forecast"], report["forecast"]["accuracy"]["forecast"]
    assert few["site"]["labels"] == 60 and few["forecast"]["accuracy"]["labels"] == 60
    assert better["high"] - better["low"] < 0.75 * (plain["high"] - plain["low"])
    assert abs(better["value"] - measured["accuracy"]) < abs(plain["value"] - measured["accuracy"])
    assert better["low"] <= measured["accuracy"] <= better["high"]


def test_a_site_of_another_kind_is_outside(place: Path) -> None:
    far = patients(["G"], 200, seed=6)
    far["bmi"] += 30
    far.drop(columns=["label"]).to_csv(place / "far.csv", index=False)
    (warning,) = forecast(place, "far.csv")["warnings"]
    assert warning.startswith("The site lies outside what the training environments span")


def test_without_a_site_there_are_trials_alone(place: Path, report: dict[str, Any]) -> None:
    found = forecast(place, None)
    assert found["trials"] == report["trials"] and "forecast" not in found


def test_a_reused_run_is_the_same_one(place: Path, report: dict[str, Any]) -> None:
    plan = make_plan(place / "run")
    found = find_finished(plan.without("B"), "B", place / "elsewhere", [place])
    assert found is not None and found.name == report["trials"][1]["run"]["folder"]
    assert find_finished(plan.without("B", further=1), "B", place / "elsewhere", [place]) is None


def test_a_second_seed_brings_agreement(place: Path, report: dict[str, Any]) -> None:
    found = forecast(place, "new.csv", "--seeds 2")
    assert 0 < found["forecast"]["accuracy"]["tried"]["agreement"]["estimate"] < 1
    for ours, theirs in zip(found["trials"], report["trials"], strict=True):
        agreement = ours["estimates"]["accuracy"].pop("agreement")
        assert 0 < agreement < 1 and ours == theirs


def test_features_and_logits_are_of_one_pass(place: Path) -> None:
    encoder = CheckpointEncoder(str(place / "run"))
    rows = read_dataset(str(place / "new.csv"))["train"]
    found = outputs_of_rows(load_run(place / "run"), encoder.processor, rows, encoder.processor.columns, None)
    assert found.features == pytest.approx(encoder.of_rows(rows))
    assert found.logits.shape == (400, 2) and np.ptp(found.logits) > 1


def test_every_number_of_its_dossier_is_in_the_run(place: Path, report: dict[str, Any]) -> None:
    flags = f"--run {place / 'run'} --forecast {place / 'forecast-new.csv'} --output_dir {place / 'dossier'}"
    written = dossier(flags.split())[0]
    assert looked_up(written, {"forecast.json": report, "results.json": load_results(place / "run")}) > 60
    page = written.read_text()
    trials = report["trials"]
    summary = meta_analysis([one["measures"]["right"] for one in trials], [one["count"] for one in trials])
    assert f"{100 * summary.prediction[0]:.1f}" in page and f"{100 * summary.mean:.1f} %" in page


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--unlabelled {known}", "Every row of known.csv has a label: hf-ood evaluate"),
        ("--unlabelled {one}", "has one label, which says nothing"),
        ("--unlabelled {four}", "needs 5 rows of a site"),
        ("--unlabelled {few} --interval conformal", "choose that one"),
        ("--confidence 1.5", "--confidence must lie in 0.5..1"),
    ],
)
def test_what_cannot_be_is_refused(
    flags: str, message: str, place: Path, report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    known = pd.read_csv(place / "known.csv")
    known.assign(label=known["label"].where(known.index < 1)).to_csv(place / "one.csv", index=False)
    known.drop(columns=["label"]).head(4).to_csv(place / "four.csv", index=False)
    files = {name: place / f"{name}.csv" for name in ("known", "few", "one", "four")}
    own = f"--run {place / 'run'} --runs_dir {place / 'again'} --output_dir {place / 'no'} {HERE}"
    with pytest.raises(UsageError):
        main(f"{own} {flags.format(**files)}".split())
    assert message in capsys.readouterr().err


def test_runs_that_cannot_be_forecast_say_so(place: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no finished run"):
        make_plan(tmp_path)
    for more, message in (
        ("--validation F", r"validated on whole environments \(F\)"),
        ("--train_environments A B --method irm", "irm still needs 2"),
        ("--train_on everything", "ended with a training on its validation samples too"),
    ):
        out = tmp_path / more.split()[1]
        flags = [flag for flag in FLAGS if flag not in ("--validation", "0.3")]
        train(["--dataset", str(place / "patients.csv"), *flags, *more.split(), "--max_steps", "1",
               "--output_dir", str(out)])  # fmt: skip
        with pytest.raises(ValueError, match=message):
            make_plan(out)
