"""The re-runs behind a forecast: a run's own settings with each training environment left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.built_in import BUILT_IN
from ...data.targets import CLASSIFICATION
from ...evaluation.results import load_results
from ...methods.registry import build_method
from ...runs.finished_run import read_run
from ...runs.folder import ARGUMENTS_FILE, is_finished, recorded_settings, recorded_spec
from ...runs.sections import sections
from ...runs.settings import Settings, comparable_settings, merge, plain
from ...runs.stage_data import EVERYTHING
from ..keyed_run import Run

OWN = ("seed", "output_dir", "num_threads")
VARIED = ("test_environments", "train_environments")


@dataclass(frozen=True)
class Plan:
    """`folder`: of the finished run. `environments`: those that it was trained on. `settings`: its own, that
    all re-runs share; `split`: those that say what is trained and tested on. `seed`: its own."""

    folder: Path
    environments: tuple[str, ...]
    settings: Settings
    split: Settings
    seed: int

    def without(self, left_out: str, further: int = 0) -> Run:
        """The re-run that is not trained on an environment, and is tested on it; `further`: which seed after
        the run's own."""
        kept = [name for name in self.environments if name != left_out]
        split = {"train_environments": kept, "test_environments": [left_out]}
        return self._run(f"without {left_out}", split, further)

    def again(self, further: int) -> Run:
        """The run itself with another seed."""
        return self._run("with all", self.split, further)

    def _run(self, arm: str, split: Settings, further: int) -> Run:
        """Of every seed the same samples are held out."""
        seeds = {"data_seed": self.settings.get("data_seed", self.seed)} if further else {}
        return Run("forecast", arm, self.seed + further, {**self.settings, **seeds, **split})


def make_plan(folder: Path) -> Plan:
    """What a finished run asks for. Raises `ValueError` for a run that is no classification, has stages that
    train on environments of their own, was trained on its validation samples too or validated on whole
    environments, or has too few environments."""
    finished = read_run(folder)
    spec, settings = recorded_spec(folder), recorded_settings(folder / ARGUMENTS_FILE)
    if finished.data.task != CLASSIFICATION:
        raise ValueError(
            f"{folder} is a run of {finished.data.task}, which has no accuracy to forecast: hf-ood evaluate "
            "measures it where there are labels."
        )
    if any(stage.keys() & {*VARIED} for stage in settings.get("stages", [])):
        raise ValueError(
            f"A stage of {folder} trains on environments of its own, so that none can be left out of the "
            "whole run: forecast a run whose stages train on the same."
        )
    if spec.last.data.train_on == EVERYTHING:
        raise ValueError(
            f"{folder} ended with a training on its validation samples too (train_on everything), and a "
            "forecast begins with what is true of samples that it was not trained on: forecast the same run "
            "without that, before it."
        )
    if finished.validated:
        raise ValueError(
            f"{folder} was validated on whole environments ({', '.join(sorted(finished.validated))}), and a "
            "forecast needs held-out samples of those that it was trained on: train it with --validation 0.2."
        )
    environments = tuple(sorted(finished.trained))
    least = max(1, build_method(spec.method.name, spec.options).objective.min_environments)
    if len(environments) - 1 < least:
        raise ValueError(
            f"{folder} was trained on {len(environments)} environments ({', '.join(environments)}): with one "
            f"left out {spec.method.name} still needs {least}. Train on more environments."
        )
    own = {name: value for name, value in settings.items() if name not in (*OWN, *VARIED)}
    data = spec.data.dataset
    if data in BUILT_IN and "seed" in sections().get(data, {}):  # the data are those of the run
        drawn = spec.options.get(data, {}).get("seed", sections()[data]["seed"].default)
        own = merge(own, {data: {"seed": drawn}})
    split = {name: settings[name] for name in VARIED if name in settings}
    return Plan(folder, environments, own, split, int(load_results(folder)["seed"]))


def find_finished(run: Run, left_out: str, root: Path, others: Iterable[Path] = ()) -> Path | None:
    """The folder of a finished run that was trained alike without this environment: that of the re-run
    itself, or any below `others`, such as a sweep's runs. None where there is none."""
    own = run.folder(root)
    if is_finished(own):
        return own
    wanted = _trained_alike(comparable_settings(run.spec(root)))
    for other in others:
        for note in sorted(other.glob(f"**/{ARGUMENTS_FILE}")):
            if not is_finished(note.parent):
                continue
            found = comparable_settings(recorded_spec(note.parent))
            if left_out in (found.get("test_environments") or []) and _trained_alike(found) == wanted:
                return note.parent
    return None


def _trained_alike(settings: Mapping[str, Any]) -> Settings:
    """The settings that decide what is trained: what a run is tested on beside does not."""
    kept = plain({name: value for name, value in settings.items() if name != "test_environments"})
    return {**kept, "train_environments": sorted(kept.get("train_environments") or [])}
