"""Carries out heads that go together."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from .. import hub_client
from ..methods.registry import build_method, method_parts
from ..runs.heads import HeadRun, train_heads
from ..runs.origin import carrier
from ..runs.sections import sections
from ..runs.settings import typed_section
from ..runs.spec import RunSpec
from .head_results import write_results
from .jobs import Job, shared_settings
from .keyed_run import Run
from .wrong import describe

FEATURES = "features"  # below the folder of all runs


def carry_out_heads(job: Job, root: Path) -> list[str | None]:
    """Train the heads of a job and keep their results -> what went wrong with each, or None."""
    hub_client.install()
    place = job.place(root)
    place.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{place}.log").open("w") as log, redirect_stdout(log), redirect_stderr(log):
        try:
            outcomes = results_of(job, root)
        except (Exception, SystemExit) as error:
            traceback.print_exc()  # into the log
            return [describe(error, place)] * len(job.runs)
        names = [run.folder(root).name for run in job.runs]
        found = {
            name: outcome for name, outcome in zip(names, outcomes, strict=True) if isinstance(outcome, dict)
        }
        write_results(root, found, carrier())
        return [None if isinstance(outcome, dict) else describe(outcome, place) for outcome in outcomes]


def results_of(job: Job, root: Path, most_rows: int | None = None) -> list[dict[str, Any] | ValueError]:
    """The results of each head, or what was wrong with it. `most_rows`: see `train_heads`."""
    spec = Run(job.first.study, job.first.arm, job.first.seed, shared_settings(job.first)).spec(root)
    heads: list[HeadRun | ValueError] = []
    for run in job.runs:
        try:
            heads.append(_own(run, spec))
        except ValueError as error:
            heads.append(error)
    own = [head for head in heads if isinstance(head, HeadRun)]
    trained = iter(train_heads(spec, own, root / FEATURES, most_rows))
    return [next(trained) if isinstance(head, HeadRun) else head for head in heads]


def _own(run: Run, spec: RunSpec) -> HeadRun:
    """Raises `ValueError` for options that the method does not have, or not with these values."""
    settings: Mapping[str, Any] = run.settings
    name, known = settings.get("method", "erm"), sections()
    options = {
        part: typed_section(part, settings[part], known.get(part))
        for part in method_parts(name)
        if part in settings
    }
    training = spec.training
    return HeadRun(
        build_method(name, options),
        float(settings.get("learning_rate", training.learning_rate)),
        float(settings.get("weight_decay", training.weight_decay)),
    )
