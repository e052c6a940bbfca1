"""Which runs make a row of a comparison, and what the row is called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .finished_runs import FinishedRun

Row = list[FinishedRun]  # the same settings, a run for each seed
Settings = Mapping[str, Any]


def make_rows(runs: Sequence[FinishedRun]) -> dict[str, Row]:
    """Runs that differ in nothing but the seed, by name and in order of appearance.

    A row is called by its method, and by the settings in which it differs from other rows: `irm`, or
    `irm, learning_rate 0.001`. Raises `ValueError` when runs were tested on different data, which cannot be
    compared, and when two runs have the same settings and the same seed.
    """
    refuse_different_data(runs)
    groups: dict[str, Row] = {}
    for run in runs:
        groups.setdefault(repr(sorted(run.settings.items(), key=lambda item: item[0])), []).append(run)
    for row in groups.values():
        _refuse_repeated_seed(row)
    names = row_names([row[0].settings for row in groups.values()])
    return dict(zip(names, groups.values(), strict=True))


def refuse_different_data(runs: Sequence[FinishedRun]) -> None:
    """Raise `ValueError` naming two runs that were tested on different data, and in what these differ."""
    first = runs[0]
    for run in runs[1:]:
        names = [name for name in {**first.data, **run.data} if first.data.get(name) != run.data.get(name)]
        if names:
            told = "; ".join(f"{name}: {first.data.get(name)} / {run.data.get(name)}" for name in names)
            raise ValueError(
                f"{first.folder} and {run.folder} were tested on different data, where figures cannot be "
                f"compared ({told}). Compare the runs on either data by themselves."
            )


def _refuse_repeated_seed(row: Row) -> None:
    seen: dict[int, FinishedRun] = {}
    for run in row:
        if run.seed in seen:
            raise ValueError(
                f"{seen[run.seed].folder} and {run.folder} are the same run twice: the same settings and "
                f"seed {run.seed}. Leave one out."
            )
        seen[run.seed] = run


def row_names(settings: Sequence[Settings]) -> list[str]:
    """A name for each row, all of them different: the method, and the settings that differ between rows."""
    names = [", ".join([str(own["method"]), *_differences(own, settings)]) for own in settings]
    repeated, seen = Counter(names), Counter[str]()
    for position, name in enumerate(names):
        if repeated[name] > 1:  # they differ in what one of them lacks
            seen[name] += 1
            names[position] = f"{name} ({seen[name]})"
    return names


def _differences(own: Settings, settings: Sequence[Settings]) -> Iterator[str]:
    """What tells a row from others, as text.

    Settings of a section (`irm.penalty_weight`) are compared with the rows that have the section; a section
    that others lack is named, unless it is a method's or a stage's, which the method tells.
    """
    named = set(str(own["method"]).replace(", then ", "+").split("+"))
    for name, value in own.items():
        section = name.rpartition(".")[0]
        alike = [other for other in settings if not section or _has(other, section)]
        if len(alike) < len(settings) and section not in named and not section[0].isdigit():
            named.add(section)
            yield section
        if name != "method" and any(name not in other or other[name] != value for other in alike):
            yield f"{name} {' '.join(map(str, value)) if isinstance(value, list) else value}"


def _has(settings: Settings, section: str) -> bool:
    return any(name.startswith(f"{section}.") for name in settings)
