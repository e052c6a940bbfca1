"""Environments of several columns by the values of some of them."""

from __future__ import annotations

import pytest

from hf_ood.data.combinations import all_matching, matching, with_combinations
from hf_ood.data.splits import Protocol

COLUMNS = ["site", "scanner.no"]
NAMES = [
    "site=fonts,scanner.no=1",
    "site=fonts,scanner.no=2",
    "site=fonts, old,scanner.no=1",
    "site=clips,scanner.no=1",
]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("site=fonts", NAMES[:2]),
        ("site=fonts, old", [NAMES[2]]),
        ("scanner.no=1", [NAMES[0], *NAMES[2:]]),
        ("scanner.no=1,site=clips", [NAMES[3]]),
        (NAMES[1], [NAMES[1]]),
        ("site=font", ["site=font"]),
        ("scannerXno=1", ["scannerXno=1"]),
        ("fonts", ["fonts"]),
    ],
)
def test_all_combinations_that_agree(asked: str, found: list[str]) -> None:
    assert matching(asked, NAMES, COLUMNS) == found


def test_one_column_has_names_of_its_own() -> None:
    assert matching("site=fonts", ["site=fonts,b=1", "other"], ["site"]) == ["site=fonts"]


def test_every_role_is_expanded_and_no_name_twice() -> None:
    assert all_matching(["site=fonts", NAMES[0]], NAMES, COLUMNS) == NAMES[:2]
    protocol = with_combinations(Protocol(["site=fonts"], ["site=clips"], ["scanner.no=2"]), NAMES, COLUMNS)
    assert protocol == Protocol(NAMES[:2], [NAMES[3]], [NAMES[1]])
    assert with_combinations(Protocol(validation=0.3), NAMES, COLUMNS) == Protocol(validation=0.3)
