"""Which rows train, choose and test: whole environments held out, and a share of each one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import unknown_name

ROLES = ("train", "validation", "test")
IN_DOMAIN = "in_domain_test"  # rows of the own test split in environments that are trained on
HELD_OUT = 0.2  # DomainBed's share


@dataclass(frozen=True)
class Protocol:
    """How the rows of a dataset are divided; DomainBed's terms (Gulrajani & Lopez-Paz 2021, section 3).

    `test_environments`: whole environments that no training sees. Those that the dataset's own test split
    has are tested on its rows there; the others on all of their rows. The rows of the own test split in
    environments that are trained on are the role `in_domain_test`. None: the own test split as it is; without
    one, all environments that are not named otherwise.
    `train_environments`: None: all that are not held out.
    `validation`: names of whole environments, or the share held out at random from each training
    environment. None: the dataset's own validation split; without one, a share of 0.2.
    `seed`: of the random share.
    """

    train_environments: Sequence[str] | None = None
    test_environments: Sequence[str] | None = None
    validation: float | Sequence[str] | None = None
    seed: int = 0

    @property
    def validation_environments(self) -> list[str]:
        return [] if self.validation is None or isinstance(self.validation, float) else list(self.validation)


def divide(
    splits: Mapping[str, int], environments: np.ndarray, names: Sequence[str], protocol: Protocol
) -> dict[str, np.ndarray]:
    """Rows of `train`, `validation` and `test`, int64, in the order of the data; where there are any, also of
    `in_domain_test`.

    `splits`: the rows of each split of the dataset, which lie one after the other. `environments`: int64 [N]
    over all of them, `names`: what its ids stand for. Raises `ValueError` for unknown or contradictory
    environments and when nothing is left to train on or to test on.
    """
    home = np.repeat(np.arange(len(splits)), list(splits.values()))
    is_in = {split: home == number for number, split in enumerate(splits)}
    nowhere = np.zeros(len(environments), bool)
    own_test, own_validation = is_in.get("test", nowhere), is_in.get("validation", nowhere)
    validation, test = protocol.validation_environments, list(protocol.test_environments or [])
    train = list(protocol.train_environments or [])
    _check_names(names, train, validation, test)
    if not test and not own_test.any():
        test = [name for name in names if name not in {*train, *validation}] if train else []
        if not test:
            raise ValueError(
                f"The dataset has no test split ({', '.join(splits)}): name the environments to test on "
                f"(test_environments), some of {', '.join(names)}."
            )

    def of(chosen: Sequence[str]) -> np.ndarray:
        return np.isin(environments, [names.index(name) for name in chosen])

    tested = own_test.copy()
    if test:
        tested = nowhere.copy()
        for name in test:
            here = of([name])
            tested |= here & own_test if (here & own_test).any() else here
    left = (of(train) if train else ~of(test)) & ~own_test & ~of(validation)
    if validation:
        chosen = of(validation) & ~own_test
        chosen = chosen if chosen.any() else of(validation)
    elif protocol.validation is None and (left & own_validation).any():
        chosen = left & own_validation
    else:
        share = HELD_OUT if protocol.validation is None else protocol.validation
        assert isinstance(share, float)
        chosen = _share_of_each(environments, left, share, protocol.seed)
    trained = left & ~chosen
    roles = {"train": trained, "validation": chosen, "test": tested}
    in_domain = own_test & ~tested & np.isin(environments, environments[trained])
    if in_domain.any():
        roles[IN_DOMAIN] = in_domain
    for role in ("train", "test"):
        if not roles[role].any():
            raise ValueError(f"No rows are left to {role} on: the environments are {', '.join(names)}.")
    return {role: np.flatnonzero(mask) for role, mask in roles.items()}


def _check_names(
    names: Sequence[str], train: Sequence[str], validation: Sequence[str], test: Sequence[str]
) -> None:
    roles = {"train": train, "validation": validation, "test": test}
    for role, chosen in roles.items():
        for name in chosen:
            if name not in names:
                raise ValueError(unknown_name(f"{role} environment", name, list(names)))
    for one, other in (("train", "test"), ("validation", "test"), ("train", "validation")):
        both = set(roles[one]) & set(roles[other])
        if both:
            raise ValueError(
                f"Environment {min(both)!r} is asked for as {one} and as {other} environment: choose one."
            )


def _share_of_each(environments: np.ndarray, rows: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A random share of the rows of each environment, at least one of those with two or more."""
    if not 0 < share < 1:
        raise ValueError(f"validation must be a share between 0 and 1, or environments, not {share}.")
    random, chosen = np.random.default_rng(seed), np.zeros(len(rows), bool)
    for environment in np.unique(environments[rows]):
        members = np.flatnonzero(rows & (environments == environment))
        count = max(round(share * len(members)), int(len(members) > 1))
        chosen[random.permutation(members)[:count]] = True
    return chosen
