"""IRM as a named trainer."""

from ..methods.objectives import IRM
from .ood_trainer import OODTrainer


class IRMTrainer(OODTrainer):
    """`OODTrainer` whose objective is IRM: it acts in `compute_loss`. Arguments as there."""

    objective_class = IRM
