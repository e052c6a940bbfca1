"""The data sets that are built in: one list, which every command asks."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import DatasetDict

from . import (
    colored_mnist,
    digit_sources,
    emoji_styles,
    flight_delays,
    linear_unit_tests,
    punctuated_text,
    rated_genres,
)
from .colored_mnist.configurations import make_config
from .colored_mnist.digits import EMBEDDED, source_fingerprint
from .embedded import CONFIGURATION, EmbeddedDataset, RebuildConfig
from .environment_dataset import EnvironmentDataset

DEFAULT_DATASET = "colored_mnist"


@dataclass(frozen=True)
class BuiltIn:
    """A data set that is known by its name alone.

    `summary`: what it is, in a sentence. `configurations`: name -> what that one is; of a function that was
    registered none are known. `default`: the configuration that is meant where none is named, if one
    is the usual one.
    `options`: the dataclass of its options, each declared by `hf_ood.options.option`.

    `tensors(configuration, **options)`: its splits in memory, to train on and to measure shifts of; None
    where it is read by its columns, as any other. `dataset(configuration, **options)`: the same rows as any
    processor of transformers takes them; None where there is no such thing. Without both, it has to be
    written as a folder first. `write(folder, configurations,
    samples, repo_id, **options)`: as a folder that `load_dataset` reads; None where it is only made in
    memory. `check(configuration, **options)`: raises `ValueError` for what cannot be made.
    `content(options)`: changes with what the options name outside of this package.

    `shifted_test`: its test split shifts every environment, so that no row of it is in-domain. `made_of`:
    data sets of the Hub.
    """

    name: str
    summary: str
    tensors: Callable[..., dict[str, EnvironmentDataset]] | None
    configurations: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None
    options: type | None = None
    dataset: Callable[..., DatasetDict] | None = None
    write: Callable[..., Path] | None = None
    check: Callable[..., Any] | None = None
    content: Callable[[Mapping[str, Any]], str] | None = None
    shifted_test: bool = False
    made_of: tuple[str, ...] = ()

    @classmethod
    def from_function(cls, function: Callable[..., dict[str, EnvironmentDataset]]) -> BuiltIn:
        """A data set of one's own; what its docstring says first is its summary."""
        return cls(function.__name__, (inspect.getdoc(function) or "").partition("\n")[0], function)

    @property
    def has_rows(self) -> bool:
        """Whether it is read by its columns, and needs no folder for that."""
        return self.tensors is None and self.dataset is not None

    def fingerprint(self, options: Mapping[str, Any]) -> str:
        """Changes with the function that makes it, and with the content that its options name."""
        made_by = inspect.getsource(self.tensors) if self.tensors else self.name
        content = self.content(options) if self.content else ""
        return hashlib.sha256((made_by + content).encode()).hexdigest()[:16]


def _write_punctuated_text(
    folder: Path,
    configurations: Iterable[str],
    samples: Mapping[str, bytes] | None = None,
    repo_id: str | None = None,
    *,
    package: str = "",
    **shift: Any,
) -> Path:
    return punctuated_text.write_punctuated_text(
        folder,
        list(configurations),
        Path(package) if package else None,
        punctuated_text.Shift(**shift),
        repo_id,
    )


def _embedded(name: str, summary: str, configuration: str, data: EmbeddedDataset) -> BuiltIn:
    return BuiltIn(
        name,
        summary,
        None,
        {CONFIGURATION: configuration},
        CONFIGURATION,
        options=RebuildConfig,
        dataset=data.load,
        write=data.write,
        check=data.check,
        content=lambda options: data.fingerprint,
    )


BUILT_IN: dict[str, BuiltIn] = {
    data.name: data
    for data in (
        BuiltIn(
            "colored_mnist",
            "Real MNIST digits in colours that shift between environments.",
            colored_mnist.colored_mnist_tensors,
            colored_mnist.CONFIGURATIONS,
            colored_mnist.DEFAULT_CONFIGURATION,
            options=colored_mnist.ColoredMNISTConfig,
            dataset=colored_mnist.load_colored_mnist,
            write=colored_mnist.write_colored_mnist,
            check=make_config,
            content=lambda options: source_fingerprint(options.get("source", EMBEDDED)),
            made_of=("ylecun/mnist",),
        ),
        BuiltIn(
            "linear_unit_tests",
            "Three problems of vectors with a known invariant solution (Aubin et al. 2021).",
            linear_unit_tests.linear_unit_test_tensors,
            linear_unit_tests.CONFIGURATIONS,
            options=linear_unit_tests.LinearUnitTestConfig,
            shifted_test=True,
        ),
        BuiltIn(
            "punctuated_text",
            "Sentences rated by people, by where they are from, or with a last mark that tells the label.",
            None,
            punctuated_text.DESCRIPTIONS,
            "punctuation_shortcut",
            options=punctuated_text.PunctuatedTextConfig,
            write=_write_punctuated_text,
            check=punctuated_text.check_options,
        ),
        _embedded(
            "emoji_styles",
            "Emoji of eight groups as six sets draw them; the environment is the style.",
            "Hold out one of the six styles; no emoji is in two splits.",
            emoji_styles.EMOJI_STYLES,
        ),
        _embedded(
            "digit_sources",
            "Digits written by hand or set in fonts; the environment is where they are from.",
            "Hold out one of the seven sources, or a font by --environment_column source.",
            digit_sources.DIGIT_SOURCES,
        ),
        BuiltIn(
            "rated_genres",
            "Sentences that people rated; the environment is their genre.",
            None,
            rated_genres.CONFIGURATIONS,
            CONFIGURATION,
            options=rated_genres.RatedGenresConfig,
            write=rated_genres.write_rated_genres,
            check=rated_genres.check_options,
        ),
        BuiltIn(
            "flight_delays",
            "Flights that arrived late or not, as columns; the environment is the carrier or the month.",
            None,
            flight_delays.CONFIGURATIONS,
            "carriers",
            options=flight_delays.FlightDelaysConfig,
            write=flight_delays.write_flight_delays,
            check=flight_delays.check_options,
        ),
    )
}


def configuration_of(dataset: str, asked: str | None = None) -> str | None:
    """The configuration that was asked for, or the one that the built-in data set means without; None where
    the dataset has none of its own."""
    return asked or (BUILT_IN[dataset].default if dataset in BUILT_IN else None)


def has_built_in_rows(dataset: str) -> bool:
    """Whether the rows of this name are those in the package: a folder of the same name goes before them."""
    return dataset in BUILT_IN and BUILT_IN[dataset].has_rows and not Path(dataset).is_dir()


def read_built_in(dataset: str, configuration: str | None = None) -> DatasetDict | None:
    """The rows of a built-in data set that is read by its columns; None for every other data set.

    Raises `FileNotFoundError` for one that has to be written as a folder first.
    """
    refuse_unwritten(dataset)
    if not has_built_in_rows(dataset):
        return None
    read = BUILT_IN[dataset].dataset
    assert read is not None
    return read(configuration_of(dataset, configuration))


def refuse_unwritten(dataset: str) -> None:
    """Raise `FileNotFoundError` for a built-in data set that is read from a folder, where there is none."""
    needs_folder = dataset in BUILT_IN and not (BUILT_IN[dataset].tensors or BUILT_IN[dataset].dataset)
    if needs_folder and not Path(dataset).is_dir():
        raise FileNotFoundError(
            f"{dataset} is read from a folder, and there is none of this name here. Write it once: hf-ood "
            f"datasets --dataset {dataset} --output_dir {dataset}; then name that folder."
        )


def refuse_made_in_memory(dataset: str, command: str) -> None:
    """Raise `ValueError` for a built-in data set that is made in memory, where a command reads columns and
    no folder has its name."""
    if dataset in BUILT_IN and BUILT_IN[dataset].tensors is not None and not Path(dataset).is_dir():
        written = BUILT_IN[dataset].write is not None
        way_out = (
            f"Write it as a folder, hf-ood datasets --dataset {dataset}, and name that."
            if written
            else "It is for hf-ood train, whose results.json has every environment of it, and hf-ood shift."
        )
        raise ValueError(
            f"{dataset} is built in and made in memory; {command} reads datasets of images or texts by their "
            f"columns. {way_out}"
        )
