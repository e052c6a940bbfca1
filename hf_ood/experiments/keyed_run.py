"""A run of an experiment: its settings and seed, and the key of all that determines its results."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..data.built_in import BUILT_IN, DEFAULT_DATASET
from ..evaluation.results import RESULTS_FILE, load_results, versions
from ..methods.registry import METHODS, method_parts
from ..runs.attribution import REPORT_FILE
from ..runs.origin import code_hash
from ..runs.sections import sections
from ..runs.settings import Settings, canonical, merge, spec_from_settings
from ..runs.spec import RunSpec

DECISIVE = ("torch", "transformers", "accelerate", "datasets", "numpy")  # packages that can
NEEDED = ("environments", "history", "cpu_seconds")


@dataclass(frozen=True)
class Run:
    """One training run: an arm with a seed. `key` changes with everything that determines its results."""

    study: str
    arm: str
    seed: int
    settings: Settings
    explain: bool = False

    @property
    def key(self) -> str:
        """Of settings, seed, data, code, and versions of the packages that matter."""
        settings = canonical(self.settings)
        used = {name: found for name, found in versions().items() if name in DECISIVE}
        content = [settings, self.seed, data_fingerprint(settings), code_hash(), used]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]

    def folder(self, root: Path) -> Path:
        """The same for the same run in another study, so that it is carried out once."""
        settings = canonical(self.settings)
        data = Path(settings.get("dataset", "")).name
        what = [settings.get("dataset_config") or data, settings.get("method", "erm")]
        return root / f"{re.sub('[^a-z0-9_]+', '-', '-'.join(what))}-seed{self.seed}-{self.key}"

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


def data_fingerprint(settings: Settings) -> str:
    """Changes with the rows of files and folders, and with the digits that are coloured; what comes from the
    Hub is known by its name alone."""
    name = settings.get("dataset", DEFAULT_DATASET)
    if name in BUILT_IN and BUILT_IN[name].tensors:
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
    """A run's results, or None where it has not finished. Raises `ValueError` when the file is damaged."""
    folder = run.folder(root)
    if not (folder / RESULTS_FILE).exists():
        return None
    results = load_results(folder)
    missing = [name for name in NEEDED if name not in results]
    if missing or results["seed"] != run.seed:
        raise ValueError(
            f"{folder / RESULTS_FILE} is not the whole result of this run: {', '.join(missing)}."
        )
    if run.explain:
        report = folder / REPORT_FILE
        if not report.exists():
            return None
        results["attribution"] = list(json.loads(report.read_text())["environments"].values())
    return results


def finished(run: Run, root: Path) -> bool:
    return read_run(run, root) is not None


def used(settings: Settings) -> Settings:
    """Without sections of methods that are not used: what is the same run has the same settings."""
    methods = [stage.get("method") for stage in settings.get("stages", [])] + [settings.get("method", "erm")]
    unused = set(METHODS) - {part for method in methods if method for part in method_parts(method)}
    return {name: value for name, value in settings.items() if name not in unused}
