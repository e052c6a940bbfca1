"""Classes and environments of two things are matched by name, or not at all."""

from __future__ import annotations

import pytest

from hf_ood.data.align import align, in_order, placeholders


@pytest.mark.parametrize(
    ("names", "known", "ids", "how"),
    [
        (["dog", "cat"], ["cat", "dog"], [1, 0], "by name"),
        (["dog"], ["cat", "owl", "dog"], [2], "by name"),
        ([" Dog", "CAT"], ["cat", "dog"], [1, 0], "by name, case and spaces aside"),
        (["1", "2"], ["2", "1"], [1, 0], "by name"),
        (["0", "1", "10"], [f"LABEL_{i}" for i in range(11)], [0, 1, 10], "by id"),
        (["1", "0"], ["cat", "dog"], [1, 0], "by id"),
        (["False", "True"], ["no", "yes"], [0, 1], "by id"),
        (["cat", "dog"], ["LABEL_1", "LABEL_0"], [1, 0], "by id"),
    ],
)
def test_names_find_their_like(names: list[str], known: list[str], ids: list[int], how: str) -> None:
    match = align(names, known)
    assert match.ids.tolist() == ids and match.how == how


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (["cat", "dog"], ["chat", "chien"]),  # as many, and other ones
        (["cat", "owl"], ["cat", "dog"]),
        (["0", "1", "2"], ["1", "2", "3"]),  # numbers that are not the same are other names
        (["0", "5"], ["cat", "dog"]),  # an id that there is not
        (["cat", "dog"], ["LABEL_0", "LABEL_1", "LABEL_2"]),  # which two of three?
        (["Cat", "dog"], ["cat", "CAT", "dog"]),  # which cat?
    ],
)
def test_others_are_refused_with_both_lists(names: list[str], known: list[str]) -> None:
    with pytest.raises(ValueError, match="matched by name") as refused:
        align(names, known)
    assert ", ".join(names) in str(refused.value) and ", ".join(known) in str(refused.value)


def test_one_name_for_two_ids_is_refused() -> None:
    with pytest.raises(ValueError, match="Two classes of the model have one name: cat"):
        align(["cat"], ["cat", "cat"])


def test_digits_are_in_numerical_order() -> None:
    assert in_order(["10", "9", "b", "a", "001"]) == ["001", "9", "10", "a", "b"]
    assert placeholders(["LABEL_3", "1"]) == [3, 1] and placeholders(["1", "one"]) is None
