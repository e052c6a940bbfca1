"""What a model says of every row: a table of classes, or lists of labels, and probabilities; or of values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset
from transformers import AutoModelForImageClassification, PreTrainedModel

from ..data.columns import require_columns
from ..data.features import takes_features
from ..data.measured_rows import input_columns, own_columns
from ..data.targets import MULTI_LABEL, REGRESSION
from .metrics import log_softmax
from .prediction import load_network, predict_logits, predict_vectors, predicted_task

PREDICTION, PROBABILITY = "prediction", "probability"


def predict_table(
    model: PreTrainedModel,
    processor: Any,
    rows: Dataset,
    columns: Sequence[str] | None = None,
    own: pd.DataFrame | None = None,
    *,
    batch_size: int = 64,
    num_workers: int = 0,
    max_length: int | None = None,
    prefix: str = "",
) -> pd.DataFrame:
    """A row for each of `rows`, in their order: its own columns, the predicted class and the probabilities.

    `processor`: the model's tokenizer, image processor or `FeatureProcessor`; None: it takes vectors,
    the numbers of `columns`.
    `columns`: what the model reads (an image; one text or two; numbers, or one column of lists of them);
    default: the only column of images or strings. `own`: the columns to keep beside the predictions; default:
    all, images by the names of their files. Labels are not needed, and not looked at.

    New columns are `prediction` and `probability_<class>`, by the names in `model.config.id2label`, all after
    `prefix`. A regression, a model with one output, has its value as `prediction`; a model of several labels
    a sample the list of those that are likelier than not, each with its own probability. Raises `ValueError`
    for a row without an input, naming it, and for a column that is there already.

    Example: `predict_table(*load_classifier("runs/mine"), load_dataset("user/scans", split="test"))`
    """
    if own is None:
        own = own_columns(rows, Path())
    if processor is None:
        logits = predict_vectors(model, vectors(rows, columns or []), batch_size)
    else:
        read = list(columns or input_columns(rows, processor))
        if not takes_features(processor):  # which tells more of what is missing
            require_inputs(rows, read)
        logits = predict_logits(model, processor, rows, read, batch_size, num_workers, max_length)
    found = predictions(logits, model, prefix)
    taken = [name for name in found.columns if name in own.columns]
    if taken:
        raise ValueError(
            f"The table has a column {taken[0]!r} already: give the new ones a prefix, such as 'new_'."
        )
    return pd.concat([own.reset_index(drop=True), found], axis=1)


def predictions(logits: np.ndarray, model: PreTrainedModel, prefix: str = "") -> pd.DataFrame:
    """Logits [N, C] as predicted classes and probabilities; of a regression, as values; of several labels a
    sample, as lists of those with a positive logit and a probability of each."""
    task = predicted_task(model.config)
    if task == REGRESSION:
        return pd.DataFrame({f"{prefix}{PREDICTION}": logits[:, 0]})
    known: dict[Any, Any] = dict(model.config.id2label or {})
    names = [str(known.get(number, number)) for number in range(logits.shape[1])]
    several = task == MULTI_LABEL
    probabilities = np.exp(-np.logaddexp(0, -logits.astype(np.float64)) if several else log_softmax(logits))
    return pd.DataFrame(
        {
            f"{prefix}{PREDICTION}": [
                [names[number] for number in np.flatnonzero(row > 0)] if several else names[row.argmax()]
                for row in logits
            ],
            **{f"{prefix}{PROBABILITY}_{name}": probabilities[:, i] for i, name in enumerate(names)},
        }
    )


def require_inputs(rows: Dataset, columns: Sequence[str]) -> None:
    """Raise `ValueError` naming the first row that has nothing in one of the columns."""
    require_columns(rows, *columns)
    for column in columns:
        cells = rows.select_columns(column).with_format("arrow")[:].column(column)
        missing = np.flatnonzero(cells.is_null().to_numpy())
        if len(missing):
            raise ValueError(
                f"{len(missing)} of {len(rows)} rows have nothing in column {column!r}, the first is row "
                f"{missing[0]} (from 0): leave them out."
            )


def vectors(rows: Dataset, columns: Sequence[str]) -> np.ndarray:
    """The numbers of the columns, float32 [N, D]. Raises `ValueError` for what is none, naming row and
    column."""
    if not columns:
        raise ValueError(
            f"The model takes vectors: name the columns of their numbers (--feature_columns), some of "
            f"{', '.join(rows.column_names)}."
        )
    require_inputs(rows, columns)
    parts = []
    for column in columns:
        values = rows[column][:]
        try:
            part = np.asarray(values, dtype=np.float32)
        except (ValueError, TypeError):
            row = next(number for number, value in enumerate(values) if not _is_number(value))
            raise ValueError(
                f"Row {row} (from 0) has {values[row]!r} in column {column!r}, which is no number."
            ) from None
        parts.append(part.reshape(len(values), -1))
    found = np.concatenate(parts, axis=1)
    wrong = np.argwhere(~np.isfinite(found))
    if len(wrong):
        raise ValueError(f"Row {wrong[0][0]} (from 0) has a number that is not finite.")
    return found


def _is_number(value: Any) -> bool:
    try:
        np.asarray(value, dtype=np.float32)
    except (ValueError, TypeError):
        return False
    return True


def load_vector_model(model: str, **options: Any) -> PreTrainedModel:
    """A network that takes vectors, which has no processor; see `load_classifier`."""
    return load_network(AutoModelForImageClassification, model, **options)
