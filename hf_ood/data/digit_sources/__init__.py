"""Digits of seven kinds: two collections of handwriting, and fifteen fonts of five kinds."""

from .builder import DIGIT_SOURCES, made_digit_sources
from .sources import FONTS

load_digit_sources = DIGIT_SOURCES.load

__all__ = ["DIGIT_SOURCES", "FONTS", "load_digit_sources", "made_digit_sources"]
