"""The re-runs of a frozen network as heads on features that are computed once: no folders, seconds each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...data import EnvironmentDataset
from ...evaluation.prediction import finite
from ...evaluation.results import versions
from ...methods.registry import build_method
from ...runs.heads import FittedHeads, HeadRun, fit_heads_of
from ...runs.origin import commit
from ...runs.trainable import is_head_of_vectors
from ...trainer.heads.spec import Head
from ..head_jobs import FEATURES
from ..jobs import why_alone
from ..keyed_run import Run
from .outputs import Outputs
from .trials import MeasuredTrial, trial_of


def in_bulk(run: Run) -> Run:
    """The re-run, of which results alone are wanted."""
    return replace(run, in_bulk=True)


def are_heads(runs: Sequence[Run], root: Path) -> bool:
    """Whether all re-runs are heads on the features of a frozen network. A head of vectors that are in the
    data is a run like any other, and takes seconds."""
    return all(why_alone(in_bulk(run)) is None and not is_head_of_vectors(run.spec(root)) for run in runs)


def head_trials(
    runs: Mapping[tuple[str, int], Run], root: Path, say: Callable[[str], None]
) -> list[MeasuredTrial]:
    """The trial of each environment; `runs`: by environment and number of the seed. Features are kept below
    `root`, as those of sweeps and benches are.

    Raises `ValueError` when a head cannot be trained.
    """
    environments = list(dict.fromkeys(name for name, _ in runs))
    found = []
    for place, name in enumerate(environments, start=1):
        found.append(_trial(name, [run for (own, _), run in runs.items() if own == name], root))
        say(f"[{place}/{len(environments)}] {runs[name, 0].arm}")
    return found


def _trial(environment: str, runs: Sequence[Run], root: Path) -> MeasuredTrial:
    here, there, origins, names = [], [], [], []
    for run in runs:
        fitted, head = _fitted(run, root)
        here.append(_outputs(fitted, head, fitted.datasets["validation"]))
        there.append(_outputs(fitted, head, fitted.datasets["test"]))
        names = fitted.datasets["test"].label_names
        origins.append(_origin(run, root, fitted, head))
    return trial_of(environment, here, there, names, origins[0])


def _fitted(run: Run, root: Path) -> tuple[FittedHeads, Head]:
    spec = run.spec(root)
    spec.quiet = True
    method = build_method(spec.method.name, spec.options)
    own = HeadRun(method, spec.training.learning_rate, spec.training.weight_decay)
    log = root / f"{run.folder(root).name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file, redirect_stdout(file), redirect_stderr(file):
        fitted = fit_heads_of(spec, [own], root / FEATURES)
    error = fitted.refused[0] or fitted.trained[0].error
    if error is not None:
        raise ValueError(f"A re-run failed, so there is no forecast: {run.arm}: {error}")
    if len(fitted.datasets["validation"]) == 0:
        raise ValueError(
            "The run held no samples of its training environments out, and a forecast begins with what is "
            "true of them: train it with --validation 0.2."
        )
    return fitted, fitted.trained[0]


@torch.no_grad()
def _outputs(fitted: FittedHeads, head: Head, rows: EnvironmentDataset) -> Outputs:
    features = rows.columns["inputs"]
    logits = head.model()(inputs=features).logits
    return Outputs(
        finite(logits.float().cpu().numpy()),
        features.float().numpy(),
        rows.labels.numpy(),
        np.array(rows.environment_names)[rows.environments.numpy()],
    )


def _origin(run: Run, root: Path, fitted: FittedHeads, head: Head) -> dict[str, Any]:
    """The head as a document names a run: see `origin_of`."""
    train = fitted.datasets["train"]
    return {
        "folder": run.folder(root).name,
        "method": run.spec(root).method.name,
        "seed": run.seed,
        "commit": commit(),
        "selection": head.selection,
        "trained_environments": [train.environment_names[n] for n in train.environments.unique().tolist()],
        "data_fingerprint": fitted.fingerprint,
        "versions": versions(),
    }
