"""The results of a bench as the rounds that a dossier tells of."""

from __future__ import annotations

from pathlib import Path

from ...evaluation.leaderboard import OWN
from ...evaluation.results import RESULTS_FILE
from ...evaluation.selection import TrainingValidation
from ...reporting.dossier import Choice, Rounds
from ...reporting.dossier.numbers import share
from .kept import ABOUT_FILE, CHOICES_FILE, Kept, read_kept, values_of


def bench_folders(folder: Path) -> list[Path]:
    """The data sets of a bench: the folder itself, or those in it. Raises `ValueError`, with the way out, for
    a folder that is no bench's."""
    if (folder / ABOUT_FILE).is_file():
        return [folder]
    inner = [file.parent for file in sorted(folder.glob(f"*/{ABOUT_FILE}"))]
    if inner:
        return inner
    budgets = sorted({file.parents[1] for file in folder.glob(f"*/*/{ABOUT_FILE}")})
    if budgets:
        raise ValueError(f"{folder} holds several budgets: name one of {', '.join(map(str, budgets))}.")
    if (folder / RESULTS_FILE).is_file():
        raise ValueError(f"{folder} is the folder of a run: give it after --run.")
    raise ValueError(
        f"{folder} holds no results of a bench: there is no {ABOUT_FILE} in it or in its folders. "
        "hf-ood bench writes them to bench/<budget>/<data set>."
    )


def rounds_of(kept: Kept, use: str | None = None) -> Rounds:
    """The choices of a bench's methods; what was trained on the environments themselves is none of them.

    Raises `ValueError` for results of an earlier version, which do not say how many rows were tested.
    """
    about = kept.about
    tested = about.get("tested")
    lines = kept.choices[kept.choices["method"] != OWN]
    if not isinstance(tested, dict) or not set(lines["held_out"]) <= set(tested):
        raise ValueError(
            f"{kept.name}: {ABOUT_FILE} does not say how many rows of each environment were tested, as an "
            f"earlier version wrote it, so there are no intervals: repeat hf-ood bench --data {kept.name} "
            "with the flags of then; runs that are kept are not repeated."
        )
    choices = []
    for place, row in lines.iterrows():
        path, name = f"{CHOICES_FILE}/{place}", row["held_out"]
        score = share(float(row["score"]), f"{path}/score")
        choices.append(
            Choice(
                row["method"],
                name,
                int(row["seed"]),
                row["protocol"],
                bool(row["oracle"]),
                int(row["trial"]),
                values_of(row["values"]),
                row["settings"],
                score,
                {name: {"accuracy": float(row["accuracy"]), "count": tested[name]}},
                {name: path},
                score if row["protocol"] == TrainingValidation.name else None,
                {name: f"{ABOUT_FILE}/tested/{name}"},
            )
        )
    return Rounds(
        "bench",
        kept.name,
        f"{kept.name} ({about['title']})" if about["title"] else kept.name,
        [],
        list(about["environments"]),
        about["trials"],
        about["seeds"],
        about["settings"],
        about["commit"],
        about.get("data_fingerprint", ""),
        about["versions"],
        True,
        choices,
        use,
    )


def read_rounds(folder: Path, use: str | None = None) -> Rounds:
    """The rounds of one data set of a bench. Raises what `read_kept` and `rounds_of` raise."""
    return rounds_of(read_kept(folder), use)
