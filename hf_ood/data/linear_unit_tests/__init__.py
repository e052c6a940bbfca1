"""Linear unit tests of invariance: three small problems of which the invariant solution is known.

Source: Aubin et al. 2021, arXiv:2102.10867. Every input is a vector of invariant and of spurious values;
in the test environments the spurious ones are shuffled over the samples, so they tell nothing.
"""

from .builder import SPLITS, linear_unit_test_tensors, random_rotation
from .examples import (
    CONFIGURATIONS,
    EXAMPLES,
    OPTIONS,
    LinearUnitTestConfig,
    Sampler,
    Samples,
    cause_and_effect,
    cows_and_camels,
    small_margin,
)

__all__ = [
    "CONFIGURATIONS",
    "EXAMPLES",
    "OPTIONS",
    "SPLITS",
    "LinearUnitTestConfig",
    "Sampler",
    "Samples",
    "cause_and_effect",
    "cows_and_camels",
    "linear_unit_test_tensors",
    "random_rotation",
    "small_margin",
]
