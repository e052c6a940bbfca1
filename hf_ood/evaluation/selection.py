"""Rules that choose hyper-parameters: what each looks at, and whether a test environment takes part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..data.splits import IN_DOMAIN
from .metrics import mean_accuracy, worst_accuracy

Results = Mapping[str, Any]  # of one run, as in results.json


@dataclass(frozen=True)
class Candidate:
    """One choice of hyper-parameters with one seed, for the test environments `held_out`.

    `whole`: the run that trained on all other environments. `folds`: by environment, the run that trained
    without it as well. Both were tested on all that they did not train on.
    """

    held_out: Sequence[str]
    whole: Results
    folds: Mapping[str, Results]


class Protocol(ABC):
    """How good a candidate looks (`score`) and what it is worth in the held-out environment (`accuracy`)."""

    name: ClassVar[str]
    oracle: ClassVar[bool] = False
    """True: the test environment takes part in the choice, so `accuracy` is too good."""
    needs_folds: ClassVar[bool] = False

    @property
    def left_out(self) -> str | None:
        """The environment that the run whose accuracy counts did not train on either; None: it trained on all
        but the held-out ones."""
        return None

    @abstractmethod
    def score(self, candidate: Candidate) -> float: ...

    def run(self, candidate: Candidate) -> Results:
        """The run whose accuracy counts."""
        return candidate.whole

    def accuracy(self, candidate: Candidate) -> float:
        return tested(self.run(candidate), *candidate.held_out)


class TrainingValidation(Protocol):
    """Mean accuracy on held-out samples of the training environments (DomainBed's training-domain
    validation set)."""

    name = "training-environment validation"

    def score(self, candidate: Candidate) -> float:
        return mean_accuracy(_validated(candidate.whole))


class WorstValidation(Protocol):
    """The same, of the worst training environment."""

    name = "worst-environment validation"

    def score(self, candidate: Candidate) -> float:
        return worst_accuracy(_validated(candidate.whole))


class LeaveOneOut(Protocol):
    """Mean over training environments of the accuracy on it of a run that left it out (DomainBed's
    leave-one-domain-out cross-validation)."""

    name = "leave-one-environment-out"
    needs_folds = True

    def score(self, candidate: Candidate) -> float:
        accuracies = [tested(results, left_out) for left_out, results in candidate.folds.items()]
        return sum(accuracies) / len(accuracies)


@dataclass(frozen=True)
class GivenEnvironment(Protocol):
    """The accuracy on one environment that is kept for it: the final run does not train on it either."""

    environment: str
    needs_folds = True

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"validation environment {self.environment}"

    @property
    def left_out(self) -> str:
        return self.environment

    def score(self, candidate: Candidate) -> float:
        return tested(self.run(candidate), self.environment)

    def run(self, candidate: Candidate) -> Results:
        if self.environment not in candidate.folds:
            raise ValueError(
                f"{self.environment!r} cannot choose for {', '.join(candidate.held_out)}: it must be another "
                f"environment ({', '.join(candidate.folds)})."
            )
        return candidate.folds[self.environment]


class Oracle(Protocol):
    """The accuracy on the test environment itself: an upper bound, not a result."""

    name = "oracle"
    oracle = True

    def score(self, candidate: Candidate) -> float:
        return self.accuracy(candidate)


class OwnEnvironment(TrainingValidation):
    """What training on the held-out environments themselves reaches on their own test rows: what a method
    could win at most, and no protocol to choose a method by.

    Where the data have no test rows of an environment, its validation samples are measured.
    """

    name = "the environment's own validation"

    def accuracy(self, candidate: Candidate) -> float:
        entries = candidate.whole["environments"]
        found = [entries.get(f"{IN_DOMAIN}/{name}", entries.get(name)) for name in candidate.held_out]
        return sum(entry["accuracy"] for entry in found) / len(found)


PROTOCOLS: dict[str, type[Protocol]] = {
    "validation": TrainingValidation,
    "worst": WorstValidation,
    "leave_one_out": LeaveOneOut,
    "oracle": Oracle,
}


def tested(results: Results, *environments: str) -> float:
    """A run's mean accuracy on test environments."""
    found = tested_entries(results, environments).values()
    return sum(entry["accuracy"] for entry in found) / len(found)


def tested_entries(results: Results, environments: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """What a run says of each of these test environments."""
    entries = results["environments"]
    return {name: entries.get(f"test/{name}", entries.get(name)) for name in environments}


def _validated(results: Results) -> dict[str, Mapping[str, Any]]:
    return {name: entry for name, entry in results["environments"].items() if entry["split"] == "validation"}
