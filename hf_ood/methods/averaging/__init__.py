"""What becomes of the weights that a training passes through. A new one is one file here, and its name in
`AVERAGINGS`."""

from .base import Averaging
from .bma import BMA
from .ema import EMA
from .interpolation import interpolate
from .soup import average_weights
from .swa import SWA
from .swad import SWAD

AVERAGINGS: dict[str, type[Averaging]] = {cls.name: cls for cls in (EMA, SWA, SWAD, BMA)}

__all__ = ["AVERAGINGS", "BMA", "EMA", "SWA", "SWAD", "Averaging", "average_weights", "interpolate"]
