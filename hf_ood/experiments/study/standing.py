"""Where studies stand: what is done and where, what is left, and how long that will take."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..dispatch import Ended, Event, log_file
from ..keyed_run import Run
from ..time_estimate import estimate, kind
from ..wrong import describe
from .rows import KeptRows, add_rows, is_of_now, rows_of
from .study import Study


@dataclass(frozen=True)
class Plan:
    """A study at a budget, and its runs."""

    study: Study
    budget: str
    runs: Sequence[Run]


@dataclass(frozen=True)
class Standing:
    """`rows`: those of every run that is done, with the study that they belong to. `left`: runs still to do,
    each setting once. `total`: how many there are. `earlier`: how many done runs are of earlier code or other
    versions. `damaged`: what is wrong with folders whose run is made again."""

    rows: Sequence[tuple[Plan, pd.DataFrame]]
    left: Sequence[Run]
    total: int
    earlier: int
    damaged: Sequence[str]


def look(plans: Sequence[Plan], kept: KeptRows, runs_dir: Path, only_now: bool = False) -> Standing:
    """What is done, in a table or in a folder of runs. `only_now`: what earlier code or other versions made
    does not count."""
    rows: list[tuple[Plan, pd.DataFrame]] = []
    done: dict[str, bool] = {}  # by settings: whether it was made now
    left: dict[str, Run] = {}
    damaged: dict[str, None] = {}
    for plan in plans:
        for run in plan.runs:
            try:
                found = rows_of(plan.study, run, kept, runs_dir, only_now)
            except ValueError as error:
                damaged[str(error)] = None
                found = None
            key = run.settings_key
            if found is not None:
                rows.append((plan, found))
                done.setdefault(key, is_of_now(found, run))
            elif key not in left or run.explain:
                left[key] = run
    # A run that one study has and another lacks a measure of is to do.
    finished = {key: now for key, now in done.items() if key not in left}
    earlier = sum(not now for now in finished.values())
    return Standing(rows, list(left.values()), len(finished) + len(left), earlier, list(damaged))


def write_rows(standing: Standing, folder: Path) -> None:
    """Bring the tables up to what is done already."""
    by_study: dict[str, list[tuple[Plan, pd.DataFrame]]] = {}
    for plan, rows in standing.rows:
        by_study.setdefault(plan.study.name, []).append((plan, rows))
    for found in by_study.values():
        plan = found[0][0]
        add_rows(plan.study, plan.budget, pd.concat([rows for _, rows in found], ignore_index=True), folder)


def writing_rows(
    events: Generator[Event, None, None], plans: Sequence[Plan], kept: KeptRows, runs_dir: Path, folder: Path
) -> Generator[Event, None, None]:
    """Pass events on, and put the rows of every run that ends into the tables of all its studies at once:
    what interrupts this loses the runs under way, and nothing else."""
    members: dict[Path, list[tuple[Plan, Run]]] = {}
    for plan in plans:
        for run in plan.runs:
            members.setdefault(run.folder(runs_dir), []).append((plan, run))
    try:
        for event in events:
            if isinstance(event, Ended) and event.error is None:
                for plan, run in members[event.run.folder(runs_dir)]:
                    rows = rows_of(plan.study, run, kept, runs_dir)
                    if rows is not None:
                        add_rows(plan.study, plan.budget, rows, folder)
            yield event
    finally:
        events.close()


def clear_earlier(runs: Sequence[Run], runs_dir: Path) -> None:
    """Delete the folders of runs that are to be made again."""
    for run in runs:
        if run.folder(runs_dir).exists() and run.recorded_key(runs_dir) != run.key:
            shutil.rmtree(run.folder(runs_dir), ignore_errors=True)
            log_file(run, runs_dir).unlink(missing_ok=True)


def known_costs(standing: Standing, plans: Sequence[Plan]) -> dict[str, float]:
    """CPU seconds of a run of each kind, as the runs that are done took them."""
    kinds = {(plan.study.name, run.arm, run.seed): kind(run) for plan in plans for run in plan.runs}
    total: Counter[str] = Counter()
    number: Counter[str] = Counter()
    for plan, rows in standing.rows:
        first = rows.iloc[0]
        if pd.notna(first["cpu_seconds"]):
            of = kinds[plan.study.name, first["arm"], int(first["seed"])]
            total[of] += first["cpu_seconds"]
            number[of] += 1
    return {of: total[of] / number[of] for of in total}


def expected_seconds(
    runs: Sequence[Run], known: dict[str, float], timed: Callable[[Run], float] | None = estimate
) -> dict[str, float | str]:
    """Seconds of a run of each kind: known, or timed now by a few steps, or what went wrong with that.
    Without `timed`, kinds that are not known are left out."""
    found: dict[str, float | str] = {}
    for run in runs:
        of = kind(run)
        if of in known:
            found[of] = known[of]
        elif of not in found and timed is not None:
            try:
                found[of] = timed(run)
            except (Exception, SystemExit) as error:  # the run itself would fail so
                found[of] = describe(error)
    return found
