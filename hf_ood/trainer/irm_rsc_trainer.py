"""Both named methods at once."""

from .irm_trainer import IRMTrainer
from .rsc_trainer import RSCTrainer


class IRMRSCTrainer(IRMTrainer, RSCTrainer):
    """IRM in `compute_loss` and RSC in the forward pass: they meet nowhere, so there is nothing to add."""
