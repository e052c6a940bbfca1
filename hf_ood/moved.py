"""Rooms, files and functions that have moved are still found under their old names."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED = {
    "hf_ood.averaging": "hf_ood.methods.averaging",
    "hf_ood.data.coloring": "hf_ood.data.colored_mnist.coloring",
    "hf_ood.data.configurations": "hf_ood.data.colored_mnist.configurations",
    "hf_ood.data.mnist": "hf_ood.data.colored_mnist.digits",
    "hf_ood.data.painting": "hf_ood.data.colored_mnist.painting",
    "hf_ood.losses": "hf_ood.methods.losses",
    "hf_ood.masking": "hf_ood.methods.masking",
    "hf_ood.mixing": "hf_ood.methods.mixing",
    "hf_ood.objectives": "hf_ood.methods.objectives",
    "hf_ood.studies": "hf_ood.experiments.study",
    "hf_ood.sweeps": "hf_ood.experiments.sweep",
    "hf_ood.trainer.methods": "hf_ood.methods.registry",
    "hf_ood.updates": "hf_ood.methods.updates",
}
MOVED_OUT: dict[str, dict[str, str]] = {  # of a file that is still there: name -> the file it is in now
    "hf_ood.data.dataset_card": {
        "SHIFTS": "hf_ood.data.colored_mnist.card",
        "colored_mnist_text": "hf_ood.data.colored_mnist.card",
        "with_shifts": "hf_ood.data.colored_mnist.card",
    },
    "hf_ood.runs.data": dict.fromkeys(
        ("training_datasets", "in_domain_test", "part_of", "first_of_each_environment"),
        "hf_ood.runs.stage_data",
    ),
    "hf_ood.data.publish": {"write_colored_mnist": "hf_ood.data.colored_mnist.dataset_folder"},
}


def new_name(name: str) -> str | None:
    """`hf_ood.objectives.functional` -> `hf_ood.methods.objectives.functional`; None where nothing moved."""
    for old, new in MOVED.items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return None


def moved_names(module: str) -> Callable[[str], Any]:
    """The `__getattr__` of a file that names have moved out of."""

    def find(name: str) -> Any:
        if name not in MOVED_OUT[module]:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(import_module(MOVED_OUT[module][name]), name)

    return find


class _OldNames(MetaPathFinder, Loader):
    """Gives the module itself, not a copy: a class is the same under both names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        new = new_name(fullname)
        return None if new is None else ModuleSpec(fullname, self, loader_state=new)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(spec.loader_state)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """The import system has just given the module the old name's spec: it keeps its own."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


def find_old_names() -> None:
    # First: under an old name, Python would find the files of a package that has moved, and load them twice.
    sys.meta_path.insert(0, _OldNames())
