"""What a sweep chose, with the results of the runs behind it: the file that documents are made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...evaluation.results import RESULTS_FILE
from ...json_files import read_object
from ...reporting.dossier import Choice, Rounds
from ...reporting.dossier.numbers import share
from ...runs.folder import ARGUMENTS_FILE

CANDIDATES_FILE, CHOICES_FILE = "candidates.csv", "choices.json"
CHOICES = "choices"  # in it
NEEDED: dict[str, Any] = {
    "data": str, "classes": list, "environments": list, "held_out": dict, "trials": int, "seeds": list,
    "settings": dict, "commit": str, "data_fingerprint": str, "versions": dict, CHOICES: list,
}  # fmt: skip


def read_choices(folder: Path, use: str | None = None) -> Rounds:
    """What `write_choices` (`chosen_runs`) wrote.

    Raises `ValueError`, with the way out, for a folder that is no sweep's.
    """
    file = folder / CHOICES_FILE
    if not file.is_file():
        raise ValueError(_why_no_sweep(folder))
    found = read_object(file)
    for key, kind in NEEDED.items():
        if not isinstance(found.get(key), kind):
            raise ValueError(f"{file} is damaged (it has no {key}). {_again(folder)}")
    try:
        choices = [_choice(line, f"{CHOICES_FILE}/{CHOICES}/{n}") for n, line in enumerate(found[CHOICES])]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged (a choice has no {error}). {_again(folder)}") from error
    return Rounds(
        "sweep",
        folder.resolve().name,
        found["data"],
        found["classes"],
        found["environments"],
        found["trials"],
        found["seeds"],
        found["settings"],
        found["commit"],
        found["data_fingerprint"],
        found["versions"],
        all(len(names) == 1 for names in found["held_out"].values()),
        choices,
        use,
    )


def _choice(line: Mapping[str, Any], path: str) -> Choice:
    inside = line["in_domain_accuracy"]
    return Choice(
        line["method"],
        line["held_out"],
        line["seed"],
        line["protocol"],
        line["oracle"],
        line["trial"],
        line["values"],
        line["run"],
        share(line["score"], f"{path}/score"),
        line["tested"],
        {name: f"{path}/tested/{name}" for name in line["tested"]},
        None if inside is None else share(inside, f"{path}/in_domain_accuracy"),
        commit=line["commit"],
        checkpoint=line["checkpoint"],
    )


def _why_no_sweep(folder: Path) -> str:
    if (folder / CANDIDATES_FILE).is_file():
        return (
            f"{folder} is a sweep's, but an earlier version wrote it: there is no {CHOICES_FILE} in it. "
            f"{_again(folder)}"
        )
    if (folder / RESULTS_FILE).is_file() or (folder / ARGUMENTS_FILE).is_file():
        return f"{folder} is the folder of a run: give it after --run."
    inner = sorted(file.parent.name for file in folder.glob(f"*/{CHOICES_FILE}"))
    if inner:
        return f"{folder} holds several sweeps: name one of them, {', '.join(inner)}."
    return (
        f"{folder} is no sweep's folder: there is no {CHOICES_FILE} in it. hf-ood sweep writes it where its "
        "tables go, to sweeps/<name>."
    )


def _again(folder: Path) -> str:
    return (
        f"Repeat the command of hf-ood sweep that wrote {folder.name}: finished runs are kept, and it takes "
        "seconds."
    )
