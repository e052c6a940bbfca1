"""Where the `evaluate` modules of this package are."""

from __future__ import annotations

from pathlib import Path

from ..errors import unknown_name

MODULES = Path(__file__).parent / "modules"


def module(name: str) -> str:
    """The folder of an `evaluate` module, for `evaluate.load`: `environment_report` or
    `worst_environment_accuracy`. Raises `ValueError` for another name.

    Example: `evaluate.load(hf_ood.evaluation.module("environment_report"))`
    """
    folder = MODULES / name
    if not (folder / f"{name}.py").is_file():
        raise ValueError(
            unknown_name("evaluate module", name, [path.name for path in MODULES.glob("[a-z]*")])
        )
    return str(folder)
