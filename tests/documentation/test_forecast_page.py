"""The page's table of the coverage study is the one that the study wrote."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from documents import FOLDER, ROOT

RESULTS = ROOT / "hf_ood" / "results" / "forecast"
COLUMNS = ["coverage", "width", "score", "plain_coverage", "plain_width", "plain_score", "error"]
ESTIMATORS = ["in_domain", "confidence", "doc", "atc", "agreement", "importance", "leave_one_out"]


@pytest.fixture(scope="module")
def summary() -> pd.DataFrame:
    return pd.read_csv(RESULTS / "summary.csv", index_col=0)


def test_the_table_is_that_of_the_study(summary: pd.DataFrame) -> None:
    page = (FOLDER / "forecast.md").read_text()
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    found = {name.strip("`"): cells for name, *cells in lines if name.strip("`") in summary.index}
    assert list(found) == list(summary.index)
    for name, (sites, *cells) in found.items():
        assert int(sites) == summary.loc[name, "sites"]
        for cell, column in zip(cells, [*COLUMNS, *(f"error_{one}" for one in ESTIMATORS)], strict=True):
            value = summary.loc[name, column]
            share = "coverage" in column
            shown = f"{100 * value:.0f} %" if share else f"{value:.1f}"
            assert cell == ("-" if math.isnan(value) else shown), (name, column)


def test_the_summary_is_of_the_sites(summary: pd.DataFrame) -> None:
    sites = pd.read_csv(RESULTS / "sites.csv")
    told = sites[sites["low"].notna()]
    held = (told["low"] <= told["truth"]) & (told["truth"] <= told["high"])
    assert f"It held at {held.sum()} of {len(told)} sites" in (FOLDER / "forecast.md").read_text()
    by_data = held.groupby(told["data"]).mean()
    for name, share in by_data.items():
        assert summary.loc[name, "coverage"] == pytest.approx(share, abs=1e-3)
    assert summary.loc["all", "coverage"] == pytest.approx(by_data.mean(), abs=1e-3)


def test_the_shares_in_the_text_are_of_the_summary(summary: pd.DataFrame) -> None:
    whole, page = summary.loc["all"], " ".join((FOLDER / "forecast.md").read_text().split())
    assert f"The error is {whole['error'] / whole['error_in_domain']:.2f} of that of assuming" in page
    assert f"intervals are {whole['width'] / whole['plain_width']:.2f} as wide as the plain ones" in page
