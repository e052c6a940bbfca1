"""A run of an experiment: its settings and seed, and the key of all that determines its results."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from transformers.utils import logging

from ..data.built_in import BUILT_IN, DEFAULT_DATASET, has_built_in_rows
from ..evaluation.results import RESULTS_FILE, load_results
from ..json_files import read_object
from ..methods.registry import METHODS, method_parts
from ..runs.attribution import REPORT_FILE
from ..runs.origin import CODE, carrier, changes, made_on
from ..runs.sections import sections
from ..runs.settings import Settings, canonical, merge, spec_from_settings
from ..runs.spec import RunSpec
from .head_results import FOLDER, has_results, read_results, versions_of

# What can change what a run gives.
DECISIVE = ("torch", "transformers", "accelerate", "datasets", "numpy", CODE)
logger = logging.get_logger(__name__)
# In results.
NEEDED: dict[str, Any] = {"seed": int, "environments": dict, "history": list, "cpu_seconds": (int, float)}
NEVER_NULL = ("mean_accuracy", "worst_accuracy", "train_accuracy", "mean_squared_error")


@dataclass(frozen=True)
class Run:
    """One training run: an arm with a seed. `key` changes with everything that determines its results."""

    study: str
    arm: str
    seed: int
    settings: Settings
    explain: bool = False
    in_bulk: bool = False
    """Its results are all that is wanted: it may be carried out together with others, without a folder."""

    @property
    def key(self) -> str:
        """Of settings, seed, data, code, and versions of the packages that matter, as they are now."""
        return self.key_on(carrier())

    def key_on(self, versions: Mapping[str, str]) -> str:
        """The key with other versions and code, as `carrier` names them."""
        used = {name: versions[name] for name in DECISIVE if name in versions}
        return _hash([*self._identity(), used])

    @property
    def settings_key(self) -> str:
        """Of settings, seed and data alone: the same on other code and versions."""
        return _hash(self._identity())

    def recorded_key(self, root: Path) -> str:
        """The key with what the run in its folder was made on, last of all."""
        folder = self.folder(root)
        return self.key_on(made_on(folder) or versions_of(root, folder.name) or carrier())

    def _identity(self) -> list[Any]:
        settings = canonical(self.settings)
        return [settings, self.seed, data_fingerprint(settings)]

    def folder(self, root: Path) -> Path:
        """The same for the same run in another study, so that it is carried out once, and on other versions,
        so that an experiment goes on after an update."""
        settings = canonical(self.settings)
        data = Path(settings.get("dataset", "")).name
        what = [settings.get("dataset_config") or data, settings.get("method", "erm")]
        return root / f"{re.sub('[^a-z0-9_]+', '-', '-'.join(what))}-seed{self.seed}-{self.settings_key}"

    def recipe(self, root: Path) -> Settings:
        """The settings that are this run, as `RunSpec.from_settings` takes them.

        One thread a run: its numbers then do not depend on how many runs share the machine.
        """
        own = {"seed": self.seed, "output_dir": str(self.folder(root)), "num_threads": 1}
        settings = canonical(self.settings)
        data = settings.get("dataset", DEFAULT_DATASET)
        seeded = data in BUILT_IN and "seed" in sections().get(data, {})
        return merge({data: {"seed": self.seed}} if seeded else {}, own, settings)

    def spec(self, root: Path) -> RunSpec:
        """What `hf_ood.runs.run` carries out, without bars and trackers of its own."""
        return spec_from_settings({**self.recipe(root), "disable_tqdm": True, "report_to": "none"})


def _hash(content: list[Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def data_fingerprint(settings: Settings) -> str:
    """Changes with the rows of files and folders, and with the digits that are coloured; what comes from the
    Hub is known by its name alone."""
    name = settings.get("dataset", DEFAULT_DATASET)
    if name in BUILT_IN and (BUILT_IN[name].tensors or has_built_in_rows(name)):
        return BUILT_IN[name].fingerprint(settings.get(name, {}))
    path = Path(name)
    files = (
        [path]
        if path.is_file()
        else sorted(path.rglob("*") if path.is_dir() else path.parent.glob(path.name))
    )
    return _content_hash(
        tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file())
    )


@lru_cache
def _content_hash(files: tuple[tuple[str, int, int], ...]) -> str:
    """Of the bytes of all files; sizes and times only say when to read them again."""
    digest = hashlib.sha256()
    for name, *_ in files:
        with open(name, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16] if files else ""


def read_run(run: Run, root: Path) -> dict[str, Any] | None:
    """A run's results, from its folder or, of one that was carried out together with others, from their file
    (`head_results`); None where it has not finished. That it was made on other versions is said. Raises
    `ValueError` when the file is damaged.
    """
    folder = run.folder(root)
    if not (folder / RESULTS_FILE).exists():
        found = None if run.explain else read_results(root, folder.name)
        if found is not None:
            _tell_other_versions(versions_of(root, folder.name), root / FOLDER, "this folder")
        return found
    results = load_results(folder)
    wrong = [name for name, kind in NEEDED.items() if not isinstance(results.get(name), kind)]
    wrong += [name for name in NEVER_NULL if name in results and results[name] is None]
    if wrong or results["seed"] != run.seed:
        what = f"{', '.join(wrong)} missing or null" if wrong else f"its seed is {results['seed']}"
        raise ValueError(f"{folder / RESULTS_FILE} is not the whole result of this run: {what}.")
    _tell_other_versions(made_on(folder), root, "their folders")
    if run.explain:
        report = folder / REPORT_FILE
        if not report.exists():
            return None
        found = read_object(report).get("environments")
        if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
            raise ValueError(f"{report} is damaged (it has no environments)")
        results["attribution"] = list(found.values())
    return results


def _tell_other_versions(made: Mapping[str, str], root: Path, to_delete: str) -> None:
    then, now = ({name: of.get(name) for name in DECISIVE} for of in (made, carrier()))
    if any(then.values()) and then != now:
        logger.warning_once(
            f"Finished runs in {root} were made on other versions ({changes(then, now)}). They count, with a "
            f"key of their own; delete {to_delete} to make them again."
        )


def finished(run: Run, root: Path) -> bool:
    if not run.explain and has_results(root, run.folder(root).name):
        return True
    return read_run(run, root) is not None


def used(settings: Settings) -> Settings:
    """Without sections of methods that are not used: what is the same run has the same settings."""
    methods = [stage.get("method") for stage in settings.get("stages", [])] + [settings.get("method", "erm")]
    unused = set(METHODS) - {part for method in methods if method for part in method_parts(method)}
    return {name: value for name, value in settings.items() if name not in unused}
