"""The study that tests carry out: two arms, two seeds, a few seconds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import yaml

STUDY = {
    "title": "Does IRM help?",
    "note": "Zeros and ones only.",
    "settings": {"dataset_config": "fixed_colors", "colored_mnist": {"label_rule": "zero_vs_one"}},
    "measures": ["mean_accuracy", "blue_on_white"],
    "curve": "test_mean_accuracy",
    "arms": {"ERM": {}, "0.01": {"learning_rate": 0.01, "method": "irm"}},
    "budgets": {"quick": {"num_train_epochs": 1, "max_train_samples": 600, "seeds": 2}},
    "report": {"ERM": {"blue_on_white": 51.0}},
    "pictures": [{"title": "Curves", "arm": "ERM", "file": "curves.png"}],
    "cards": ["ERM"],
    "claims": [{"text": "IRM helps", "better": "0.01", "than": "ERM"}],
}


def command(folder: Path, runs: str, out: str, *more: str) -> list[str]:
    recipes = folder / "recipes"
    recipes.mkdir(exist_ok=True)
    (recipes / "small.yaml").write_text(yaml.safe_dump(STUDY))
    places = ["--recipes", recipes, "--runs_dir", folder / runs, "--results_dir", folder / out]
    places += ["--cards_dir", folder / out / "cards"]
    return [*map(str, places), *more]


def values(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "quick" / "small.csv", dtype={"arm": str}).drop(columns="cpu_seconds")
