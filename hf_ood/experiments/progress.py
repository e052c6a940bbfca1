"""What a study shows while it runs: a line for every slot and a bar, or plain lines."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, nullcontext
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from .dispatch import Ended, Event, Started, log_file
from .keyed_run import Run, read_run


def title(run: Run) -> str:
    return f"{run.study}: {run.arm}, seed {run.seed}"


def duration(seconds: float) -> str:
    """`41 s`, `23 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Remaining(ProgressColumn):
    """The time left if runs go on ending as fast as they did."""

    def render(self, task: Task) -> Text:
        left = task.fields["whole"] - (task.elapsed or 0)
        return Text(f"about {duration(left)} left" if task.completed and left > 0 else "")


class Display:
    """A live table on a terminal: what each slot runs and since when, and below it the whole."""

    def __init__(self, total: int, console: Console):
        self.slots = Progress(
            TextColumn("{task.fields[slot]:>3}"), SpinnerColumn(), TextColumn("{task.description}"),
            TimeElapsedColumn(), console=console,
        )  # fmt: skip
        columns = (TextColumn("runs"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), Remaining())
        self.whole = Progress(*columns, console=console)
        self.task = self.whole.add_task("runs", total=total, whole=0.0)
        self.rows: dict[int, TaskID] = {}

    def show(self, event: Event) -> None:
        if isinstance(event, Started):
            if event.slot not in self.rows:
                self.rows[event.slot] = self.slots.add_task("", total=None, slot=event.slot + 1)
            more = f" and {event.together - 1} more" if event.together > 1 else ""
            self.slots.reset(self.rows[event.slot], total=None, description=escape(title(event.run) + more))
        elif isinstance(event, Ended):
            if event.slot is not None and not event.left:
                self.slots.update(self.rows[event.slot], description="idle")
                self.slots.stop_task(self.rows[event.slot])
            self.whole.advance(self.task)
            task = self.whole.tasks[0]
            self.whole.update(self.task, whole=(task.elapsed or 0) / task.completed * (task.total or 0))


def follow(events: Generator[Event, None, None], total: int, root: Path, console: Console) -> list[str]:
    """Show what happens until all is over, a line for every run that ended; returns what failed."""
    display, failed, ended = Display(total, console), [], 0
    live = Live(Group(display.slots, display.whole), console=console, transient=True)
    with closing(events), live if console.is_terminal else nullcontext():
        for event in events:
            display.show(event)
            if isinstance(event, Ended):
                ended += 1
                if event.error:
                    where = log_of(event, root)
                    failed.append(
                        f"{title(event.run)}: {event.error}" + (f" (log: {where})" if where else "")
                    )
                if event.error or not event.left:
                    console.print(escape(f"[{ended}/{total}] {outcome(event, root)}"))
            elif not isinstance(event, Started):
                console.print(escape(f"{title(event.run)}: another process is doing it"))
    return failed


def log_of(event: Ended, root: Path) -> Path | None:
    """The log of a run of its own; the message is all that there is of a head among others."""
    file = log_file(event.run, root)
    return file if event.together == 1 and file.exists() else None


def outcome(event: Ended, root: Path) -> str:
    """One line on a run that has ended, the last of those that were carried out as one."""
    if event.error:
        where = log_of(event, root)
        return f"{title(event.run)}: failed" + (f", see {where}" if where else f", {event.error}")
    results = read_run(event.run, root)
    assert results is not None, "a run that ended without an error has results"
    if event.together > 1:
        seconds = results["seconds"] * event.together
        return f"{title(event.run)} and {event.together - 1} more: {seconds:.0f} s, together"
    what = f"{results['seconds']:.0f} s, "
    if "mean_accuracy" in results:
        what += f"mean test accuracy {results['mean_accuracy']:.1%}"
    elif "mean_macro_f1" in results:
        what += "mean test macro-F1 " + ("-" if (f1 := results["mean_macro_f1"]) is None else f"{f1:.1%}")
    else:
        what += f"mean squared test error {results['mean_squared_error']:.3g}"
    return f"{title(event.run)}: {what}" + (", done by another process" if event.slot is None else "")
