"""Data sets whose batches know their environment."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Self

import torch
from datasets import Dataset as HFDataset
from torch import Tensor
from torch.utils.data import Dataset

from .columns import find_image_column, require_columns, stack_images
from .ids import ids_of
from .reading_images import as_rgb
from .targets import CLASSIFICATION, MULTI_LABEL, task_of

Batch = dict[str, Any]  # tensors; before `finish`, texts are lists of tokens of different lengths
Step = Callable[[Batch], Batch]
EXTRAS = ("digit_color", "background_color")  # columns that augmentation and explanation read
TARGETS = ("labels", "environment")  # the columns that say where a row belongs; the others are inputs
REPEATS = "repeats"  # the column that says how often a row is drawn in a pass; once where there is none


class EnvironmentDataset(Dataset):
    """Abstract: rows whose batches know their environment, wherever their inputs are: in memory
    (`MemoryEnvironmentDataset`, which is what a call of this class gives) or on disk
    (`ArrowEnvironmentDataset`).

    `labels`, `environments`: int64 [N]; labels that are floats are the targets of a regression, those of
    [N, L] tell by 0 and 1 which of L labels a sample has (`task`). Labels are None where they are not known,
    to predict them.
    `label_names`, `environment_names`: what the ids, or the L labels, stand for.
    `columns`: what is kept in memory of all rows, tensors of N rows.
    `transform`: called with each batch (a dict of tensors), for augmentation; see `with_transform`.
    `finish`: called after it, always: what the model's processor does to a batch (normalise, pad).
    `processor`: that processor, to be saved beside the model; None: inputs go in as they are.
    `content`: SHA-256 over the inputs of all rows that it was read with, where that is known (`fingerprint`).

    A batch has what the network reads (`inputs`), `labels`, `environment`, `index` (positions in this
    dataset) and further columns. Raises `ValueError` when lengths differ or an id has no name.
    """

    content: str | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        kind: Any = MemoryEnvironmentDataset if cls is EnvironmentDataset else cls
        return super().__new__(kind)

    def _keep(
        self,
        columns: Batch,
        label_names: Sequence[str],
        environment_names: Sequence[str],
        transform: Step | None,
        finish: Step | None,
        processor: Any,
    ) -> None:
        self.columns: Batch = {**columns, "environment": columns["environment"].long()}
        if self.has_labels and not self.labels.is_floating_point():
            self.columns["labels"] = self.labels.float() if self.labels.dim() == 2 else self.labels.long()
        self.label_names = list(label_names)
        self.environment_names = list(environment_names)
        self.transform, self.finish, self.processor = transform, finish, processor
        first, *others = columns
        for name in others:
            if len(columns[name]) != len(columns[first]):
                raise ValueError(
                    f"Column {name!r} has {len(columns[name])} rows, {first} {len(columns[first])}."
                )
        if self.has_labels and self.task == CLASSIFICATION:
            _check_ids("Labels", self.labels, self.label_names)
        if self.has_labels and self.task == MULTI_LABEL:
            _check_flags(self.labels, self.label_names)
        _check_ids("Environment ids", self.environments, self.environment_names)

    def inputs(self, rows: Sequence[int] | Tensor) -> Batch:
        """What is read of these rows, before any transform: no labels, no environments."""
        raise NotImplementedError(f"{type(self).__name__} does not say how its rows are read.")

    @property
    def has_labels(self) -> bool:
        return "labels" in self.columns

    @property
    def labels(self) -> Tensor:
        return self.columns["labels"]

    @property
    def task(self) -> str:
        """`classification`, `multi_label` or `regression`, as the labels tell."""
        return task_of(self.labels)

    @property
    def environments(self) -> Tensor:
        return self.columns["environment"]

    @staticmethod
    def from_dataset(
        dataset: HFDataset,
        image_column: str = "image",
        label_column: str = "label",
        environment_column: str = "environment",
    ) -> EnvironmentDataset:
        """Decode an image dataset once and keep it as a uint8 tensor.

        All images must have one size. Without a label column the dataset has no labels. Raises `ValueError`
        naming the columns there are when another one is missing.
        """
        require_columns(dataset, image_column, environment_column)
        labelled = label_column in dataset.column_names
        find_image_column(dataset, image_column)
        extras = {
            name: torch.tensor(dataset[name][:], dtype=torch.uint8)
            for name in EXTRAS
            if name in dataset.column_names
        }
        environments, environment_names = ids_of(dataset, environment_column, "environment")
        labels: Tensor | None = None
        label_names: list[str] = []
        if labelled and _holds_targets(dataset, label_column):
            labels = torch.tensor(dataset[label_column][:])
        elif labelled:
            ids, label_names = ids_of(dataset, label_column, "label")
            labels = torch.from_numpy(ids)
        return MemoryEnvironmentDataset(
            pixel_values=stack_images([as_rgb(image) for image in dataset[image_column]]),
            labels=labels,
            environments=torch.from_numpy(environments),
            label_names=label_names,
            environment_names=environment_names,
            extras=extras,
        )

    def __len__(self) -> int:
        return len(self.environments)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        index = torch.as_tensor(indices, dtype=torch.long)
        targets = {
            name: self.columns[name].index_select(0, index) for name in TARGETS if name in self.columns
        }
        batch = {**self.inputs(index), **targets, "index": index}
        for step in (self.transform, self.finish):
            batch = step(batch) if step else batch
        return batch

    def __getitem__(self, index: int) -> Batch:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def select(self, indices: Sequence[int] | Tensor) -> EnvironmentDataset:
        """The rows at `indices`, with the same names and transform."""
        index = torch.as_tensor(indices, dtype=torch.long)
        chosen = copy(self)
        chosen.columns = {name: column.index_select(0, index) for name, column in self.columns.items()}
        return chosen

    def followed_by(self, other: EnvironmentDataset) -> EnvironmentDataset:
        """These rows, then those of `other`, with the transform of these.

        Raises `ValueError` where the other's rows are of another kind or have other names, `TypeError` where
        they are kept in another way.
        """
        if type(other) is not type(self):
            raise TypeError(f"Rows of {type(self).__name__} and {type(other).__name__} cannot be joined.")
        for what in ("label_names", "environment_names"):
            ours, theirs = getattr(self, what), getattr(other, what)
            if ours != theirs:
                raise ValueError(
                    f"Rows with other {what.replace('_', ' ')} cannot follow: {theirs}, not {ours}."
                )
        if self.columns.keys() != other.columns.keys():
            raise ValueError(f"Rows of {sorted(other.columns)} cannot follow rows of {sorted(self.columns)}.")
        joined = copy(self)
        joined.columns = {
            name: torch.cat([column, other.columns[name]]) for name, column in self.columns.items()
        }
        joined.content = None
        return joined

    def with_transform(self, transform: Step | None) -> EnvironmentDataset:
        """The same rows, each batch passed through `transform`; None takes it away."""
        changed = copy(self)
        changed.transform = transform
        return changed

    def with_finish(self, finish: Step | None, processor: Any) -> EnvironmentDataset:
        """The same rows, each batch finished by `finish`, which is what `processor` does."""
        changed = copy(self)
        changed.finish, changed.processor = finish, processor
        return changed

    def with_environments(self, environments: Tensor, names: Sequence[str]) -> EnvironmentDataset:
        """The same rows in other environments, int64 [N], which `names` names."""
        changed = copy(self)
        changed.columns = {**self.columns, "environment": environments}
        changed.environment_names = list(names)
        return changed

    def with_labels(self, labels: Tensor, names: Sequence[str]) -> EnvironmentDataset:
        """The same rows with other class ids, int64 [N], or labels, float [N, L], which `names` names."""
        changed = copy(self)
        changed.columns = {**self.columns, "labels": labels}
        changed.label_names = list(names)
        return changed

    def with_repeats(self, repeats: Tensor) -> EnvironmentDataset:
        """The same rows, row i drawn `repeats[i]` times in a pass over them, int64 [N]."""
        changed = copy(self)
        changed.columns = {**self.columns, REPEATS: repeats}
        return changed

    @property
    def groups(self) -> Tensor:
        """The group of each row, its class in its environment: int64 [N], ids are not contiguous.

        Raises `ValueError` where rows have no class, or several labels.
        """
        if self.task != CLASSIFICATION:
            raise ValueError(
                f"A group is a class in an environment, and a {self.task} has no classes: go by environments."
            )
        return self.labels * len(self.environment_names) + self.environments

    def group_counts(self) -> dict[str, int]:
        """Number of rows of each group that is present, by name, such as `5-9 in red_on_black`."""
        kinds, counts = self.groups.unique(return_counts=True)
        pairs = [divmod(kind, len(self.environment_names)) for kind in kinds.tolist()]
        names = [f"{self.label_names[label]} in {self.environment_names[place]}" for label, place in pairs]
        return dict(zip(names, counts.tolist(), strict=True))

    def class_counts(self) -> dict[str, int]:
        """Number of rows of each class that is present, by name. Raises `ValueError` where rows have no
        class."""
        if self.task != CLASSIFICATION:
            raise ValueError(f"A {self.task} has no classes to count.")
        counts = torch.bincount(self.labels, minlength=len(self.label_names)).tolist()
        return {name: count for name, count in zip(self.label_names, counts, strict=True) if count}

    def environment_counts(self) -> dict[str, int]:
        """Number of rows of each environment that is present, by name."""
        counts = torch.bincount(self.environments, minlength=len(self.environment_names)).tolist()
        return {name: count for name, count in zip(self.environment_names, counts, strict=True) if count}


class MemoryEnvironmentDataset(EnvironmentDataset):
    """Rows in memory; a batch is one `index_select`.

    `pixel_values`: images, uint8 [N, C, H, W] (floats are kept as they are). `inputs`: in their place,
    vectors, float [N, D]. `extras`: further columns, tensors of N rows. Everything else is as in
    `EnvironmentDataset`.
    """

    def __init__(
        self,
        pixel_values: Tensor | None,
        labels: Tensor | None,
        environments: Tensor,
        label_names: Sequence[str],
        environment_names: Sequence[str],
        extras: Batch | None = None,
        transform: Step | None = None,
        finish: Step | None = None,
        processor: Any = None,
        *,
        inputs: Tensor | None = None,
    ):
        if (pixel_values is None) == (inputs is None):
            raise ValueError("Give images (pixel_values) or vectors (inputs), one of the two.")
        read = {"pixel_values": pixel_values} if inputs is None else {"inputs": inputs}
        columns = {**read, "environment": environments, "labels": labels, **(extras or {})}
        known = {name: column for name, column in columns.items() if column is not None}
        self._keep(known, label_names, environment_names, transform, finish, processor)

    def inputs(self, rows: Sequence[int] | Tensor) -> Batch:
        index = torch.as_tensor(rows, dtype=torch.long)
        return {
            name: column.index_select(0, index)
            for name, column in self.columns.items()
            if name not in TARGETS
        }


# So that `help` tells what a call takes.
EnvironmentDataset.__new__.__signature__ = inspect.signature(MemoryEnvironmentDataset.__init__)  # type: ignore[attr-defined]


def _holds_targets(dataset: HFDataset, column: str) -> bool:
    return "float" in getattr(dataset.features[column], "dtype", "")


def _check_ids(what: str, ids: Tensor, names: Sequence[str]) -> None:
    if len(ids) and (ids.min() < 0 or ids.max() >= len(names)):
        raise ValueError(
            f"{what} must lie in 0..{len(names) - 1} ({', '.join(names)}), found {ids.min()} to {ids.max()}."
        )


def _check_flags(labels: Tensor, names: Sequence[str]) -> None:
    if names and labels.shape[1] != len(names):
        raise ValueError(f"Labels are [N, {labels.shape[1]}] for {len(names)} names ({', '.join(names)}).")
    if len(labels) and not ((labels >= 0) & (labels <= 1)).all():
        raise ValueError(
            "Several labels a sample are 0 or 1 each, found "
            f"{labels.min().item():g} to {labels.max().item():g}."
        )


def as_environment_dataset(dataset: Any) -> EnvironmentDataset:
    """An `EnvironmentDataset` as it is; a `datasets.Dataset` with image, label and environment is decoded."""
    if isinstance(dataset, EnvironmentDataset):
        return dataset
    if isinstance(dataset, HFDataset):
        return EnvironmentDataset.from_dataset(dataset)
    raise TypeError(f"Expected an EnvironmentDataset or a datasets.Dataset, not {type(dataset).__name__}.")
