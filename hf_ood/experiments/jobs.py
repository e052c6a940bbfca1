"""What is handed out as one piece: a run, or heads that are trained together."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ForeseenError
from ..methods.registry import METHODS, build_method
from ..runs.heads import why_no_head
from ..runs.settings import Settings, canonical
from ..trainer.heads.reasons import why_not_the_method
from .head_results import FOLDER
from .keyed_run import Run

TOGETHER_AT_MOST = 256
OF_ITS_OWN = {"method", "learning_rate", "weight_decay", *METHODS}  # what heads of one job differ in


@dataclass(frozen=True)
class Job:
    """Runs that are carried out as one piece. `together`: they are heads, and leave their results alone."""

    runs: tuple[Run, ...]
    together: bool = False

    @property
    def first(self) -> Run:
        return self.runs[0]

    def place(self, root: Path) -> Path:
        """The run's folder, or what the files of heads that go together are called; log and lock are beside
        it."""
        if not self.together:
            return self.first.folder(root)
        names = sorted(run.folder(root).name for run in self.runs)
        return root / FOLDER / hashlib.sha256(" ".join(names).encode()).hexdigest()[:16]


def jobs_of(runs: Sequence[Run]) -> list[Job]:
    """Runs that may be carried out in bulk (`Run.in_bulk`) and are heads of one seed on the same rows make
    jobs of at most `TOGETHER_AT_MOST`, however few they are; each other run is a job."""
    alone, groups = [], defaultdict(list)
    reasons: dict[str, str | None] = {}
    for run in runs:
        if not run.in_bulk:
            alone.append(Job((run,)))
            continue
        shared = json.dumps([shared_settings(run), run.seed], sort_keys=True)
        if shared not in reasons:
            reasons[shared] = _why_not_these(run)
        if reasons[shared] is None and _why_not_its_method(run) is None:
            groups[shared].append(run)
        else:
            alone.append(Job((run,)))
    return [
        *(
            Job(tuple(heads[start : start + TOGETHER_AT_MOST]), together=True)
            for heads in groups.values()
            for start in range(0, len(heads), TOGETHER_AT_MOST)
        ),
        *alone,
    ]


def told(jobs: Sequence[Job]) -> str:
    """How many runs go together, in how many jobs, and why the others do not, in words."""
    heads = [len(job.runs) for job in jobs if job.together]
    reasons = Counter(why_alone(job.first) for job in jobs if not job.together)
    alone = "; ".join(f"{number} one by one ({reason})" for reason, number in reasons.items())
    together = f"{sum(heads)} heads in {len(heads)} job{'s' if len(heads) > 1 else ''}"
    return f"{together}; {alone}" if alone else together


def why_alone(run: Run) -> str | None:
    """Why a run is not carried out together with others; None where it is."""
    if not run.in_bulk:
        return "its folder is wanted"
    return _why_not_these(run) or _why_not_its_method(run)


def shared_settings(run: Run) -> Settings:
    """What heads of one job have in common."""
    settings = canonical(run.settings)
    return {name: value for name, value in settings.items() if name not in OF_ITS_OWN}


def _why_not_these(run: Run) -> str | None:
    if not run.settings.get("cache_features"):
        return "it has no cache_features"
    if run.explain:
        return "it is to be explained"
    try:
        common = Run(run.study, run.arm, run.seed, shared_settings(run))
        return why_no_head(common.spec(Path("runs")))
    except (ValueError, OSError, ForeseenError) as error:  # told where the run is carried out
        return str(error)


def _why_not_its_method(run: Run) -> str | None:
    settings: dict[str, Any] = run.settings
    try:
        return why_not_the_method(build_method(settings.get("method", "erm")))
    except ValueError as error:
        return str(error)
