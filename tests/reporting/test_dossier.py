"""Every number of a dossier is one of its run, or is computed from those; the page shows in a browser."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_numbers import Numbers, looked_up

from hf_ood.evaluation.meta_analysis import meta_analysis
from hf_ood.evaluation.metrics import environment_report
from hf_ood.evaluation.small_samples import wilson
from hf_ood.reporting.dossier import MARKDOWN_FILE, Evidence, content, write_dossier

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NAMES = ["north", "<b>east</b>", "south|west", "few", "five"]
CLASSES = ["ill", "we|l"]


def trial(name: str, rows: int, rng: np.random.Generator) -> dict[str, Any]:
    logits, labels = rng.normal(size=(rows, 2)), rng.integers(0, 2, rows)
    logits[np.arange(rows), labels] += 1.5
    measures = environment_report(logits, labels, np.zeros(rows, np.int64), [name], CLASSES)[name]
    right = logits.argmax(1) == labels
    groups = {
        CLASSES[label]: {
            "right": int(right[labels == label].sum()),
            "count": int((labels == label).sum()),
        }
        for label in (0, 1)
    }
    shift = {kind: {"value": 0.31, "null": 0.02} for kind in ("diversity", "correlation")}
    more = {"right": int(right.sum()), "confidence": 0.8, "groups": groups, "shift": shift}
    run = {"folder": f"again-{name}", "seed": 3, "commit": "abc", "selection": "last step"}
    return {
        "environment": name,
        "count": rows,
        "truths": {"accuracy": measures["accuracy"]},
        "nearest": NAMES[0],
        "distance": 0.25,
        "measures": {**measures, **more},
        "run": {**run, "data_fingerprint": "f" * 64},
    }


@pytest.fixture
def evidence() -> Evidence:
    rng = np.random.default_rng(0)
    trials = [trial(name, 20 if name == "few" else 150, rng) for name in NAMES]
    forecast = {
        "error": 0.034,
        "tried": {"doc": {"estimate": 0.71, "error": 0.034, "bias": 0.01}},
        "forecast": {"value": 0.72, "low": 0.611, "high": 0.829},
        "estimate": 0.71,
    }
    site = {"name": "new.csv", "rows": 1234, "labels": 0, "nearest": "north", "distance": 0.5}
    found = {
        "run": {"method": "erm", "seed": 3, "data_fingerprint": "f" * 64},
        "trials": trials,
        "interval": "t",
        "confidence": 0.9,
        "site": site,
        "forecast": {"accuracy": forecast},
        "warnings": ["The site lies outside."],
    }
    results = {
        "method": "erm",
        "seed": 3,
        "dataset": "scans.csv",
        "selection": "last step",
        "trained_environments": NAMES,
        "mean_accuracy": 0.7,
        "in_domain_accuracy": 0.95,
        "environments": {"held out": {**trials[0]["measures"], "split": "test"}},
        "versions": {"torch": "2.9"},
        "command": "hf-ood train --dataset scans.csv",
    }
    data = {"label_names": CLASSES, "fingerprint": "f" * 64}
    return Evidence("mine", results, data, {"commit": "0123456789"}, [found], "reading <scans>")


def test_every_number_is_the_one_in_its_run(evidence: Evidence, tmp_path: Path) -> None:
    files = {"results.json": evidence.results, "forecast.json": evidence.forecasts[0]}
    assert looked_up(write_dossier(evidence, tmp_path), files) > 40


def test_what_is_computed_is_computed_from_the_run(evidence: Evidence) -> None:
    shown = content(evidence)
    trials = evidence.forecasts[0]["trials"]
    summary = meta_analysis([one["measures"]["right"] for one in trials], [one["count"] for one in trials])
    assert shown["summary"]["mean"].value == summary.mean
    assert [end.value for end in shown["summary"]["prediction"]] == [*summary.prediction]
    for row, one in zip(shown["environments"], trials, strict=True):
        assert [end.value for end in row["interval"]] == [*wilson(one["measures"]["right"], one["count"])]
        assert row["few"] == (one["count"] < 30)
        assert row["overconfident"].value == pytest.approx(0.8 - one["measures"]["accuracy"])
    for row in shown["groups"]:
        measures = next(one["measures"] for one in trials if one["environment"] == row["environment"])
        group = measures["groups"][row["label"]]
        assert row["accuracy"].value == group["right"] / group["count"]
    low = [one["environment"] for one in trials if one["measures"]["accuracy"] < 0.85]
    assert sorted(one["name"] for one in shown["failures"]) == sorted(low)


def test_no_figure_stands_outside_of_a_number(evidence: Evidence, tmp_path: Path) -> None:
    """But for titles of guidelines, levels of confidence, seeds, commits and versions."""
    text = Numbers(write_dossier(evidence, tmp_path).read_text()).outside
    allowed = (
        r"95 % (prediction )?interval|90 % interval|BMJ 380:e071018|2023|2024/1689|Art\. \d+|macro-F1"
        r"|new\.csv|more than 10 points|0 to 1|from 5 environments|seed 3|\b3\b|0123456789|torch 2\.9"
    )
    assert re.findall(r"\d+", re.sub(allowed, "", text)) == []


def test_names_are_data(evidence: Evidence, tmp_path: Path) -> None:
    page = write_dossier(evidence, tmp_path).read_text()
    assert "<b>east" not in page and "reading &lt;scans&gt;" in page
    assert not re.search(r'(src|href)="(?!data:)', page) and "<script" not in page
    text = (tmp_path / MARKDOWN_FILE).read_text()
    assert r"south\|west" in text and "<data" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(NAMES) and "few (too few to say)" in text


def test_without_a_forecast_the_page_says_so(evidence: Evidence, tmp_path: Path) -> None:
    alone = Evidence(evidence.name, evidence.results, evidence.data, evidence.origin)
    page = write_dossier(alone, tmp_path).read_text()
    assert "No environment was left out in turn" in page and "Too few environments: 1" in page
    assert "One environment says nothing about others" in page and "Its use is not stated" in page


def test_a_forecast_of_another_run_is_refused(evidence: Evidence) -> None:
    other = copy.deepcopy(evidence.forecasts[0])
    other["run"]["seed"] = 4
    with pytest.raises(ValueError, match="of another run than mine"):
        content(Evidence("mine", evidence.results, evidence.data, {}, [other]))
    squared = Evidence("mine", {"mean_rmse": 1.0}, {}, {})
    with pytest.raises(ValueError, match="of another task"):
        content(squared)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (apt-get install chromium)")
def test_a_browser_shows_and_prints_it(evidence: Evidence, tmp_path: Path) -> None:
    page = write_dossier(evidence, tmp_path)
    probe = (
        '<pre id="found"></pre><script>window.addEventListener("load", () => {'
        "document.getElementById('found').textContent = JSON.stringify({"
        "images: [...document.images].every(image => image.naturalWidth > 300),"
        "cards: [...document.querySelectorAll('.card')].every("
        "one => one.getBoundingClientRect().bottom < 900),"
        "cut: [...document.querySelectorAll('.wide')].some(one => one.scrollWidth > one.clientWidth),"
        "sticks: document.documentElement.scrollWidth - window.innerWidth})})</script></body>"
    )
    copied = tmp_path / "probed.html"
    copied.write_text(page.read_text().replace("</body>", probe))
    common = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'b'}",
    ]
    dump = [*common, "--virtual-time-budget=5000", "--window-size=1100,900", "--dump-dom", copied.as_uri()]
    shown = subprocess.run(dump, capture_output=True, text=True, timeout=120).stdout
    found = json.loads(re.search(r'<pre id="found">(.*?)</pre>', shown)[1])  # type: ignore[index]
    assert found["images"] and found["cards"] and found["sticks"] <= 0 and not found["cut"]
    pdf = tmp_path / "dossier.pdf"
    subprocess.run([*common, f"--print-to-pdf={pdf}", page.as_uri()], capture_output=True, timeout=120)
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes())) <= 6
