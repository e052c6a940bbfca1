"""What is kept of a bench, small enough to commit: choices, cost, and what they were made of."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...evaluation.leaderboard import COLUMNS
from ...files import all_or_nothing
from ...json_files import json_text, read_object
from ...resources import RESULTS
from ..study.study import BUDGETS

KEPT = RESULTS / "bench"  # what came with the package
CHOICES_FILE, COST_FILE, SPACES_FILE, ABOUT_FILE = "choices.csv", "cost.csv", "spaces.csv", "about.json"
TEXTS = ("method", "held_out", "protocol", "values", "settings")
# What has to be the same for choices of two commands to stand in one table.
SAME = ("trials", "seeds", "environments", "settings")
NEEDED: dict[str, Any] = {
    "title": str,
    "note": str,
    "environments": dict,
    "trials": int,
    "seeds": list,
    "left_out": dict,
    "own_rows": str,
    "settings": dict,
    "commit": str,
    "versions": dict,
}


@dataclass(frozen=True)
class Kept:
    """The results of one configuration.

    `about`: title, environments with their rows, trials, seeds, methods that were left out and why, what the
    reference was measured on (`own_rows`), settings, versions, and, but for earlier versions, how many rows
    of each environment are tested (`tested`) and the `data_fingerprint`. `choices`: lines of `COLUMNS`.
    `cost`: by method. `spaces`: where hyper-parameters were looked for, by option. `budget`: of the folder
    that they were read from.
    """

    name: str
    about: Mapping[str, Any]
    choices: pd.DataFrame
    cost: pd.DataFrame
    spaces: pd.DataFrame
    budget: str = ""


def keep(found: Kept, folder: Path) -> None:
    """Write a configuration's results into `folder`, whole or not at all. Methods that an earlier command of
    the same data, trials and seeds has chosen for stay there."""
    earlier = _earlier(folder)
    if earlier is not None and _same(earlier.about) == _same(found.about):
        found = _joined(earlier, found)
    folder.mkdir(parents=True, exist_ok=True)
    with all_or_nothing(folder, last=ABOUT_FILE) as files:
        found.choices.to_csv(files / CHOICES_FILE, index=False, float_format="%.6g")
        found.cost.to_csv(files / COST_FILE)
        found.spaces.to_csv(files / SPACES_FILE)
        (files / ABOUT_FILE).write_text(json_text(found.about, indent=2) + "\n", encoding="utf-8")


def read_kept(folder: Path) -> Kept:
    """Raises `ValueError` naming the file that is damaged."""
    about = read_object(folder / ABOUT_FILE)
    for key, kind in NEEDED.items():
        if not isinstance(about.get(key), kind):
            raise ValueError(f"{folder / ABOUT_FILE} is damaged (it has no {key}). {_way_out(folder)}")
    choices = _read_table(folder / CHOICES_FILE, dict.fromkeys(TEXTS, str))
    _check(choices, folder / CHOICES_FILE)
    cost = _read_table(folder / COST_FILE, {"method": str}).set_index("method")
    spaces = _read_table(folder / SPACES_FILE, str).set_index("option")
    kinds = {"oracle": bool}
    return Kept(folder.name, about, choices.astype(kinds), cost, spaces, folder.absolute().parent.name)


def find_kept(budget: str, *folders: Path, names: Sequence[str] | None = None) -> list[Kept]:
    """The results at a budget that are kept in `folders`, an earlier one's before a later one's; `names`: of
    these configurations alone."""
    places: dict[str, Path] = {}
    for folder in folders:
        places = {**_places(folder, budget), **places}
    return _read(places, names)


def find_largest(results_dir: Path, names: Sequence[str] | None = None) -> list[Kept]:
    """The kept results of each configuration at the larger budget that it has: of `results_dir`, or of the
    package where that holds none. Raises `ValueError` where nothing is kept."""
    for root in (results_dir, KEPT):
        if places := {name: place for budget in BUDGETS for name, place in _places(root, budget).items()}:
            return _read(places, names)
    raise ValueError(f"{results_dir} holds no results of a bench: run hf-ood bench first.")


def _places(root: Path, budget: str) -> dict[str, Path]:
    return {file.parent.name: file.parent for file in (root / budget).glob(f"*/{ABOUT_FILE}")}


def _read(places: Mapping[str, Path], names: Sequence[str] | None) -> list[Kept]:
    wanted = sorted(places) if names is None else [name for name in names if name in places]
    return [read_kept(places[name]) for name in wanted]


def values_of(text: str) -> dict[str, Any]:
    """The hyper-parameters of a choice."""
    found: dict[str, Any] = json.loads(text)
    return found


def _same(about: Mapping[str, Any]) -> str:
    return json_text({key: about[key] for key in SAME})


def _earlier(folder: Path) -> Kept | None:
    try:
        return read_kept(folder) if (folder / ABOUT_FILE).exists() else None
    except ValueError:
        return None  # damaged: made again


def _joined(earlier: Kept, found: Kept) -> Kept:
    own = set(found.choices["method"])
    choices = pd.concat([earlier.choices[~earlier.choices["method"].isin(own)], found.choices])
    left_out = {**earlier.about["left_out"], **found.about["left_out"]}
    left_out = {name: why for name, why in left_out.items() if name not in set(choices["method"])}
    return Kept(
        found.name,
        {**found.about, "left_out": left_out},
        choices.reset_index(drop=True),
        pd.concat([earlier.cost[~earlier.cost.index.isin(found.cost.index)], found.cost]),
        pd.concat([earlier.spaces[~earlier.spaces.index.isin(found.spaces.index)], found.spaces]),
    )


def _read_table(file: Path, types: Any) -> pd.DataFrame:
    try:
        text = file.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            raise ValueError("its end is missing")
        return pd.read_csv(io.StringIO(text), dtype=types, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{file} is damaged ({' '.join(str(error).split())}). {_way_out(file.parent)}"
        ) from error


def _check(choices: pd.DataFrame, file: Path) -> None:
    wrong = None
    if list(choices.columns) != COLUMNS:
        wrong = f"its columns are not {', '.join(COLUMNS)}"
    elif not all(np.issubdtype(choices[name].dtype, np.number) for name in ("score", "accuracy", "seed")):
        wrong = "a seed, a score or an accuracy is no number"
    elif choices.duplicated(["method", "held_out", "seed", "protocol"]).any():
        wrong = "a choice is there twice"
    elif not choices["accuracy"].between(0, 1).all():
        wrong = "an accuracy is not between 0 and 1"
    if wrong:
        raise ValueError(f"{file} is damaged ({wrong}). {_way_out(file.parent)}")


def _way_out(folder: Path) -> str:
    return (
        f"Bring it back, or make it again: hf-ood bench --data {folder.name} --budget {folder.parent.name}."
    )
