"""What a run leaves behind: its results and the files beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from ..data import EnvironmentDataset
from ..data.collate import images_or_vectors
from ..data.processors import takes_audio
from ..data.splits import IN_DOMAIN
from ..evaluation import environment_report, save_results, summarize
from ..evaluation.metrics import EnvironmentReport, mean_measure
from ..evaluation.results import history, versions
from ..files import all_or_nothing
from ..hub.model_card import write_model_card
from ..manifest import MANIFEST_FILE, write_manifest
from ..methods.losses.by_name import NAME, build_loss
from ..methods.registry import Method
from ..reporting.curves import CURVES_FILE, draw_curves
from ..reporting.reconstructions import RECONSTRUCTIONS_FILE, Reconstructs, draw_reconstructions
from ..trainer import EnvironmentOptions, OODTrainer
from ..trainer.saved_size import size_of_state
from .adapters import recorded_lora
from .data import describe_data, load_splits
from .ingredients import SOUP
from .last_layer import recorded_fit
from .network import describe_model, input_processor
from .relabel import recorded_inference, recorded_options
from .sections import LOSS
from .spec import RunSpec
from .stages import CHOSEN_STEP


class Results(dict[str, Any]):
    """What `results.json` holds, and the `folder` that it lies in with the checkpoint."""

    def __init__(self, values: Mapping[str, Any], folder: Path):
        super().__init__(values)
        self.folder = folder


def collect_results(
    trainer: OODTrainer,
    spec: RunSpec,
    method: Method,
    datasets: dict[str, EnvironmentDataset],
    seconds: float,
    cpu_seconds: float,
    prepare: Callable[[EnvironmentDataset], EnvironmentDataset] = lambda dataset: dataset,
) -> dict[str, Any]:
    """Measure the final weights on every split and put everything that `results.json` holds together.

    `prepare`: makes further data what the trainer's network takes, as `datasets` are.
    """
    training = spec.training
    plain = {**datasets, "train": datasets["train"].with_transform(None)}
    reports = {split: predict_report(trainer, dataset) for split, dataset in plain.items()}
    begun = getattr(trainer, "_initial_global_step", 0)  # set when a training begins
    done = max(trainer.state.global_step - begun, 0)
    batch = training.per_device_train_batch_size * training.gradient_accumulation_steps * training.world_size
    return {
        "method": method.name,
        "dataset": spec.data.dataset,
        "config": spec.data.configuration,
        "seed": training.seed,
        "selection": trainer.selection,
        **summarize(reports["train"], reports["validation"], reports["test"], reports.get(IN_DOMAIN)),
        "trained_environments": list(reports["train"]),
        "also_test": {
            name: {"environments": report, **mean_measure(report)}
            for name in spec.data.also_test or []
            for other in [load_splits(spec, name, datasets["train"].processor)["test"]]
            for report in [predict_report(trainer, prepare(other))]
        },
        "history": history(trainer.state.log_history),
        "hyperparameters": {
            **method.hyperparameters(),
            "model": describe_model(spec),
            **recorded_inference(spec),
            **recorded_fit(spec),
            **recorded_lora(spec),
            **recorded_loss(spec),
            "data": {
                **describe_data(spec),
                **described_sounds(spec, datasets["train"]),
                **recorded_options(spec),
            },
            "training": {
                "learning_rate": training.learning_rate,
                "batch_size": batch,
                "epochs": trainer.state.epoch or 0.0,
                "optimizer": str(getattr(training.optim, "value", training.optim)),
                "lr_scheduler": str(getattr(training.lr_scheduler_type, "value", training.lr_scheduler_type)),
                "training_images": len(datasets["train"]),
                **({"trainable": " ".join(spec.network.trainable)} if spec.network.trainable else {}),
                **{
                    name: value
                    for name, value in (("l2_sp", training.l2_sp), ("layer_decay", training.layer_decay))
                    if value != getattr(EnvironmentOptions, name)
                },
                **({"cache_features": True} if spec.network.cache_features else {}),
                **(
                    {"interpolate_with_start": spec.method.interpolate_with_start}
                    if spec.method.interpolate_with_start
                    else {}
                ),
            },
        },
        "steps": trainer.state.global_step,
        CHOSEN_STEP: chosen_step(trainer),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "samples_per_second": done * batch / seconds,
        "versions": versions(),
        "command": spec.command,
    }


def chosen_step(trainer: OODTrainer) -> int:
    """The optimizer step whose weights the training ended with; of an average over steps, the last."""
    averages = trainer.averaging is not None and bool(trainer.averaging.selection)
    best = trainer.state.best_global_step if trainer.args.load_best_model_at_end and not averages else None
    return best or trainer.state.global_step


def described_sounds(spec: RunSpec, train: EnvironmentDataset) -> dict[str, str]:
    """That the run is on sounds, which no flag needs to say."""
    named = spec.data.audio_column or "the only one"
    return {"audio_column": named} if takes_audio(train.processor) else {}


def recorded_loss(spec: RunSpec) -> dict[str, dict[str, Any]]:
    """The options of the samples' loss, for the results, where any was given."""
    given = spec.options.get(LOSS)
    if given is None:
        return {}
    loss = build_loss(given)
    options = {field.name: getattr(loss, field.name) for field in fields(loss) if field.init}
    return {LOSS: {NAME: loss.name, **options}}


def predict_report(trainer: OODTrainer, dataset: EnvironmentDataset) -> EnvironmentReport:
    if len(dataset) == 0:
        return {}
    prediction = trainer.predict(dataset)
    return environment_report(
        np.asarray(prediction.predictions),
        np.asarray(prediction.label_ids),
        dataset.environments.numpy(),
        dataset.environment_names,
        trainer.training_rows.label_names,
    )


def write_run(
    model: PreTrainedModel, results: dict[str, Any], folder: Path, datasets: dict[str, EnvironmentDataset]
) -> None:
    """Everything a run leaves behind, or the files of before: their manifest last, where it is, the run is
    whole.

    Processor, curves and card are for images and texts: a run on vectors has none of them.
    """
    with all_or_nothing(folder, last=MANIFEST_FILE, needed=size_of_state(model, None)) as staged:
        model.save_pretrained(staged)
        size = image_size(datasets["train"])
        processor = datasets["train"].processor or (input_processor(model, *size) if size else None)
        if processor is not None:
            processor.save_pretrained(staged)
            if SOUP not in results:  # the average of several runs has no history
                draw_curves(results, staged / CURVES_FILE)
            write_model_card(results, staged)
        if isinstance(model, Reconstructs):
            shown = {split: datasets[split] for split in ("validation", "test")}
            draw_reconstructions(model, shown).savefig(staged / RECONSTRUCTIONS_FILE, dpi=120)
        save_results(results, staged)
        write_manifest(staged, {})


def image_size(dataset: EnvironmentDataset) -> tuple[int, ...]:
    """Height and width of the images that the network takes; empty where it takes no images."""
    return sample_shape(dataset)[1:]


def sample_shape(dataset: EnvironmentDataset) -> tuple[int, ...]:
    """The shape of one sample as the network takes it, an image or a vector; empty for texts and sounds."""
    # An augmentation keeps the shape, or is refused later by name.
    seen = images_or_vectors(dataset.with_transform(None).__getitems__([0]))
    return () if seen is None else tuple(seen.shape[1:])
