"""The flags that say what is trained on what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..data import AUGMENTATIONS
from ..data.colored_mnist import DEFAULT_CONFIGURATION
from ..data.configurations import CONFIGURATIONS
from ..data.linear_unit_tests import EXAMPLES
from ..discovery import INFERENCES
from ..models import MODELS
from ..options import option
from ..trainer.methods import METHODS


@dataclass
class RunArguments:
    """What is trained on what."""

    method: str = option(
        "erm",
        f"One method, or several that act at different places joined by +, as irm+rsc: {', '.join(METHODS)}.",
    )
    dataset_name: str = option(
        "colored_mnist",
        "colored_mnist or linear_unit_tests (built in), a Hub dataset, a local folder, or files (also as a "
        "pattern, scans-*.csv): .csv, .tsv, .json, .jsonl, .parquet, .arrow.",
    )
    dataset_config: str | None = option(
        None,
        f"Its configuration. Colored MNIST: {', '.join(CONFIGURATIONS)}; by default {DEFAULT_CONFIGURATION}; "
        f"linear unit tests: {', '.join(EXAMPLES)}.",
    )
    image_column: str | None = option(
        None,
        "The column of images, or of names of image files in a table; not needed when there is only one.",
    )
    text_column: list[str] | None = option(
        None, "Classify texts: their column, or two columns for sentence pairs."
    )
    label_column: str = option("label", "The column of the true classes: names or numbers.")
    environment_column: list[str] = option(
        ["environment"],
        "The column that tells the environment: names or numbers. Several make one environment of each "
        "combination, named hospital=A,scanner=2.",
    )
    max_length: int | None = option(
        None, "Cut texts after this many tokens. Default: what the model takes, at most 512."
    )
    in_memory: Literal["auto", "always", "never"] = option(
        "auto",
        "Keep decoded images in memory; never: decode batch by batch from the mapped Arrow file, in "
        "--dataloader_num_workers processes; auto: in memory if they fill at most a quarter of what is free.",
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
    )
    validation: list[str] | None = option(
        None,
        "What a checkpoint is chosen on: a share held out at random from each training environment (0.2, an "
        "80/20 split, as DomainBed's), or names of whole environments, which are not trained on. Default: "
        "the dataset's own validation split; without one, 0.2.",
    )
    class_weights: list[str] | None = option(
        None,
        "What samples count by their class: balanced (every class the same in the training data), or a "
        "number for each class in the order of the labels (1,5). The same as --loss.class_weights.",
    )
    max_train_samples: int | None = option(
        None, "Use this many training samples, in equal parts per environment."
    )
    augmentation: str = option(
        "none", f"Applied to training batches of images: none, {', '.join(AUGMENTATIONS)}."
    )
    model: str = option("lenet", f"The network: {', '.join(MODELS)}.")
    model_name_or_path: str | None = option(
        None, "Instead of --model: any classifier of transformers, a Hub id or a folder, with its weights."
    )
    config_name: str | None = option(
        None,
        "Instead of --model: the configuration of a Hub id or a folder, or a model type such as resnet, with "
        "random weights; needs --from_scratch true.",
    )
    from_scratch: bool = option(
        False,
        "Random weights. Fields of the configuration are set by --model_config.FIELD VALUE ..., in a recipe "
        "by a section model_config.",
    )
    model_revision: str = option("main", "Branch, tag or commit of the model on the Hub.")
    trust_remote_code: bool = option(False, "Run the code that the model's repository brings along.")
    processor_name: str | None = option(
        None, "Tokenizer or image processor of this Hub id or folder. Default: the one beside the weights."
    )
    start_from: str = option(
        "previous",
        "Starting weights: previous (those of the stage before; a run's first stage starts from scratch), "
        "scratch, or a folder with a checkpoint.",
    )
    trainable: list[str] | None = option(
        None, "Train the parameters whose names match one of these patterns (classifier.*). Default: all."
    )
    cache_features: bool = option(
        False,
        "Linear probing: run the network once over the data (no dropout, running statistics) and train its "
        "last linear layer on the features it gave. Not with what changes the network's inputs or features.",
    )
    hold_out: float = option(
        0.0, "Share of the training images that only stages with --train_on held_out train on."
    )
    train_on: str = option(
        "train", "A stage's training images: train (all but the held-out ones), or held_out (DFR)."
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
    interpolate_with_start: list[float] | None = option(
        None,
        "End between the starting weights (0) and the trained ones (1): at this share of the way (WiSE-FT: "
        "0.5). Of several shares each is measured, and the best mean validation accuracy chooses.",
    )
    num_threads: int | None = option(
        None,
        "CPU threads of each process. Default: the cores shared out evenly (launchers would give one each).",
    )

    def __post_init__(self) -> None:
        if self.dataset_config is None:
            self.dataset_config = DEFAULT_CONFIGURATION if self.dataset_name == "colored_mnist" else "default"
