"""Environments where no column names them, from what a reference model says. A new way is one file here, and
its name in `INFERENCES`."""

from .base import EnvironmentInference, Reference
from .eiil import EIIL
from .environment_columns import inferred_names, replace_environments, write_environments
from .kmeans import KMeansEnvironments
from .random import RandomEnvironments
from .spare import SPARE

INFERENCES: dict[str, type[EnvironmentInference]] = {
    cls.name: cls for cls in (EIIL, KMeansEnvironments, SPARE, RandomEnvironments)
}

__all__ = [
    "EIIL",
    "INFERENCES",
    "SPARE",
    "EnvironmentInference",
    "KMeansEnvironments",
    "RandomEnvironments",
    "Reference",
    "inferred_names",
    "replace_environments",
    "write_environments",
]
