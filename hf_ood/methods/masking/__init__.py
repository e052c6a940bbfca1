"""What is done to features on the way forward. A new one is one file here, and its name in
`FEATURE_TRANSFORMS`."""

from .base import FeatureTransform
from .mixstyle import MixStyle
from .rsc import RSC

FEATURE_TRANSFORMS: dict[str, type[FeatureTransform]] = {cls.name: cls for cls in (RSC, MixStyle)}

__all__ = ["FEATURE_TRANSFORMS", "RSC", "FeatureTransform", "MixStyle"]
