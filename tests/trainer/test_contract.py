"""The private names of `Trainer` that the package uses stand in one file, and are checked."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from transformers import Trainer

import hf_ood
from hf_ood.trainer import contract
from hf_ood.trainer.checkpointing import Checkpointing
from hf_ood.trainer.environment_evaluation import EnvironmentEvaluation
from hf_ood.trainer.environment_trainer import EnvironmentTrainer
from hf_ood.trainer.resuming import Resuming

PACKAGE = Path(hf_ood.__file__).parent
KNOWN = {*contract.OVERRIDDEN, *contract.CALLED, *contract.ATTRIBUTES}


def trainers_private_names() -> set[str]:
    """Those of `Trainer` itself: its methods, and what its methods set on `self`."""
    import inspect

    tree = ast.parse(inspect.getsource(Trainer))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return {name for name in names | set(vars(Trainer)) if name.startswith("_") and not name.startswith("__")}


def test_every_private_name_that_is_used_is_listed() -> None:
    used = set()
    for file in (PACKAGE / "trainer").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute):
                used.add(node.attr)
            elif isinstance(node, ast.FunctionDef):
                used.add(node.name)
    assert used & trainers_private_names() - KNOWN == set()
    assert KNOWN - used == set()


def test_overridden_names_are_overridden_with_trainers_parameters() -> None:
    for name in contract.OVERRIDDEN:
        classes = (EnvironmentTrainer, Checkpointing, Resuming, EnvironmentEvaluation)
        assert any(name in vars(own) for own in classes), name
    assert contract.differences() == []


def test_a_release_that_renames_one_is_an_error_on_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Trainer, "_save_optimizer_and_scheduler")
    monkeypatch.setattr(Trainer, "_save_checkpoint", lambda self, model: None)
    with pytest.raises(ImportError, match=r"_save_checkpoint takes \(model\).*is gone.*5\.23\.0 to"):
        contract.check()
