"""What studies and sweeps say before they start: what is done, what is left, and how long it will take."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape

from ..experiments.keyed_run import Run
from ..experiments.progress import duration
from ..experiments.study.standing import Plan, Standing, expected_seconds, known_costs
from ..experiments.time_estimate import estimate, kind, makespan
from ..runs.cores import cores


def print_standing(standing: Standing, console: Console) -> None:
    for message in standing.damaged:
        console.print(f"[yellow]run again:[/] {escape(message)}")
    left = len(standing.left)
    console.print(f"{standing.total - left} of {standing.total} runs are finished, {left} to do.")
    if standing.earlier:
        console.print(
            f"{standing.earlier} of them were made by earlier code or on other versions, and count: --verify "
            "--seed N checks a seed, --rerun makes them again."
        )


def print_expected(
    standing: Standing, plans: Sequence[Plan], arguments: argparse.Namespace, console: Console
) -> None:
    """How long what is left will take: by what such runs took before, or by a few timed steps where the
    budget is worth that."""
    workers = 1 if arguments.executor == "in_process" else arguments.workers or cores()
    if arguments.executor == "workers" and (arguments.workers or 1) > cores():
        console.print(
            f"[yellow]--workers {arguments.workers} on {cores()} cores:[/] a run uses one thread, "
            "so more workers than cores only slow each other down."
        )
    if not standing.left:
        return
    costs = known_costs(standing, plans)
    if arguments.dry_run:
        print_estimate(standing.left, workers, console, costs)
        return
    timed = estimate if arguments.budget == "full" else None
    found = expected_seconds(standing.left, costs, timed)
    known = [each for run in standing.left if isinstance(each := found.get(kind(run)), float)]
    if known:
        others = len(standing.left) - len(known)
        without = f" without {others} runs that are not known (--dry_run times them)" if others else ""
        console.print(
            f"Expected: about {sum(known) / 3600:.2g} CPU hours, {duration(makespan(known, workers))} on "
            f"{workers} worker{'s' if workers > 1 else ''}{without}."
        )


def print_estimate(
    runs: Sequence[Run], workers: int, console: Console, costs: Mapping[str, float] | None = None
) -> None:
    """Each arm's runs with the time of one, and the time of all; kinds of run are timed once, but where
    `costs` knows them."""
    arms: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        arms.setdefault((run.study, run.arm), []).append(run)
    timed: dict[str, float | str] = {}
    for (study, arm), same in arms.items():
        timed |= expected_seconds(same[:1], {**(costs or {}), **_numbers(timed)})
        found = timed[kind(same[0])]
        each = found if isinstance(found, str) else f"about {duration(found)} each"
        console.print(escape(f"  {study}: {arm}, seeds {', '.join(str(run.seed) for run in same)}: {each}"))
    known = [found for run in runs if not isinstance(found := timed[kind(run)], str)]
    if known:
        on = f"{workers} worker{'s' if workers > 1 else ''}"
        console.print(
            f"about {duration(makespan(known, workers))} on {on}, {sum(known) / 3600:.2g} CPU hours"
        )


def _numbers(timed: Mapping[str, float | str]) -> dict[str, float]:
    return {of: found for of, found in timed.items() if not isinstance(found, str)}
