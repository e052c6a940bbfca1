"""What the docstring of a method tells: what it needs, what it is related to, and an example that runs."""

from __future__ import annotations

import doctest
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from documents import FOLDER

import hf_ood
from hf_ood.discovery import INFERENCES
from hf_ood.methods.last_layer import LAST_LAYERS
from hf_ood.methods.losses import LOSSES
from hf_ood.methods.registry import METHODS

CLASSES = {**METHODS, **INFERENCES, **LAST_LAYERS, **LOSSES}
WITH_EXAMPLES = [name for name in hf_ood.__all__ if ">>>" in (inspect.getdoc(getattr(hf_ood, name)) or "")]


@pytest.mark.parametrize("name", CLASSES)
def test_a_method_says_what_it_needs_and_shows_itself(name: str) -> None:
    cls = CLASSES[name]
    told = inspect.getdoc(cls) or ""
    sections = re.findall(r"^(Requirements|Relations|Examples):\n    \S", told, re.MULTILINE)
    assert sections == ["Requirements", "Relations", "Examples"]
    assert cls.__name__ in WITH_EXAMPLES
    assert getattr(hf_ood, cls.__name__) is cls


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_a_docstring_give_what_they_say(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    described: Any = getattr(hf_ood, name)
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(described) or "", {}, name, None, None)
    shown: list[str] = []
    outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=shown.append)
    assert outcome.attempted and not outcome.failed, "".join(shown)


@pytest.mark.parametrize("name", CLASSES)
def test_a_method_has_one_place_in_the_pages_with_its_equation(name: str) -> None:
    cls = CLASSES[name]
    directive = f"::: hf_ood.{cls.__name__}\n"
    (page,) = (text for file in FOLDER.rglob("*.md") if directive in (text := file.read_text()))
    section = page.split(directive)[0].split("\n## ")[-1]
    assert cls.equation in section
    assert section.splitlines()[0] == cls.__name__
