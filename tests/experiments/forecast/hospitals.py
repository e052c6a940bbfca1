"""Six hospitals in columns, and a seventh without labels: a run and its re-runs take seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

FLAGS = (
    "--model linear --feature_columns age bmi sex --environment_column hospital --validation 0.3 "
    "--max_steps 40 --per_device_train_batch_size 60 --learning_rate 0.05 --eval_strategy no "
    "--save_strategy no --num_threads 1 --use_cpu true --disable_tqdm true --report_to none "
    "--test_environments G"
).split()
NAMES = [*"ABCDEFG"]


def patients(names: list[str], rows: int = 120, seed: int = 0) -> pd.DataFrame:
    """`rows` of each hospital; the farther in the alphabet, the less tells the body mass index."""
    rng = np.random.default_rng(seed)
    parts = []
    for name in names:
        place = NAMES.index(name)
        ill = rng.random(rows) < 0.5
        parts.append(
            pd.DataFrame(
                {
                    "age": rng.integers(20, 90, rows) + place,
                    "bmi": (25 + (3 - 0.35 * place) * ill + rng.normal(size=rows)).round(2),
                    "sex": rng.choice(["f", "m"], rows),
                    "hospital": name,
                    "label": np.where(ill, "ill", "well"),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def write_patients(file: Path, names: list[str] = NAMES) -> None:
    patients(names).to_csv(file, index=False)
