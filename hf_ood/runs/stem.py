"""The network of a run, behind the input stem that it asks for."""

from __future__ import annotations

from transformers import PreTrainedModel

from ..data import EnvironmentDataset
from ..models import with_input_stem
from .network import build_model
from .results import sample_shape
from .spec import NO_STEM, RunSpec


def build_classifier(spec: RunSpec, train: EnvironmentDataset) -> PreTrainedModel:
    """As `build_model`, for these rows, with the stem in front. Raises `ValueError` as it does, and for a
    stem in front of what takes no images."""
    shape = sample_shape(train)
    model = build_model(spec, train.label_names, shape)
    stem = spec.network.input_stem
    if stem == NO_STEM:
        return model
    if len(shape) != 3:
        raise ValueError(f"--input_stem {stem} changes images, and the data are none: leave it out.")
    return with_input_stem(model, stem, train.processor)
