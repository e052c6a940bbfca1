"""Many heads on the same features, trained as one computation."""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from tempfile import TemporaryDirectory

import torch
from torch import nn
from transformers import PrinterCallback

from ...data import EnvironmentDataset
from ...data.align import with_classes_of
from ...data.collate import images_or_vectors
from ...data.targets import CLASSIFICATION
from ...engine import NonFiniteLossError
from ...errors import unknown_name
from ...methods.losses import SampleLoss
from ...models import LinearConfig, LinearForImageClassification, MLPConfig, MLPForImageClassification
from ..choice import resolve_choice
from ..linear_probe import Probe
from ..ood_config import OODConfig, selection_rule
from ..ood_trainer import OODTrainer
from .cohort import Cohort, Member
from .reasons import PREFIX, why_alone
from .spec import Head, HeadSpec

LINEAR, MLP = NETWORKS = ("linear", "mlp")
NOT_FINITE = (
    "The loss or the weights became infinite or NaN: lower the learning rate or the penalty's weight, or "
    "clip gradients (max_grad_norm=1)."
)


def fit_heads(
    features: EnvironmentDataset,
    specs: Sequence[HeadSpec],
    training: OODConfig | None = None,
    *,
    network: str | Callable[[], nn.Module] = LINEAR,
    validation: EnvironmentDataset | None = None,
    loss: SampleLoss | None = None,
) -> list[Head]:
    """Train a head for each of `specs` on frozen features -> the heads, in the same order.

    Each is what `OODTrainer` makes of the same network, rows and arguments, to rounding: the same batches in
    the same order, optimizer, schedule, loss, first weights and choice of weights. Heads of one seed and one
    set of environments see the same batches, so their first layers, side by side, are one matrix product, and
    objectives that differ in numbers alone are one call. A head that cannot be trained so (`why_alone`) is
    trained by `OODTrainer`; its `together` is 1.

    Args:
        features: vectors in memory, float [N, D], with classes, as `cached_features` gives them. Heads have
            their type, float32 or float64.
        specs: methods with their options, seeds, environments, learning rates and weight decays.
        training: all other arguments, the same for all heads; the batch size among them. By default those of
            `OODConfig`.
        network: `linear`, `mlp` (one hidden layer) or what makes a network of vectors: it is called with
            torch's random numbers at the seed of its heads.
        validation: chooses weights as `training` says, and tells averagings the loss: rows of the
            environments that the head is trained on, if its spec names any, otherwise all.
        loss: of a sample; cross-entropy if not given.

    Returns:
        Heads, whose `model()` is the network with their weights. One whose loss was not finite says so in its
        `error`.

    Raises:
        ValueError: for anything but vectors with classes, unknown environments, and methods that do not go
            with the data, before anything is trained.

    Example:
        >>> import torch
        >>> from hf_ood import EnvironmentDataset, HeadSpec, OODConfig, fit_heads
        >>> _ = torch.manual_seed(0)
        >>> labels, places = torch.arange(600) % 2, torch.arange(600) % 3
        >>> vectors = torch.randn(600, 5) + labels[:, None]
        >>> features = EnvironmentDataset(None, labels, places, ["no", "yes"], list("abc"), inputs=vectors)
        >>> weights = [0.1, 1.0, 10.0]
        >>> specs = [HeadSpec("irm", {"irm": {"penalty_weight": weight}}, seed=1) for weight in weights]
        >>> specs += [HeadSpec("erm", seed=1, environments=["a", "b"])]
        >>> arguments = OODConfig(per_device_train_batch_size=60, max_steps=30, use_cpu=True)
        >>> heads = fit_heads(features, specs, arguments)
        >>> heads[0].together, heads[-1].together
        (3, 1)
        >>> heads[0].model()(inputs=vectors).logits.shape
        torch.Size([600, 2])
    """
    training = copy.copy(training or OODConfig())
    rows = as_vectors(features, "fit_heads")
    if validation is not None:
        validation = with_classes_of(
            as_vectors(validation, "validation"), rows.label_names, "the validation set", "the features"
        )
    cohorts = defaultdict(list)
    for number, spec in enumerate(specs):
        seed = training.seed if spec.seed is None else spec.seed
        cohorts[seed, None if spec.environments is None else tuple(spec.environments)].append(number)
    found: dict[int, Head] = {}
    for (seed, environments), numbers in cohorts.items():
        heads = fit_alike(
            of_environments(rows, environments),
            [specs[number] for number in numbers],
            training,
            seed,
            partial(_build, network, rows, seed),
            validation=None if validation is None else of_environments(validation, environments),
            loss=loss,
        )
        found |= dict(zip(numbers, heads, strict=True))
    return [found[number] for number in range(len(specs))]


def fit_alike(
    rows: EnvironmentDataset,
    specs: Sequence[HeadSpec],
    training: OODConfig,
    seed: int,
    build: Callable[[], nn.Module],
    *,
    validation: EnvironmentDataset | None = None,
    loss: SampleLoss | None = None,
    passes: int = 1,
) -> list[Head]:
    """Heads of one seed on `rows`; the specs' own seeds and environments mean nothing here. `build`: the
    network, with its first weights. `passes`: see `Cohort`."""
    training = resolved(training, validation, seed)
    methods = [spec.build() for spec in specs]
    reasons = [why_alone(method, training, validation is not None) for method in methods]
    together = [number for number, reason in enumerate(reasons) if reason is None]
    found: dict[int, Head] = {}
    if together:
        start, cpu_start = time.perf_counter(), time.process_time()
        chooses = training.load_best_model_at_end and validation is not None
        built = build()
        trained = Cohort(
            [
                Member(
                    methods[number],
                    _or(specs[number].learning_rate, training.learning_rate),
                    _or(specs[number].weight_decay, training.weight_decay),
                )
                for number in together
            ],
            rows,
            built,
            training,
            seed,
            validation=validation,
            metric=str(training.metric_for_best_model).removeprefix(PREFIX) if chooses else None,
            loss=loss,
            passes=passes,
        )
        outcomes, steps = trained.train(), trained.steps.total
        share = len(together)
        seconds = (time.perf_counter() - start) / share
        cpu_seconds = (time.process_time() - cpu_start) / share
        for number, outcome in zip(together, outcomes, strict=True):
            averaging = methods[number].averaging
            found[number] = Head(
                specs[number],
                built,
                outcome.weights,
                (averaging.selection if averaging else "") or selection_rule(training),
                steps,
                seconds,
                cpu_seconds,
                outcome.best_step,
                None if outcome.is_finite else NOT_FINITE,
                share,
            )
    for number, reason in enumerate(reasons):
        if reason is not None:
            found[number] = fit_alone(
                rows, specs[number], training, seed, build(), validation=validation, loss=loss
            )
    return [found[number] for number in range(len(specs))]


def fit_alone(
    rows: EnvironmentDataset,
    spec: HeadSpec,
    training: OODConfig,
    seed: int,
    network: nn.Module,
    *,
    validation: EnvironmentDataset | None = None,
    loss: SampleLoss | None = None,
) -> Head:
    """One head by `OODTrainer`."""
    arguments = copy.copy(training)
    arguments.seed = seed
    arguments.learning_rate = _or(spec.learning_rate, training.learning_rate)
    arguments.weight_decay = _or(spec.weight_decay, training.weight_decay)
    arguments.report_to, arguments.disable_tqdm = [], True
    start, cpu_start = time.perf_counter(), time.process_time()
    with TemporaryDirectory(prefix="hf_ood_head_") as folder:
        arguments.output_dir = folder
        trainer = OODTrainer(
            Probe(network) if isinstance(network, nn.Linear) else network,
            arguments,
            **vars(spec.build()),
            loss=loss,
            train_dataset=rows,
            eval_dataset=None if validation is None else {"validation": validation},
        )
        error = None
        trainer.remove_callback(PrinterCallback)
        try:
            trainer.train()
        except NonFiniteLossError as failure:
            error = str(failure)
    weights = {name: own.detach().clone() for name, own in network.named_parameters()}
    return Head(
        spec,
        network,
        weights,
        trainer.selection,
        trainer.state.global_step,
        time.perf_counter() - start,
        time.process_time() - cpu_start,
        (trainer.state.best_global_step if trainer.args.load_best_model_at_end else None),
        error,
    )


def resolved(training: OODConfig, validation: EnvironmentDataset | None, seed: int) -> OODConfig:
    """The arguments as `OODTrainer` settles them: whether there is a choice, and by what."""
    settled = copy.copy(training)
    settled.seed = seed
    splits = {} if validation is None else {"validation": validation}
    resolve_choice(settled, splits, own_metrics=False, chooses_itself=False, measured=True)
    return settled


def as_vectors(dataset: EnvironmentDataset, what: str) -> EnvironmentDataset:
    """The dataset. Raises `ValueError` for one without vectors in memory or without classes."""
    seen = images_or_vectors(dataset.columns)
    if seen is None or seen.dim() != 2 or "inputs" not in dataset.columns:
        raise ValueError(
            f"{what} takes vectors in memory (inputs, float [N, D]), as cached_features gives them."
        )
    if not dataset.has_labels or dataset.task != CLASSIFICATION:
        raise ValueError(f"{what} takes samples of classes, labels int64 [N]; train others with OODTrainer.")
    return dataset


def of_environments(rows: EnvironmentDataset, names: Sequence[str] | None) -> EnvironmentDataset:
    """The rows of these environments, all where there are no names. Raises `ValueError` for unknown ones."""
    if names is None:
        return rows
    for name in names:
        if name not in rows.environment_names:
            raise ValueError(unknown_name("environment", name, rows.environment_names))
    ids = torch.tensor([rows.environment_names.index(name) for name in names])
    return rows.select(torch.isin(rows.environments, ids).nonzero().squeeze(1))


def _build(network: str | Callable[[], nn.Module], rows: EnvironmentDataset, seed: int) -> nn.Module:
    """A network for the rows, its first weights those of the seed."""
    inputs = rows.columns["inputs"]
    shape = {"num_features": inputs.shape[1], "num_labels": len(rows.label_names)}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if callable(network):
            return network()
        if network == LINEAR:
            return LinearForImageClassification(LinearConfig(**shape)).to(inputs.dtype)
        if network == MLP:
            return MLPForImageClassification(MLPConfig(num_hidden_layers=1, **shape)).to(inputs.dtype)
    raise ValueError(unknown_name("head", network, list(NETWORKS)))


def _or(own: float | None, usual: float) -> float:
    return usual if own is None else own
