"""What a sweep or a bench chose in each round, an environment being held out in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import unknown_name
from .numbers import Number

ORACLE = "oracle"


@dataclass(frozen=True)
class Choice:
    """What a rule (`protocol`) chose for `held_out`, with one seed, among the trials of a method.

    `score`: what it looked at; `values`: the hyper-parameters; `run`: the folder or the key of the run.
    `tested`: the results in each environment that was held out, with `accuracy` and `count`; `in_domain`:
    the accuracy on new samples of the training environments, None where that is not known. `path`: where the
    choice is, `counted`: where the counts are, if not with the results.
    """

    method: str
    held_out: str
    seed: int
    protocol: str
    oracle: bool
    trial: int
    values: Mapping[str, Any]
    run: str
    score: Number
    tested: Mapping[str, Mapping[str, Any]]
    path: Mapping[str, str]
    in_domain: Number | None = None
    counted: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""
    checkpoint: str = ""


@dataclass(frozen=True)
class Rounds:
    """The choices of a sweep or a bench, and what its runs have in common.

    `kind`: "sweep" or "bench". `title`: of its data. `classes`: empty where they are not known.
    `environments`: that there are. `trials`: of each method and round. `settings`: of all runs.
    `in_turn`: whether environments were held out one after the other. `use`: see `Evidence`.
    """

    kind: str
    name: str
    title: str
    classes: Sequence[str]
    environments: Sequence[str]
    trials: int
    seeds: Sequence[int]
    settings: Mapping[str, Any]
    commit: str
    fingerprint: str
    versions: Mapping[str, str]
    in_turn: bool
    choices: Sequence[Choice]
    use: str | None = None

    @property
    def protocols(self) -> list[str]:
        """The rules that choose, those that no test environment took part in first."""
        found = {choice.protocol: choice.oracle for choice in self.choices}
        return sorted(found, key=lambda name: found[name])

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(choice.method for choice in self.choices))


@dataclass(frozen=True)
class Round:
    """One environment, or the test split, held out: the choice of each seed, the first being shown."""

    choices: Sequence[Choice]

    @property
    def shown(self) -> Choice:
        return self.choices[0]


def rule(rounds: Rounds, protocol: str | None) -> str:
    """The protocol of that name; by default the first that is no oracle. Raises `ValueError` for none."""
    names = rounds.protocols
    if protocol is not None:
        if protocol not in names:
            raise ValueError(unknown_name("protocol", protocol, names))
        return protocol
    if all(choice.oracle for choice in rounds.choices):
        raise ValueError(
            f"{rounds.name} chose by the test environments alone: name a protocol that does not in the "
            f"{rounds.kind}, or take these figures, which are too high, with --protocol {ORACLE}."
        )
    return names[0]


def played(rounds: Rounds, method: str | None, protocol: str) -> list[Round]:
    """The rounds under a protocol, of one method; without one, of the method that the protocol scores best,
    which may be another in each round, since the held-out environment must not choose.

    Raises `ValueError` for a method that is not there, and where a round has no choice of it.
    """
    if method is not None and method not in rounds.methods:
        raise ValueError(unknown_name("method", method, rounds.methods))
    own = [choice for choice in rounds.choices if choice.protocol == protocol]
    found = []
    for held_out in dict.fromkeys(choice.held_out for choice in rounds.choices):
        here = [choice for choice in own if choice.held_out == held_out]
        choices = {name: [one for one in here if one.method == name] for name in rounds.methods}
        going = {name: each for name, each in choices.items() if each and method in (None, name)}
        if not going:
            raise ValueError(
                f"{rounds.name} has no finished run of {method or 'any method'} with {held_out} held out: "
                f"bring the {rounds.kind} to its end by the command that began it."
            )
        best = max(going.values(), key=mean_score)
        found.append(Round(sorted(best, key=lambda one: one.seed)))
    return found


def mean_score(choices: Sequence[Choice]) -> float:
    """Over seeds."""
    return sum(choice.score.value for choice in choices) / len(choices)
