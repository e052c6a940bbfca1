"""Sounds out of files: mono, at the rate that a model takes, and all of one length."""

from __future__ import annotations

import importlib.util
import io
import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from datasets import Audio, Dataset
from torch import Tensor

from .environment_dataset import Batch
from .origins import where
from .processors import takes_audio

UNTAKEN = (ValueError, RuntimeError, IndexError, AssertionError)  # for sounds shorter than a window
MOST_STACKED = 8
REMOTE = ("http://", "https://", "hf://")


@dataclass(frozen=True)
class SoundReader:
    """Sounds become what the extractor makes of them, all of one length.

    `column`: of `Audio(decode=False)`, whose cells soundfile reads. `length`: samples after which a sound is
    cut; None: the extractor cuts it. `frames`: how many samples, or frames, the extractor fills it up to;
    None: as many as it always does.
    """

    column: str
    extractor: Any
    length: int | None = None
    frames: int | None = None

    @property
    def columns(self) -> Sequence[str]:
        return (self.column,)

    def __call__(self, rows: dict[str, list[Any]]) -> Batch:
        rate = self.extractor.sampling_rate
        sounds = [read_sound(cell, rate, self.length) for cell in rows[self.column]]
        try:
            return extracted(self.extractor, sounds, self.frames)
        except UNTAKEN as error:
            raise ValueError(
                f"{type(self.extractor).__name__} makes nothing of a sound of "
                f"{min(map(len, sounds)) / rate:g} seconds, which may be too short ({error})"
            ) from error


def sound_reader(column: str, extractor: Any) -> SoundReader:
    """The reader of a column of sounds, which are cut, or filled up, to the length that the extractor knows
    (`with_length`), or to its own.

    Raises `ValueError` where there is neither: a network without a mask would take the silence that fills one
    sound up to another for a part of it. Raises `ValueError` too where soundfile is missing.
    """
    if importlib.util.find_spec("soundfile") is None:
        raise ValueError("Sounds are read by soundfile: pip install 'hf_ood[audio]'.")
    rate = extractor.sampling_rate
    seconds = getattr(extractor, "max_seconds", None)
    has_own_length = _frames(extractor, rate) == _frames(extractor, 2 * rate)
    if seconds is None and not has_own_length:
        raise ValueError(
            f"{type(extractor).__name__} gives sounds no length of its own: name the seconds after which "
            "they are cut, and to which shorter ones are filled up (--max_seconds)."
        )
    length = None if seconds is None else max(1, round(seconds * rate))
    return SoundReader(column, extractor, length, None if has_own_length else _filled(extractor, length or 1))


def with_length(extractor: Any, max_seconds: float | None) -> Any:
    """The extractor, with the length of sounds in seconds, which is saved with it; None: as it is. Raises
    `ValueError` for a length that is none, and for what takes no sounds."""
    if max_seconds is None:
        return extractor
    if not takes_audio(extractor):
        raise ValueError("--max_seconds is for models that take sounds: leave it out.")
    if not 0 < max_seconds < math.inf:
        raise ValueError(f"--max_seconds must be more than 0, not {max_seconds}.")
    changed = deepcopy(extractor)
    changed.max_seconds = max_seconds
    return changed


def extracted(extractor: Any, sounds: Sequence[np.ndarray], frames: int | None) -> dict[str, Tensor]:
    """What the extractor makes of sounds [T] at its rate, filled up to so many frames where it would not."""
    padding = {} if frames is None else {"padding": "max_length", "max_length": frames, "truncation": True}
    return dict(
        extractor(list(sounds), sampling_rate=extractor.sampling_rate, return_tensors="pt", **padding)
    )


def _filled(extractor: Any, length: int) -> int:
    """The `max_length` up to which the extractor fills shorter sounds so that they become as long as one of
    `length` samples: samples or frames, which some extractors count before they stack them.

    Raises `ValueError` where there is none.
    """
    natural = _frames(extractor, length)
    for stacked in range(1, MOST_STACKED + 1):
        if _frames(extractor, length, natural * stacked) == natural:
            return natural * stacked
    raise ValueError(
        f"{type(extractor).__name__} does not fill sounds up to one length: choose another model."
    )


def _frames(extractor: Any, length: int, filled: int | None = None) -> int:
    """How long the extractor's output is for a sound of this many samples, filled up to so many."""
    found = extracted(extractor, [np.zeros(length, np.float32)], filled)
    return next(values for name, values in found.items() if name != "attention_mask").shape[1]


def read_sound(cell: Any, rate: int, length: int | None = None) -> np.ndarray:
    """A cell of `Audio(decode=False)` as float32 [T] at this rate, the mean over its channels.

    `length`: samples after which it is cut; what comes later is not read. Raises `ValueError` for none, a
    file that cannot be read, an empty one and samples that are not finite.
    """
    import soundfile

    if not cell or (cell["bytes"] is None and not cell["path"]):
        raise ValueError("there is no sound")
    name = Path(cell["path"] or "of the cell").name
    try:
        with opened(cell) as file, soundfile.SoundFile(file) as sound:
            own = sound.samplerate
            # A second more, which the filter that resamples sees.
            frames = -1 if length is None else math.ceil(length * own / rate) + own
            samples = sound.read(frames, dtype="float32", always_2d=True)
    except Exception as error:  # soundfile and fsspec raise many kinds
        raise ValueError(
            f"the sound {name} cannot be read ({error}); wav, flac, ogg and mp3 can be"
        ) from error
    if not len(samples):
        raise ValueError(f"the sound {name} is empty")
    if not np.isfinite(samples).all():
        raise ValueError(f"the sound {name} holds samples that are not finite")
    mono = samples.mean(1)
    if own != rate:
        from scipy.signal import resample_poly

        shared = math.gcd(own, rate)
        mono = resample_poly(mono, rate // shared, own // shared).astype(np.float32)
    return mono[:length]


def opened(cell: Mapping[str, Any]) -> Any:
    """The file of a cell. Raises `ValueError` for an address that could stand for a file of this machine."""
    path = cell["path"]
    if cell["bytes"] is not None:
        return io.BytesIO(cell["bytes"])
    if "://" not in path:
        return open(path, "rb")
    if not path.startswith(REMOTE) or "::" in path:
        raise ValueError("of an address only http, https and hf are opened")
    return fsspec.open(path, "rb")


def undecoded(dataset: Dataset, column: str) -> Dataset:
    """The same rows, whose sounds are bytes or names of files: `datasets` decodes by torchcodec only."""
    feature = dataset.features[column]
    if isinstance(feature, Audio) and not feature.decode:
        return dataset
    return dataset.cast_column(column, Audio(decode=False))


def first_bad_sound(rows: Dataset, reader: SoundReader) -> str | None:
    """Which is the first row whose sound cannot be read, and why; None where all can."""
    cells = rows.select_columns([reader.column])
    for row in range(len(rows)):
        try:
            reader(cells[[row]])
        except ValueError as error:
            return f"{where(rows, row)}: {error}. Leave it out, or repair it."
    return None
