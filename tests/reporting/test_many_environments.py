"""Thousands of environments in tables, cards and pictures."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from hf_ood.evaluation import environment_report, summarize
from hf_ood.hub.model_card import _eval_results, build_model_card
from hf_ood.reporting.curves import draw_curves
from hf_ood.reporting.evaluation_figures import draw_evaluation
from hf_ood.reporting.many_environments import from_worst, shortened, standing_at, summary_rows
from hf_ood.reporting.panels import MOST_PANELS, chosen_panels
from hf_ood.reporting.tables import results_table

MANY = 2000
NAMES = [f"writer_{number:04d}" for number in range(MANY)]


def samples(count: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, labels and environments; the later an environment, the easier."""
    rng = np.random.default_rng(seed)
    environments = np.arange(count) % MANY
    labels = rng.integers(0, 2, count)
    margin = rng.normal(2 * environments / MANY, 1)
    return np.stack([-margin, margin], 1) * (2 * labels - 1)[:, None], labels, environments


def many_results() -> dict[str, Any]:
    logits, labels, environments = samples()
    test = environment_report(logits, labels, environments, NAMES)
    own = environment_report(logits[:600], labels[:600], environments[:600] % 3, ["a", "b", "c"])
    history = [
        {
            "epoch": float(epoch),
            "validation_loss": 0.5,
            "test_loss": 0.9,
            **{f"test_{name}_accuracy": entry["accuracy"] * epoch / 2 for name, entry in test.items()},
        }
        for epoch in (1, 2)
    ]
    return {
        "method": "irm",
        "dataset": "writers",
        "config": "default",
        "seed": 0,
        "selection": "last",
        **summarize(own, own, test),
        "history": history,
        "hyperparameters": {"model": {"name": "lenet"}, "data": {}},
        "steps": 10,
        "seconds": 1.0,
        "versions": {},
    }


RESULTS = many_results()


def test_few_environments_keep_their_rows() -> None:
    few = dict(list(RESULTS["environments"].items())[:20])
    assert summary_rows(few, ["accuracy"]) == few


def test_a_summary_has_ends_that_are_environments_and_quantiles_of_each_measure() -> None:
    test = {name: entry for name, entry in RESULTS["environments"].items() if entry["split"] == "test"}
    rows = summary_rows(RESULTS["environments"], ["accuracy", "loss"])
    ranked = from_worst(test)
    assert list(rows)[:3] == ["a", "b", "c"]
    assert list(rows)[3:8] == ranked[:5] and list(rows)[-3:] == ranked[-3:]
    accuracies, losses = ([entry[name] for entry in test.values()] for name in ("accuracy", "loss"))
    low = rows["5 % of 2,000 (test)"]
    assert low["accuracy"] == np.quantile(accuracies, 0.05) and low["loss"] == np.quantile(losses, 0.95)
    assert rows["median of 2,000 (test)"]["loss"] == np.median(losses) and "count" not in low


def test_environments_stand_from_the_worst_to_the_best() -> None:
    report = {f"e{number}": {"accuracy": number / 100} for number in range(101)}
    places = standing_at(report)
    assert places == {
        **{"e0": "worst", "e5": "5 %", "e25": "25 %", "e50": "median"},
        **{"e75": "75 %", "e95": "95 %", "e100": "best"},
    }
    errors = {"good": {"squared_error": 0.1}, "bad": {"squared_error": 3.0}}
    assert from_worst(errors) == ["bad", "good"]


def test_names_in_a_sentence_are_shortened() -> None:
    assert shortened(["a", "b"]) == "a, b"
    assert shortened(NAMES).endswith("writer_0007 and 1,992 more")


def test_the_table_of_a_run_stays_short_and_says_what_it_left_out() -> None:
    console = Console(width=100, record=True, file=sys.stderr)
    console.print(results_table(RESULTS))
    text = console.export_text()
    assert len(text.splitlines()) < 40
    assert "2,000 test environments are summarised" in text and "median of 2,000" in text
    assert f"{RESULTS['worst_accuracy']:.2%}" in text


def test_the_card_stays_short_and_its_metadata_name_environments_alone() -> None:
    card = str(build_model_card(RESULTS))
    assert len(card.splitlines()) < 400
    assert "| 25 % of 2,000 (test) | test |" in card and "2,000 test environments are summarised" in card
    assert "more.\nThe table tells" in card
    names = [result.metric_name for result in _eval_results(RESULTS, "image-classification")]
    assert len(names) == 3 + 5 + 3 + 2 and not any("%" in str(name) for name in names)


def test_the_pictures_are_drawn_in_seconds(tmp_path: Path) -> None:
    """They took 33 seconds, and ended in a black bar."""
    start = time.process_time()
    draw_curves(RESULTS, tmp_path / "curves.png")
    logits, labels, environments = samples()
    report = environment_report(logits, labels, environments, NAMES)
    draw_evaluation(logits, labels, environments, NAMES, report, {0: "no", 1: "yes"}, tmp_path)
    assert time.process_time() - start < 20
    assert {file.name for file in tmp_path.iterdir()} == {"curves.png", "confusion.png", "reliability.png"}


def test_panels_are_all_environments_or_some_from_the_worst_to_the_best() -> None:
    few = {f"e{number}": {"accuracy": 0.5} for number in range(MOST_PANELS)}
    assert chosen_panels(few) == {name: name for name in few}
    many = {name: entry for name, entry in RESULTS["environments"].items() if entry["split"] == "test"}
    headings = chosen_panels(many)
    worst, best = from_worst(many)[0], from_worst(many)[-1]
    assert next(iter(headings)) == worst and headings[worst] == f"{worst} (worst of 2,000)"
    assert list(headings)[-1] == best and len(headings) == 7
