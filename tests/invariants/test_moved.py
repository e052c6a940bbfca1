"""Imports of rooms that have moved."""

from __future__ import annotations

import importlib
import pickle

import pytest

import hf_ood
from hf_ood.moved import MOVED, MOVED_OUT


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_is_the_module_itself(old: str) -> None:
    module = importlib.import_module(old)
    assert module is importlib.import_module(MOVED[old])
    assert module.__name__ == MOVED[old] and module.__spec__.name == MOVED[old]


def test_a_file_of_a_moved_room_is_loaded_once() -> None:
    from hf_ood.masking.rsc import RSC  # type: ignore[import-not-found]
    from hf_ood.methods.objectives import functional
    from hf_ood.objectives.functional import environment_sums  # type: ignore[import-not-found]

    assert RSC is hf_ood.RSC
    assert environment_sums is functional.environment_sums


@pytest.mark.parametrize("file", MOVED_OUT)
def test_a_function_that_has_left_its_file_is_found_there(file: str) -> None:
    old = importlib.import_module(file)
    for name, new in MOVED_OUT[file].items():
        assert getattr(old, name) is getattr(importlib.import_module(new), name)
    with pytest.raises(AttributeError, match=f"{file}.*nowhere"):
        _ = old.nowhere


def test_what_was_pickled_under_an_old_name_comes_back() -> None:
    new = pickle.dumps(hf_ood.IRM, protocol=0)
    assert b"hf_ood.methods.objectives.irm" in new
    assert pickle.loads(new.replace(b"hf_ood.methods.objectives.irm", b"hf_ood.objectives.irm")) is hf_ood.IRM


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        (
            "colored_mnist",
            "ColoredMNIST DEFAULT_CONFIGURATION colored_mnist_tensors features load_colored_mnist",
        ),
        ("linear_unit_tests", "EXAMPLES Sampler Samples cause_and_effect cows_and_camels small_margin"),
        ("linear_unit_tests", "LinearUnitTestConfig OPTIONS linear_unit_test_tensors random_rotation"),
        (
            "punctuated_text",
            "CONFIGURATIONS SOURCES Shift card_text punctuation_shortcut write_punctuated_text",
        ),
    ],
)
def test_a_file_that_is_a_folder_now_has_the_names_it_had(folder: str, names: str) -> None:
    module = importlib.import_module(f"hf_ood.data.{folder}")
    assert all(hasattr(module, name) for name in names.split())
