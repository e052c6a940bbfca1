"""A study compares arms over seeds: a YAML file, resumable runs, one table with intervals."""

from .collect import collect, finished
from .executors import EXECUTORS, Executor
from .study import Claim, Run, Study, load_study, study_files
from .summary import summarize

__all__ = [
    "EXECUTORS",
    "Claim",
    "Executor",
    "Run",
    "Study",
    "collect",
    "finished",
    "load_study",
    "study_files",
    "summarize",
]
