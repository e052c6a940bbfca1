"""Texts as tokens: tokenised once, cached by `datasets`, padded batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from transformers.data.data_collator import pad_without_fast_tokenizer_warning

from .columns import require_columns
from .environment_dataset import Batch
from .origins import shown

MAX_LENGTH = 512  # tokenizers without a limit of their own say a huge number


def tokenize(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    columns: Sequence[str],
    max_length: int | None = None,
) -> Dataset:
    """The tokens of a column of texts, or of two as a sentence pair, without any other column.

    Texts are cut after `max_length` tokens (default: what the tokenizer says the model takes, at most 512).
    Raises `ValueError` for columns that are missing; the cells are texts (`require_texts`).
    """
    require_columns(dataset, *columns)
    if not 1 <= len(columns) <= 2:
        raise ValueError(f"Name one text column, or two for sentence pairs, not {len(columns)}.")
    limit = max_length or min(tokenizer.model_max_length, MAX_LENGTH)
    step = _Tokenize(tokenizer, tuple(columns), limit)
    step({column: ["a"] for column in columns})  # sets its truncation, which is part of the cache's key
    return dataset.select_columns(list(columns)).map(
        step, batched=True, remove_columns=list(columns), desc="Tokenising"
    )


def require_texts(dataset: Dataset, columns: Sequence[str], tell: Callable[[int], str]) -> None:
    """Raise `ValueError` for a cell that is no text, and for an empty one. `tell`: where a row is."""
    require_columns(dataset, *columns)
    plain = dataset.with_format(None)
    for column in columns:
        cells = plain[column][:]
        wrong = [row for row, cell in enumerate(cells) if not isinstance(cell, str)]
        if not wrong:
            continue
        told = "; ".join(tell(row) for row in wrong[:3]) + (f"; and {len(wrong) - 3} more" * (len(wrong) > 3))
        cell = cells[wrong[0]]
        what = "rows without text" if cell is None else f"{shown(cell)}, which is no text"
        raise ValueError(
            f"Column {column!r} holds {what} ({told}): write a text there, or leave such rows out "
            "(dataset.filter)."
        )


@dataclass(frozen=True)
class _Tokenize:
    tokenizer: PreTrainedTokenizerBase
    columns: tuple[str, ...]
    max_length: int

    def __call__(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        texts = [rows[column] for column in self.columns]
        return dict(self.tokenizer(*texts, truncation=True, max_length=self.max_length))


@dataclass(frozen=True)
class TokenReader:
    """Tokens are read as they are: lists of different lengths."""

    columns: tuple[str, ...]

    def __call__(self, rows: dict[str, list[Any]]) -> Batch:
        return dict(rows)


@dataclass(frozen=True)
class Pad:
    """A batch's lists of tokens become int64 [B, length of its longest]."""

    tokenizer: PreTrainedTokenizerBase

    def __call__(self, batch: Batch) -> Batch:
        tokens = {name: values for name, values in batch.items() if isinstance(values, list)}
        padded = pad_without_fast_tokenizer_warning(
            self.tokenizer, tokens, padding="longest", return_tensors="pt"
        )
        return {**batch, **{name: torch.as_tensor(values) for name, values in padded.items()}}
