"""Heads in bulk: many of them on the same frozen features, as one computation."""

from .fit import fit_heads
from .reasons import why_alone
from .spec import Head, HeadSpec

__all__ = ["Head", "HeadSpec", "fit_heads", "why_alone"]
