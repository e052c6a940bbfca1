"""Every row is read once before training starts, so that a bad one is known then, and not after hours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from datasets import Dataset
from torch import Tensor
from transformers.utils.logging import tqdm

from .align import listed
from .environment_dataset import Batch
from .fingerprint import content_of
from .mapped_dataset import READ_AT_ONCE, Reader
from .reading_images import read_images

MOST_NAMED = 10
MOST = 0.75  # of the images have one size, or no size is the usual one


@dataclass
class Part:
    """What was read of one part of a table: `rows` that could be, SHA-256 over their inputs (`content`), and,
    if they are kept, batches with the positions of their rows."""

    content: str
    rows: int
    kept: list[tuple[Tensor, Batch]]

    def inputs(self, bad: Mapping[int, str]) -> Batch:
        """The kept inputs in one piece, without bad rows."""
        good = [(some, batch) for some, batch in self.kept if int(some[0]) not in bad]
        names = list(good[0][1]) if good else []
        return {name: torch.cat([batch[name] for _, batch in good]) for name in names}


@dataclass
class FirstReading:
    """Which rows of a table cannot be read, and why, and the size of what can, both by position."""

    bad: dict[int, str] = field(default_factory=dict)
    sizes: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def read(self, table: Dataset, read: Reader, positions: Tensor, keep: bool) -> Part:
        """Read the rows at `positions`, int64 [N], a batch at a time; what cannot be read is noted."""
        kept: list[tuple[Tensor, Batch]] = []
        before = len(self.bad)

        def batches() -> Iterator[Batch]:
            for index in tqdm(
                positions.split(READ_AT_ONCE),
                desc="Reading",
                unit="batch",
                disable=len(positions) < 20 * READ_AT_ONCE or None,
            ):
                for some, batch in _read(table, read, index, self.bad):
                    self.sizes |= dict.fromkeys(some.tolist(), tuple(next(iter(batch.values())).shape[1:]))
                    if keep:
                        kept.append((some, batch))
                    yield batch

        content = content_of(batches())
        return Part(content, len(positions) - (len(self.bad) - before), kept)

    def mark_sizes(self) -> None:
        """Rows of another size than most are bad. Raises `ValueError` where most is less than three
        quarters."""
        counts = Counter(self.sizes.values())
        if len(counts) < 2:
            return
        (usual, number), *_ = counts.most_common()
        if number < MOST * len(self.sizes):
            told = [f"{_pixels(size)} ({count:,} rows)" for size, count in counts.most_common()]
            raise ValueError(
                "Images must have one size to be stacked, found "
                f"{listed(told[:3])}{' and others' if len(told) > 3 else ''}: resize them first, or train a "
                "model that has an image processor."
            )
        for position, size in self.sizes.items():
            if size != usual:
                self.bad[position] = f"has {_pixels(size)}, most others have {_pixels(usual)}"


def _read(rows: Dataset, read: Reader, index: Tensor, bad: dict[int, str]) -> Sequence[tuple[Tensor, Batch]]:
    try:
        return [(index, read(read_images(rows, index.tolist())))]
    except (ValueError, OSError):
        pass
    found = []
    for one in index.split(1):
        try:
            found.append((one, read(read_images(rows, one.tolist()))))
        except (ValueError, OSError) as error:
            bad[int(one)] = str(error)
    return found


def _pixels(size: tuple[int, ...]) -> str:
    return f"{size[-1]} x {size[-2]} pixels" if len(size) > 1 else f"{size} numbers"


def refuse_bad_rows(bad: dict[int, str], skip: int, tell: Callable[[int], str], note: str = "") -> None:
    """Raise `ValueError` for more bad rows than are to be skipped, naming them all (the first ten). `note`: a
    last sentence."""
    if len(bad) > skip:
        told = "".join(f"\n  {tell(row)}: {bad[row]}" for row in sorted(bad)[:MOST_NAMED])
        more = f"\n  and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
        raise ValueError(
            f"{len(bad)} row{'s' * (len(bad) > 1)} cannot be used:{told}{more}\nRepair or leave out what is "
            f"named here, or pass --skip_bad_rows {len(bad)} to go on without them.{note}"
        )


def without_rows(positions: Tensor, bad: dict[int, str]) -> Tensor:
    """Which of the positions can be read: indices into them, int64."""
    return (~torch.isin(positions, torch.tensor(list(bad), dtype=torch.long))).nonzero().squeeze(1)
