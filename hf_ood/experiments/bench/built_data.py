"""Built-in data that are read from a folder: written once, where a bench first needs them."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock

from ...data.built_in import BUILT_IN, configuration_of
from ...runs.settings import Settings


def with_data(settings: Settings, folder: Path) -> Settings:
    """The settings with the folder of their data set, written below `folder` where it is not there yet; as
    they are for data that need none.

    Raises `ConnectionError` when the package that the data are from cannot be fetched.
    """
    name = str(settings.get("dataset", ""))
    data = BUILT_IN.get(name)
    if data is None or data.tensors or data.dataset or data.write is None or Path(name).is_dir():
        return settings
    configuration = configuration_of(name, settings.get("dataset_config"))
    place = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{name}.lock"):
        if not (place / str(configuration)).is_dir():
            data.write(place, list(data.configurations), None, None)
    return {**settings, "dataset": place.as_posix(), "dataset_config": configuration}
