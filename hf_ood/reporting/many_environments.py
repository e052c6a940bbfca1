"""Many environments in a few rows: the worst, quantiles, the best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..evaluation.measures import rises
from ..evaluation.metrics import headline, is_regression

MOST_ROWS = 40  # environments of a split up to which a table has a row for each
WORST, BEST = 5, 3  # environments that a summary names at either end
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MOST_NAMES = 8  # in a sentence
Entries = Mapping[str, Mapping[str, Any]]


def from_worst(report: Entries) -> list[str]:
    """The environments from the worst to the best: by accuracy, by macro F1 where samples have several labels
    (those without it first), or by a regression's squared error."""
    if is_regression(report):
        return sorted(report, key=lambda name: -report[name]["squared_error"])
    measure = headline(report)
    return sorted(report, key=lambda name: report[name].get(measure, -1.0))


def standing_at(report: Entries, quantiles: Sequence[float] = (0.0, *QUANTILES, 1.0)) -> dict[str, str]:
    """Which environment stands where, from the worst (0) to the best (1): environment -> `worst`, `5 %`, ...,
    `median`, ..., `best`; one that stands at several quantiles is named by the first."""
    ranked = from_worst(report)
    places: dict[str, str] = {}
    for share in quantiles:
        places.setdefault(ranked[round(share * (len(ranked) - 1))], quantile_name(share))
    return places


def quantile_name(share: float) -> str:
    return {0.0: "worst", 0.5: "median", 1.0: "best"}.get(share, f"{100 * share:g} %")


def summary_rows(
    entries: Entries, measures: Iterable[str], most: int = MOST_ROWS
) -> dict[str, Mapping[str, Any]]:
    """The rows of a table of environments: all of a split, or in place of more than `most` the worst, the
    quantiles and the best.

    `entries`: each with its `split` and the `measures`. Worst and best are environments. A quantile, named
    `5 % of 2,000`, is that of each measure by itself, counted from its worse end; it has no `count`.
    """
    rows: dict[str, Mapping[str, Any]] = {}
    for split in dict.fromkeys(entry["split"] for entry in entries.values()):
        own = {name: entry for name, entry in entries.items() if entry["split"] == split}
        rows |= own if len(own) <= most else _summary(own, measures, split)
    return rows


def _summary(entries: Entries, measures: Iterable[str], split: str) -> dict[str, Mapping[str, Any]]:
    ranked = from_worst(entries)
    known = [name for name in measures if all(name in entry for entry in entries.values())]
    columns = {name: [entry[name] for entry in entries.values()] for name in known}
    quantiles = {
        f"{quantile_name(share)} of {len(entries):,} ({split})": {
            "split": split,
            **{
                name: float(np.quantile(column, share if rises(name) else 1 - share))
                for name, column in columns.items()
            },
        }
        for share in QUANTILES
    }
    ends = ranked[:WORST], ranked[-BEST:]
    worst, best = ({name: entries[name] for name in names} for names in ends)
    return {**worst, **quantiles, **best}


def summary_note(entries: Entries, most: int = MOST_ROWS) -> str:
    """How `summary_rows` is to be read; empty where it has left nothing out."""
    splits = [entry["split"] for entry in entries.values()]
    counts = {split: splits.count(split) for split in dict.fromkeys(splits)}
    many = [f"{count:,} {split}" for split, count in counts.items() if count > most]
    if not many:
        return ""
    return (
        f"{' and '.join(many)} environments are summarised: the {WORST} worst and the {BEST} best, between "
        "them quantiles of each measure by itself, from its worse end; results.json has all."
    )


def shortened(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """Names in a sentence: all, or the first `most` and how many more there are."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most:,} more"
