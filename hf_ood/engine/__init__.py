"""What an optimizer step is, whoever runs the loop: pure torch, no `Trainer`."""

from .exact_step import AUXILIARY_LOSS, ExactStep
from .frozen_start import FrozenStart
from .method_forward import MethodForward, takes_transform
from .method_training import MethodTraining
from .reduction import ALONE, Reduction
from .sharding import is_sharded, own_part
from .state import Stateful, load_parts, save_parts, state_file
from .stopping import STOPPING
from .training_record import NonFiniteLossError, TrainingRecord
from .unused_parameters import freeze_unused, unused_parameters
from .weight_average import WeightAverage
from .whole_step import StepSettings, WholeStep

__all__ = [
    "ALONE",
    "AUXILIARY_LOSS",
    "STOPPING",
    "ExactStep",
    "FrozenStart",
    "MethodForward",
    "MethodTraining",
    "NonFiniteLossError",
    "Reduction",
    "Stateful",
    "StepSettings",
    "TrainingRecord",
    "WeightAverage",
    "WholeStep",
    "freeze_unused",
    "is_sharded",
    "load_parts",
    "own_part",
    "save_parts",
    "state_file",
    "takes_transform",
    "unused_parameters",
]
