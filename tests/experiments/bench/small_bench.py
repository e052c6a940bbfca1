"""A bench of a user's own table, small enough to carry out in a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

ENVIRONMENTS = ("north", "east", "south", "west")


def write_recipe(folder: Path, **more: object) -> Path:
    """Four environments; a feature that holds everywhere, one that holds in all but `south`."""
    random = np.random.default_rng(0)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for split, count in (("train", 60), ("validation", 30), ("test", 40)):
        parts = []
        for name in ENVIRONMENTS:
            label = random.integers(0, 2, count)
            table = {
                "label": np.where(label, "late", "on time"),
                "environment": name,
                "holds": label + random.normal(0, 0.8, count),
                "misleads": label * (-1 if name == "south" else 1) + random.normal(0, 0.5, count),
            }
            parts.append(pd.DataFrame(table))
        pd.concat(parts).to_csv(folder / "data" / f"{split}.csv", index=False)
    settings = {
        "dataset_name": str(folder / "data"),
        "feature_columns": ["holds", "misleads"],
        "model": "linear",
        "per_device_train_batch_size": 24,
        "max_steps": 5,
        "cache_features": True,
        "eval_strategy": "no",
        "save_strategy": "no",
        "use_cpu": True,
        **more,
    }
    recipe = folder / "mine.yaml"
    recipe.write_text(yaml.safe_dump(settings))
    return recipe


def flags(folder: Path, *more: str) -> list[str]:
    """ERM and V-REx, one trial, two seeds."""
    return [
        "--data", str(folder / "mine.yaml"), "--methods", "vrex", "--trials", "1", "--seeds", "2",
        "--executor", "in_process", "--runs_dir", str(folder / "runs"), "--results_dir",
        str(folder / "out"), *more,
    ]  # fmt: skip
