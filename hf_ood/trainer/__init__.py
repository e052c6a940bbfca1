"""The engine and its named methods."""

from ..engine import NonFiniteLossError
from . import contract
from .checkpoints import CorruptCheckpointError
from .environment_evaluation import EnvironmentEvaluation
from .environment_options import EnvironmentOptions
from .environment_trainer import EnvironmentTrainer
from .irm_rsc_trainer import IRMRSCTrainer
from .irm_trainer import IRMTrainer
from .linear_probe import cached_features, fit_head
from .ood_config import OODConfig
from .ood_trainer import OODTrainer
from .rsc_trainer import RSCTrainer

contract.check()

__all__ = [
    "CorruptCheckpointError",
    "EnvironmentEvaluation",
    "EnvironmentOptions",
    "EnvironmentTrainer",
    "IRMRSCTrainer",
    "IRMTrainer",
    "NonFiniteLossError",
    "OODConfig",
    "OODTrainer",
    "RSCTrainer",
    "cached_features",
    "fit_head",
]
