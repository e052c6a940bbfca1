"""What is minimised. A new objective is one file here, and its name in `OBJECTIVES`."""

from .base import Objective, Outputs, Sums
from .erm import ERM
from .irm import IRM
from .vrex import VREx

OBJECTIVES: dict[str, type[Objective]] = {cls.name: cls for cls in (ERM, IRM, VREx)}

__all__ = ["ERM", "IRM", "OBJECTIVES", "Objective", "Outputs", "Sums", "VREx"]
