"""What is done to a training batch before the network sees it. A new one is one file here, and its name in
`MIXINGS`."""

from .base import Mixing
from .lisa import LISA
from .mixup import Mixup

MIXINGS: dict[str, type[Mixing]] = {cls.name: cls for cls in (Mixup, LISA)}

__all__ = ["LISA", "MIXINGS", "Mixing", "Mixup"]
