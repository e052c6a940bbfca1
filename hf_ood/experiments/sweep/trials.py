"""Optuna's side of a sweep: which hyper-parameters are tried, by whom, and what came of them."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import BaseFileLock
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import IntegrityError, ProgrammingError

from ...locks import acquire
from ...passwords import without_passwords
from .space import Space, defaults, suggest

SAMPLERS = ("random", "tpe")
PRUNERS: dict[str, type[BasePruner]] = {"none": NopPruner, "median": MedianPruner}
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
VALUES, HOST, SPLIT = "values", "host", "/"


class DefaultsSampler(RandomSampler):
    """Gives every hyper-parameter its default."""

    def __init__(self, defaults: Mapping[str, Any]):
        super().__init__()
        self.defaults = defaults

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.defaults[param_name]


@dataclass
class OpenTrial:
    """A trial that this process works on, and the lock that tells others so."""

    trial: Trial
    method: str
    held_out: str
    values: dict[str, Any]
    lock: BaseFileLock


@dataclass(frozen=True)
class Trials:
    """The trials of a sweep in a storage that several processes or machines share.

    `name`: of the sweep. `storage`: an Optuna URL (`sqlite:///sweep.db`, `postgresql://...`). `locks`: a
    folder. There is one Optuna study for each method and held-out environment, called
    `<name>/<method>/<environment>`.
    """

    name: str
    storage: optuna.storages.BaseStorage
    sampler: str
    pruner: str
    locks: Path

    def study(self, method: str, held_out: str) -> Study:
        return optuna.create_study(
            storage=self.storage,
            study_name=SPLIT.join([self.name, method, held_out]),
            direction="maximize",
            pruner=PRUNERS[self.pruner](),
            load_if_exists=True,
        )

    def take_up(self, method: str, held_out: str, wanted: int, at_once: int, space: Space) -> list[OpenTrial]:
        """Trials to work on now, at most `at_once`: those that an interrupted process of this machine left,
        then new ones until there are `wanted` in all.

        Processes that ask at the same moment may get one too many: it waits for a sweep that wants more.
        """
        study, here = self.study(method, held_out), socket.gethostname()
        taken = []
        for frozen in study.get_trials(states=(TrialState.RUNNING,)):
            if frozen.number < wanted and frozen.user_attrs.get(HOST, here) == here:
                taken.append(self._open(study, Trial(study, frozen._trial_id), method, held_out, space))
        while len(study.get_trials(deepcopy=False)) < wanted and len(taken) < at_once:
            trial = study.ask()
            if trial.number < wanted:
                taken.append(self._open(study, trial, method, held_out, space))
        return [trial for trial in taken if trial is not None][:at_once]

    def _open(self, study: Study, trial: Trial, method: str, held_out: str, space: Space) -> OpenTrial | None:
        """None when another process works on it."""
        lock = acquire(self.locks / f"{study.study_name}-{trial.number}".replace(SPLIT, "--"))
        if lock is None:
            return None
        trial.set_user_attr(HOST, socket.gethostname())
        study.sampler = self._sampler(method, trial.number, space)
        values = suggest(trial, space)
        trial.set_user_attr(VALUES, values)
        return OpenTrial(trial, method, held_out, values, lock)

    def _sampler(self, method: str, number: int, space: Space) -> BaseSampler:
        """Of one trial, by its number: the first has the defaults, so that one trial compares methods as
        shipped; random ones draw the same for every held-out environment."""
        if number == 0:
            return DefaultsSampler(defaults(space))
        seed = seed_of(f"{method} {number}")
        if self.sampler == "tpe":
            return TPESampler(constant_liar=True, seed=seed)
        return RandomSampler(seed=seed)

    def tell(self, open_trial: OpenTrial, value: float | None, pruned: bool = False) -> None:
        """End a trial: with its score, as pruned, or (None) as failed."""
        study = self.study(open_trial.method, open_trial.held_out)
        state = TrialState.PRUNED if pruned else TrialState.FAIL if value is None else TrialState.COMPLETE
        study.tell(open_trial.trial, None if pruned else value, state, skip_if_finished=True)
        open_trial.lock.release()

    @property
    def prunes(self) -> bool:
        return self.pruner != "none"

    def ended(self, method: str, held_out: str) -> list[FrozenTrial]:
        return [trial for trial in self.study(method, held_out).get_trials() if trial.state in ENDED]


def seed_of(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


def open_journal(file: Path) -> optuna.storages.BaseStorage:
    """A storage in a file that processes of machines with a common disk may share; with thousands of trials
    it takes a fifth of SQLite's time."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(file)))


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """Raises `ValueError` with the way out when the storage cannot be reached."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for attempts_left in (2, 1, 0):
        try:
            return optuna.storages.get_storage(url)
        except Exception as error:
            if isinstance(error, (IntegrityError, ProgrammingError)) and attempts_left:
                time.sleep(1)  # another process is just making the tables
                continue
            reason = without_passwords(f"{type(error).__name__}: {error}", [url])
            raise ValueError(
                f"--storage {without_passwords(url, [url])}: {reason}. An Optuna URL is sqlite:///FILE.db or "
                "postgresql://USER:PASSWORD@HOST/DATABASE, with @ and / of a password written as %40 and %2F "
                "(pip install 'psycopg[binary]')."
            ) from None  # the cause holds the address
    raise AssertionError("the last attempt returns or raises")
