"""A dossier of a bench: what protocols chose, every number the one in its files, and what is not known."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pandas as pd
import pytest
from kept_results import DATA, kept, write_kept
from page_numbers import Numbers, looked_up

from hf_ood.cli.dossier import main
from hf_ood.errors import UsageError
from hf_ood.evaluation.leaderboard import OWN
from hf_ood.evaluation.meta_analysis import meta_analysis
from hf_ood.experiments.bench.kept import ABOUT_FILE, CHOICES_FILE, keep, read_kept
from hf_ood.experiments.bench.rounds import rounds_of
from hf_ood.json_files import read_object
from hf_ood.reporting.dossier import rounds_content

VALIDATION = "training-environment validation"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    write_kept(folder)
    return folder / "full"


def test_every_number_is_in_the_files_of_its_data_set(bench: Path, tmp_path: Path) -> None:
    pages = main(["--bench", str(bench), "--output_dir", str(tmp_path)])
    assert [page.parent.name for page in pages] == sorted(DATA)
    for page in pages:
        own = bench / page.parent.name
        rows = pd.read_csv(own / CHOICES_FILE, keep_default_na=False).to_dict("records")
        environments = DATA[own.name][0]
        found = looked_up(page, {CHOICES_FILE: rows, ABOUT_FILE: read_object(own / ABOUT_FILE)})
        assert found >= 4 * len(environments)  # accuracy, samples, score that chose, also as in-domain
        text = Numbers(page.read_text()).outside
        allowed = (
            r"95 % (prediction )?interval|BMJ 380:e071018|2023|2024/1689|Art\. \d+|than 10 points"
            rf"|{len(environments)} (environments|were left out)|4 methods|seeds 0, 1, 2|torch 2|macro-F1"
        )
        assert re.findall(r"\d+", re.sub(allowed, "", text)) == []


def test_the_method_is_chosen_by_its_score_and_not_by_the_test_environment(bench: Path) -> None:
    found = read_kept(bench / "styles")
    choices = found.choices.copy()
    mine = choices["method"].eq("irm") & choices["held_out"].eq("ink") & choices["protocol"].eq(VALIDATION)
    choices.loc[mine, ["score", "accuracy"]] = [0.95, 0.01]  # the best score, the worst accuracy
    shown = rounds_content(rounds_of(dataclasses.replace(found, choices=choices)))
    assert [row["method"] for row in shown["chosen"]] == ["irm", "erm", "erm"]
    assert shown["environments"][0]["accuracy"].value == 0.01
    assert shown["protocol"] == VALIDATION and shown["by"] == f"the method that {VALIDATION} chose"
    assert [one["name"] for one in shown["failures"]] == ["ink", "<b>", "oil|paint"]


def test_a_method_and_a_protocol_can_be_asked_for(bench: Path) -> None:
    found = read_kept(bench / "flights")
    shown = rounds_content(rounds_of(found), "ema", "oracle")
    rows = found.choices[
        (found.choices["method"] == "ema") & (found.choices["protocol"] == "oracle")
    ].set_index(["held_out", "seed"])
    for row, seeds in zip(shown["environments"], shown["seeds"], strict=True):
        own = rows.loc[row["name"], "accuracy"]
        assert row["accuracy"].value == own.loc[0] and seeds["mean"].value == pytest.approx(own.mean())
        assert [end.value for end in seeds["range"]] == [own.min(), own.max()]
    right = [round(rows.loc[(name, 0), "accuracy"] * 400) for name in DATA["flights"][0]]
    summary = meta_analysis(right, [400, 400])
    assert [end.value for end in shown["summary"]["prediction"]] == [*summary.prediction]
    assert any("upper bound" in warning for warning in shown["warnings"])
    assert shown["in_domain"] is None and not shown["failures"]


def test_what_is_not_known_is_said(bench: Path, tmp_path: Path) -> None:
    (page,) = main(["--bench", str(bench / "styles"), "--output_dir", str(tmp_path), "--use", "<art>"])
    text = page.read_text()
    told = re.search(r"Not known here: ([^.]*)\. A bench keeps", text)
    assert told is not None
    for what in ("names of the classes", "calibration error", "confidence", "each class", "shift"):
        assert what in told[1]
    assert "fingerprint" not in told[1] and "feedc0de" in text
    assert "Not here: calibration error of each environment, confidence against accuracy." in text
    assert "<th>calibration error</th>" not in text and "&lt;art&gt;" in text and "<td><b>" not in text
    found = kept("styles")
    about = {**found.about, "data_fingerprint": ""}
    shown = rounds_content(rounds_of(dataclasses.replace(found, about=about)))
    assert "the fingerprint of the data" in shown["unknown"]


def test_wrong_folders_are_refused_with_what_to_do(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*flags: str) -> str:
        with pytest.raises((UsageError, SystemExit)):
            main([*flags, "--output_dir", str(tmp_path / "out")])
        return capsys.readouterr().err

    assert f"name one of {bench}" in refused("--bench", str(bench.parent))
    assert "hf-ood bench writes them to" in refused("--bench", str(tmp_path))
    assert "erm, irm, ema, rsc" in refused("--bench", str(bench), "--method", "vrexx")
    assert "leave-one-environment-out" in refused("--bench", str(bench), "--protocol", "leave")
    assert "no sweep's folder" in refused("--sweep", str(bench))
    found = kept("flights")
    about = {name: value for name, value in found.about.items() if name != "tested"}
    keep(dataclasses.replace(found, about=about), tmp_path / "old" / "flights")
    assert "repeat hf-ood bench --data flights" in refused("--bench", str(tmp_path / "old"))
    choices = found.choices[found.choices["oracle"] | found.choices["method"].eq(OWN)]
    with pytest.raises(ValueError, match="chose by the test environments alone"):
        rounds_content(rounds_of(dataclasses.replace(found, choices=choices)))
    assert "--method goes with --sweep and --bench" in refused("--run", "x", "--method", "erm")
    assert "--forecast goes with --run" in refused("--bench", "x", "--forecast", "y")
    assert "one of the arguments --run --sweep --bench is required" in refused()
