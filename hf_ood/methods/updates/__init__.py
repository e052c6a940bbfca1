"""What turns gradients into a step of the weights. A new one is one file here, and its name in
`UPDATES`."""

from .and_mask import ANDMask
from .base import Direction, Gradient, Slope, Update, Window
from .fish import Fish
from .iga import IGA
from .mldg import MLDG
from .sam import SAM
from .sand_mask import SANDMask

UPDATES: dict[str, type[Update]] = {cls.name: cls for cls in (SAM, Fish, MLDG, ANDMask, SANDMask, IGA)}

__all__ = [
    "IGA",
    "MLDG",
    "SAM",
    "UPDATES",
    "ANDMask",
    "Direction",
    "Fish",
    "Gradient",
    "SANDMask",
    "Slope",
    "Update",
    "Window",
]
