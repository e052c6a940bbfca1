"""Results as tables and plots."""

from .curves import draw_curves
from .tables import results_table

__all__ = ["draw_curves", "results_table"]
