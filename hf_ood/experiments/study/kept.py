"""What is kept of studies, small enough to commit: tables, pictures, cards; and the page made from them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ...evaluation.results import load_results
from ...hub.model_card import build_model_card
from ...reporting.studies import write_docs_page, write_page, write_readme
from ...reporting.summaries import StudySummary
from ...resources import RESULTS
from ...runs.published_command import command_line
from ..keyed_run import Run, finished
from .illustrations import illustrations, shift_illustration
from .study import BUDGETS, Study
from .summary import summarize
from .table import read_table

PICTURES = "pictures"


def keep_pictures(study: Study, runs: Sequence[Run], runs_dir: Path, folder: Path) -> None:
    """Copy what the study's first seed left to be looked at, where it was carried out here."""
    for picture in study.pictures:
        run = next((run for run in runs if run.arm == picture.arm), None)
        if run is not None and (run.folder(runs_dir) / picture.file).exists():
            (folder / PICTURES).mkdir(parents=True, exist_ok=True)
            kept = folder / PICTURES / picture.kept_as(study.name)
            shutil.copyfile(run.folder(runs_dir) / picture.file, kept)


def write_cards(study: Study, runs: Sequence[Run], runs_dir: Path, folder: Path, budget: str) -> None:
    """A card for each arm that the study names and of which all runs were carried out here: the card of a
    part of them would have other figures than the page."""
    for arm in study.cards:
        done = [run for run in runs if run.arm == arm]
        if done and all(finished(run, runs_dir) for run in done):
            results = [load_results(run.folder(runs_dir)) for run in done]
            flags = ["--study", study.name, "--only", arm, "--budget", budget]
            results[0]["command"] = command_line("trainers/reproduce.py", flags)
            folder.mkdir(parents=True, exist_ok=True)
            name = re.sub("[^a-z0-9]+", "-", f"{study.name}-{arm}".lower())
            build_model_card(results[0], others=results[1:]).save(folder / f"{name}.md")


def show(
    studies: Sequence[Study], results_dir: Path, readme: Path | None = None, docs_page: Path | None = None
) -> Path:
    """Write the page (and the README's table, and the page of the documentation) from the kept results alone;
    returns the page."""
    found = [
        summary
        for study in sorted(studies, key=lambda study: study.order)
        for summary in [read(study, results_dir)]
        if summary
    ]
    if readme is not None:
        write_readme(found, readme)
    if docs_page is not None:
        write_docs_page(found, docs_page)
    shift = shift_illustration(results_dir) or shift_illustration(RESULTS)
    return write_page(found, [*illustrations(), *shift], results_dir)


def read(study: Study, results_dir: Path) -> StudySummary | None:
    """A study's results at the larger budget, where every arm that is there has two seeds at least; those
    that came with the package where there are no others."""
    tables = [
        (budget, file, read_table(file))
        for budget in reversed(BUDGETS)
        for kept in (results_dir, RESULTS)
        for file in [kept / budget / f"{study.name}.csv"]
        if file.exists()
    ]
    tables = [(budget, file, table) for budget, file, table in tables if set(table["arm"]) & set(study.arms)]
    if not tables:
        return None
    begun = next((each for each in tables if _has_pairs(each[2])), tables[0])
    budget, file, table = begun
    return replace(summarize(study, table, budget, file.parent / PICTURES), table=file)


def _has_pairs(table: pd.DataFrame) -> bool:
    return bool((table.groupby("arm")["seed"].nunique() >= 2).all())


def find_damaged(studies: Sequence[Study], results_dir: Path) -> dict[Path, str]:
    """The kept tables that cannot be read, each with what is wrong with it."""
    found = {}
    for study in studies:
        for budget in BUDGETS:
            file = results_dir / budget / f"{study.name}.csv"
            try:
                if file.exists():
                    read_table(file)
            except ValueError as error:
                found[file] = str(error)
    return found
