"""A study compares arms over seeds: a YAML file, resumable runs, one table with intervals."""

from ..executors import EXECUTORS, Executor
from ..keyed_run import Run, finished
from ..study.study import Claim, Study, load_study, study_files
from ..study.summary import summarize
from ..study.table import collect

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
