"""The runs that a choice of hyper-parameters asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...evaluation.selection import Candidate, Protocol
from ...runs.settings import Settings, merge
from ..keyed_run import Run, read_run
from .space import Space, as_settings, search_space


@dataclass(frozen=True)
class Plan:
    """Which environments there are, which are tested, and who chooses.

    `settings`: flags that all runs share. `environments`: of the training split, and the rows of each.
    `held_out`: the test environments of each column of the table: one that is left out of the training split,
    or those of the test split. `protocols`: all are evaluated on the same runs; those that need folds
    cost one more run for each environment that is left out beside. `arms`: what stands beside methods, by
    name: its settings, `method` among them.
    """

    settings: Settings
    environments: Mapping[str, int]
    held_out: Mapping[str, Sequence[str]]
    protocols: Sequence[Protocol] = field(default_factory=list)
    arms: Mapping[str, Settings] = field(default_factory=dict)

    def changes(self, method: str) -> Settings:
        """What a method, or an arm, changes in the settings that all share."""
        return merge({"method": "erm"}, self.arms[method]) if method in self.arms else {"method": method}

    def space(self, method: str) -> Space:
        """Where the sweep looks for the method's options."""
        runs = [run for held_out in self.held_out for run in self.runs(method, {}, held_out, 0).values()]
        rows = [sum(self.environments[name] for name in run.settings["train_environments"]) for run in runs]
        most = self.settings.get("max_train_samples") or min(rows)
        changes = self.changes(method)
        return search_space(changes["method"], merge(self.settings, changes), min(most, *rows))

    def without(self, method: str, values: dict[str, Any], out: set[str], seed: int) -> Run:
        """The run that trains on all environments but `out`, and is tested on those.

        It is the same run whichever of them is held out and whichever a fold, so it is carried out once.
        """
        split = {
            "train_environments": [name for name in self.environments if name not in out],
            "test_environments": sorted(out),
        }
        settings = merge(self.settings, self.changes(method), as_settings(values), split)
        arm = f"{method} without {', '.join(split['test_environments'])}"
        return Run("sweep", arm, seed, settings, in_bulk=True)

    def runs(self, method: str, values: dict[str, Any], held_out: str, seed: int) -> dict[str | None, Run]:
        """The whole run (key None) and a run for each fold (key: the environment that it leaves out too)."""
        tests = set(self.held_out[held_out])
        runs: dict[str | None, Run] = {None: self.without(method, values, tests, seed)}
        if any(protocol.needs_folds for protocol in self.protocols):
            for name in self.environments:
                if name not in tests:
                    runs[name] = self.without(method, values, tests | {name}, seed)
        return runs

    def candidate(
        self, method: str, values: dict[str, Any], held_out: str, seed: int, root: Path
    ) -> Candidate | None:
        """What the finished runs say; None while one is missing."""
        results = {
            left_out: read_run(run, root)
            for left_out, run in self.runs(method, values, held_out, seed).items()
        }
        if any(found is None for found in results.values()):
            return None
        found = {left_out: one for left_out, one in results.items() if one is not None}
        return Candidate(
            self.held_out[held_out], found.pop(None), {str(name): one for name, one in found.items()}
        )
