"""How often the forecast's interval holds: every environment of several data sets as the next site in turn.

python -m hf_ood.experiments.forecast.coverage --runs_dir runs/bench
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from ...evaluation.forecast.evidence import Evidence, estimates, seen_measures
from ...evaluation.forecast.over_environments import CONFIDENCE, LEAST_ENVIRONMENTS, student
from ...evaluation.forecast.site import Trial, forecast_site
from .coverage_data import Split, Splits, read_all

SEEDS = 2
STRENGTH = 0.01  # inverse regularisation of a head
SITES_FILE, SUMMARY_FILE = "sites.csv", "summary.csv"


class Heads:
    """Linear heads of one data set, each fitted once to the environments that are left."""

    def __init__(self, splits: Splits):
        self.splits = splits
        self.environments = sorted(
            set.intersection(*(set(part.environments.tolist()) for part in splits.values()))
        )
        self.fitted = cache(self._fit)

    def _fit(self, trained: frozenset[str], seed: int) -> object:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        part = self.splits["train"].of(sorted(trained))
        rows = np.arange(len(part.labels))
        if seed:  # of a head, the only chance is which rows it sees
            rows = np.random.default_rng(seed).integers(0, len(rows), len(rows))
        head = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=300))
        return head.fit(part.features[rows], part.labels[rows])

    def trial(self, trained: Sequence[str], site: str) -> Trial:
        """What heads that are trained on some environments say of a site, and what is true there."""
        here, there = self.splits["validation"].of(list(trained)), self.splits["test"].of([site])
        heads = [self.fitted(frozenset(trained), seed) for seed in range(SEEDS)]
        logits = [[_logits(head, part) for head in heads] for part in (here, there)]
        scale = self.fitted(frozenset(trained), 0)[0].transform  # type: ignore[index]
        vectors, target = scale(here.features), scale(there.features)
        return Trial(
            site,
            len(there.labels),
            seen_measures(logits[1][0], there.labels),
            estimates(Evidence(logits[0], here.labels, logits[1], vectors, target)),
            "",  # who is near changes no interval
            math.nan,
        )


def _logits(head: object, part: Split) -> np.ndarray:
    found = head.decision_function(part.features)  # type: ignore[attr-defined]
    return log_softmax(found if found.ndim == 2 else np.stack([0 * found, found], axis=1), axis=1)


def study(name: str, splits: Splits) -> pd.DataFrame:
    """A row for each environment as the next site: the truth, what each estimator says, the forecast."""
    heads = Heads(splits)
    everywhere = heads.environments
    pairs = {
        (left_out, site): heads.trial([one for one in everywhere if one not in (left_out, site)], left_out)
        for pair in combinations(everywhere, 2)
        for left_out, site in (pair, pair[::-1])
    }
    rows = []
    for site in everywhere:
        known = [one for one in everywhere if one != site]
        trials = [pairs[one, site] for one in known]
        new = heads.trial(known, site)
        found = forecast_site(trials, new.estimates)["accuracy"]
        truth, truths = new.truths["accuracy"], [trial.truths["accuracy"] for trial in trials]
        row = {
            "data": name,
            "site": site,
            "rows": new.count,
            "trials": len(trials),
            "truth": truth,
            **{f"estimate_{one}": tried.estimate for one, tried in found.tried.items()},
            "value": found.estimate,
        }
        if found.forecast is not None:
            mean = float(np.mean(truths))
            plain = student(mean, [one - mean for one in truths])
            row |= {"value": found.forecast.value, "low": found.forecast.low, "high": found.forecast.high}
            row |= {"plain_low": plain.low, "plain_high": plain.high}
        rows.append(row)
    return pd.DataFrame(rows)


def summary(sites: pd.DataFrame) -> pd.DataFrame:
    """By data set, and over data sets weighing the same (`all`): sites with an interval and without, its
    coverage, width and interval score (Gneiting and Raftery 2007) of the forecast and of a t-interval over
    leave-one-out accuracies (`plain_`), and mean absolute errors in points."""
    rows = {name: _of_data(part) for name, part in sites.groupby("data", sort=False)}
    table = pd.DataFrame.from_dict(rows, orient="index")
    whole = table[table["sites"] > 0].mean()
    whole[["sites", "too_few"]] = table[["sites", "too_few"]].sum()
    table.loc["all"] = whole
    return table


def _of_data(part: pd.DataFrame) -> dict[str, float]:
    told = part[part["trials"] >= LEAST_ENVIRONMENTS]
    found: dict[str, float] = {"sites": len(told), "too_few": len(part) - len(told)}
    for prefix in ("", "plain_"):
        if len(told):
            low, high, truth = told[f"{prefix}low"], told[f"{prefix}high"], told["truth"]
            missed = (low - truth).clip(lower=0) + (truth - high).clip(lower=0)
            found[f"{prefix}coverage"] = float((missed == 0).mean())
            found[f"{prefix}width"] = float(100 * (high - low).mean())
            found[f"{prefix}score"] = float(100 * (high - low + 2 / (1 - CONFIDENCE) * missed).mean())
    off = told if len(told) else part
    found["error"] = float(100 * (off["value"] - off["truth"]).abs().mean())
    for column in part:
        if str(column).startswith("estimate_"):
            name = str(column).removeprefix("estimate_")
            found[f"error_{name}"] = float(100 * (off[column] - off["truth"]).abs().mean())
    return found


def main(argv: Sequence[str] | None = None) -> pd.DataFrame:
    """Carry the study out and write a row for each site and for each data set. Returns the latter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--runs_dir",
        type=Path,
        default=Path("runs/bench"),
        help="where data and features are, or will be, kept",
    )
    parser.add_argument("--output_dir", type=Path, default=Path("evaluations/forecast-coverage"))
    arguments = parser.parse_args(argv)
    parts = []
    for name, splits in read_all(arguments.runs_dir):
        start = time.process_time()
        parts.append(study(name, splits))
        print(f"{name}: {len(parts[-1])} sites, {time.process_time() - start:.0f} CPU seconds")  # noqa: T201
    sites = pd.concat(parts)
    table = summary(sites)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    sites.to_csv(arguments.output_dir / SITES_FILE, index=False, float_format="%.6g")
    table.to_csv(arguments.output_dir / SUMMARY_FILE, float_format="%.4g")
    print(table.T.round(3).to_string())  # noqa: T201
    return table


if __name__ == "__main__":
    main()
