"""A run as a library call: what it is (`RunSpec`), and what carries it out (`run`)."""

from .recipe import Recipe, read_recipe
from .results import Results
from .run import run
from .spec import DataSpec, MethodSpec, NetworkSpec, RunSpec

__all__ = ["DataSpec", "MethodSpec", "NetworkSpec", "Recipe", "Results", "RunSpec", "read_recipe", "run"]
