"""The engine and its named methods."""

from .checkpoints import CorruptCheckpointError
from .irm_rsc_trainer import IRMRSCTrainer
from .irm_trainer import IRMTrainer
from .linear_probe import cached_features, fit_head
from .methods import register
from .ood_config import OODConfig
from .ood_trainer import OODTrainer
from .record import NonFiniteLossError
from .rsc_trainer import RSCTrainer

__all__ = [
    "CorruptCheckpointError",
    "IRMRSCTrainer",
    "IRMTrainer",
    "NonFiniteLossError",
    "OODConfig",
    "OODTrainer",
    "RSCTrainer",
    "cached_features",
    "fit_head",
    "register",
]
