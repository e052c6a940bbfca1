"""The network of a run, with the input stem or the pooling that it asks for."""

from __future__ import annotations

from transformers import PreTrainedModel

from ..data import EnvironmentDataset
from ..models import with_input_stem, with_mean_pooling
from .network import build_model
from .results import sample_shape
from .spec import NO_STEM, OWN_POOLING, RunSpec


def build_classifier(spec: RunSpec, train: EnvironmentDataset) -> PreTrainedModel:
    """As `build_model`, for these rows, with the stem in front or a head on the mean over tokens. Raises
    `ValueError` as it does, for a stem in front of what takes no images, and for a mean without tokens."""
    shape = sample_shape(train)
    model = build_model(spec, train.label_names, shape)
    stem, pooling = spec.network.input_stem, spec.network.pooling
    if stem != NO_STEM:
        if len(shape) != 3:
            raise ValueError(f"--input_stem {stem} changes images, and the data are none: leave it out.")
        model = with_input_stem(model, stem, train.processor)
    if pooling != OWN_POOLING:
        model = with_mean_pooling(model)
    return model
