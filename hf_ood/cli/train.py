"""`hf-ood train`: one run, from a dataset to a checkpoint with its results."""

from __future__ import annotations

from collections.abc import Sequence

from transformers.utils import logging

from ..errors import UsageError
from ..runs.results import Results
from ..runs.run import run
from ..trainer import CorruptCheckpointError, NonFiniteLossError
from .arguments import parse_arguments
from .parser import make_parser
from .signals import one_sentence

logger = logging.get_logger(__name__)


def main(argv: Sequence[str] | None = None) -> Results:
    """Parse the command line, train, and leave the run in its output folder. Returns the results."""
    spec = parse_arguments(argv)
    again = "The same command with --resume_from_checkpoint true goes on from the last checkpoint."
    try:
        with one_sentence(again):
            return run(spec)
    except (ValueError, OSError, NonFiniteLossError, CorruptCheckpointError) as error:
        logger.debug("Traceback of the error below", exc_info=True)
        raise UsageError(str(error)) from error


__all__ = ["main", "make_parser"]
