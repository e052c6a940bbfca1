"""The results of a bench as a data set: a folder with a card that plain `load_dataset` reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import jinja2
import pandas as pd

from ...files import replaced_folder
from ...names import markdown
from ...reporting.leaderboard_pages import PICTURE, summary_table
from ...reporting.leaderboard_words import headlines
from ...reporting.leaderboards import Leaderboard
from .kept import Kept

CARD, CARD_FILE = Path(__file__).parent / "results_card.md", "README.md"
TABLES = {
    "summary": "every figure of the page: by data set, protocol and method, with its interval over seeds",
    "choices": "what each protocol chose for each method, held-out environment and seed, and its worth",
    "cost": "trainings and CPU seconds of each method",
    "spaces": "where hyper-parameters were looked for",
}


def write_as_data(leaderboard: Leaderboard, kept: Sequence[Kept], folder: Path) -> Path:
    """Write `<table>.parquet` for each of `TABLES` and the card, in place of those of an earlier bench.

    Example: `load_dataset("bench/full/dataset", "choices")`
    """
    tables = {
        "summary": summary_table(leaderboard).astype(
            {"verdict": "string", "half_width": float, "p_holm": float}
        ),
        "choices": _of_all(kept, [each.choices.astype({"score": float}) for each in kept]),
        "cost": _of_all(kept, [each.cost.rename_axis("method").reset_index() for each in kept]),
        "spaces": _of_all(kept, [each.spaces.rename_axis("option").reset_index() for each in kept]),
    }
    ours = {CARD_FILE, PICTURE, *(f"{name}.parquet" for name in TABLES)}
    with replaced_folder(folder, lambda file: str(file) in ours) as new:
        for name, table in tables.items():
            table.to_parquet(new / f"{name}.parquet", index=False)
        picture = folder.parent / PICTURE
        if picture.exists():
            (new / PICTURE).write_bytes(picture.read_bytes())
        (new / CARD_FILE).write_text(_card(leaderboard, kept, folder.name), encoding="utf-8")
    return folder


def _of_all(kept: Sequence[Kept], tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One table of all data sets, which the first column names."""
    named = [table.assign(data=each.name) for each, table in zip(kept, tables, strict=True)]
    whole = pd.concat(named, ignore_index=True)
    return whole[["data", *(name for name in whole if name != "data")]]


def _card(leaderboard: Leaderboard, kept: Sequence[Kept], folder: str) -> str:
    environment = jinja2.Environment(keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"name": markdown, "quoted": json.dumps}
    return environment.from_string(CARD.read_text(encoding="utf-8")).render(
        tables=TABLES,
        folder=folder,
        picture=PICTURE,
        headlines=headlines(leaderboard),
        data_sets=leaderboard.data_sets,
        versions=kept[0].about["versions"],
    )
