"""The average of finished runs' weights, as a run of its own."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import PreTrainedModel

from ..data import EnvironmentDataset
from ..data.fingerprint import fingerprint
from ..data.splits import IN_DOMAIN
from ..evaluation import summarize
from ..evaluation.metrics import EnvironmentReport, is_regression, mean_measure
from ..evaluation.results import RESULTS_FILE, load_results, versions
from ..files import replace_text
from ..methods.averaging import average_weights
from ..models import batch_norms, measure_batch_norms
from ..models.run_over_dataset import batches_of
from ..names import file_name
from ..options import option
from ..reporting.tables import print_results
from ..trainer import OODConfig, OODTrainer
from .classifier import build_classifier
from .data import load_splits
from .folder import ARGUMENTS_FILE, claim_data, recorded_settings, recorded_spec
from .ingredients import SOUP, Ingredient, read_ingredients
from .network import model_section
from .origin import note_origin
from .output import choose_output
from .results import Results, predict_report, write_run
from .soup_results import GREEDY, UNIFORM, common, described
from .spec import MethodSpec, RunSpec
from .stage_data import training_datasets
from .stages import load_weights

PROTOCOLS = (UNIFORM, GREEDY)
# Of the first run's training arguments: on what, and how, networks are run.
MEASURING = (
    "seed", "data_seed", "use_cpu", "bf16", "fp16", "bf16_full_eval", "fp16_full_eval",
    "per_device_eval_batch_size", "dataloader_num_workers",
)  # fmt: skip
Networks = Callable[[Sequence[Ingredient]], Iterator[PreTrainedModel]]


@dataclass
class SoupSpec:
    """How a soup is made."""

    protocol: str = option(
        UNIFORM,
        "uniform: the mean of all runs; greedy: from the best validation figure down, a run is added where "
        "the soup's own does not fall (Wortsman et al. 2022, arXiv:2203.05482).",
    )
    batch_norm_samples: int = option(
        4096,
        "Training rows, drawn at random, on which statistics of batch normalisation are measured again: one "
        "pass for each such layer, as far as that layer.",
    )

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"protocol: {' or '.join(PROTOCOLS)}, not {self.protocol!r}.")
        if self.batch_norm_samples < 2:
            raise ValueError(f"batch_norm_samples must be at least 2, not {self.batch_norm_samples}.")


def soup(
    runs: Sequence[str | Path | Ingredient],
    soup_spec: SoupSpec | None = None,
    output_dir: str | Path | None = None,
    *,
    diwa: bool = False,
    command: str = "",
    quiet: bool = False,
) -> Results:
    """Average the weights of finished runs, measure the average, and leave it as a run's folder.

    `runs`: folders, folders with runs in them, or patterns. All must have started from the same weights and
    read the same rows (`starting_weights` in results, `data.json`). Adapters count as the weights that they
    were merged into. `output_dir`: default `runs/<configuration>-<protocol>-soup-...`. `diwa`: they are all
    runs of a sweep, which the results then say. The folder has results, card, processor and manifest like any
    other; `steps` and `seconds` are those of all runs together.

    Raises `ValueError` for runs that do not go together, for a greedy soup without validation samples, and
    for a folder that holds something else.

    Example:
        results = soup(["runs/erm-*"], SoupSpec(protocol="greedy"))
    """
    asked = soup_spec or SoupSpec()
    given = [run for run in runs if isinstance(run, Ingredient)]
    ingredients = given if len(given) == len(runs) and given else read_ingredients([*map(_place, runs)])
    if asked.protocol == GREEDY and not ingredients[0].validation:
        raise ValueError(
            "A greedy soup chooses by validation figures, and these runs have no validation samples: take "
            f"protocol {UNIFORM}."
        )
    folder = Path(output_dir or default_folder(ingredients, asked))
    refuse_other_results(folder, ingredients, asked)
    start, cpu_start = time.perf_counter(), time.process_time()
    spec = measuring_spec(ingredients[0].folder, folder)
    spec.command = command
    splits = load_splits(spec)
    refuse_changed_data(splits, ingredients[0])
    datasets = training_datasets(spec, splits)
    spec.training.per_device_train_batch_size = len(datasets["train"].environment_counts())
    plain = {**datasets, "train": datasets["train"].with_transform(None)}
    template = build_classifier(spec, datasets["train"])
    choose_output(spec.training, quiet)
    trainer: Any = OODTrainer(copy.deepcopy(template), spec.training, train_dataset=plain["train"])

    def networks(chosen: Sequence[Ingredient]) -> Iterator[PreTrainedModel]:
        for ingredient in chosen:
            model = copy.deepcopy(template)
            load_weights(model, ingredient.folder)
            yield model

    def mix(chosen: Sequence[Ingredient]) -> None:
        trainer.model.load_state_dict(mixed(networks, chosen, plain["train"], asked, trainer).state_dict())

    used = list(ingredients)
    if asked.protocol == GREEDY:
        used = greedy(ingredients, mix, lambda: predict_report(trainer, plain["validation"]))
    mix(used)
    reports = {split: predict_report(trainer, data) for split, data in plain.items()}
    own = time.perf_counter() - start, time.process_time() - cpu_start
    results = {
        **described(ingredients, used, asked.protocol, diwa, own),
        **summarize(reports["train"], reports["validation"], reports["test"], reports.get(IN_DOMAIN)),
        "also_test": {
            name: {"environments": report, **mean_measure(report)}
            for name in spec.data.also_test or []
            for other in [load_splits(spec, name, datasets["train"].processor)["test"]]
            for report in [predict_report(trainer, other)]
        },
        "versions": versions(),
        "command": command,
    }
    if trainer.is_world_process_zero():
        folder.mkdir(parents=True, exist_ok=True)
        note = yaml.safe_dump(common([recorded_settings(i.folder / ARGUMENTS_FILE) for i in ingredients]))
        told = f"# What the {len(ingredients)} runs of a soup have in common: {RESULTS_FILE} names them.\n"
        replace_text(folder / ARGUMENTS_FILE, told + note)
        claim_data(folder, splits, resume=False)
        note_origin(folder, spec, resume=False)
        write_run(trainer.model, results, folder, datasets)
        if not quiet:
            print_results(results, str(folder))
    trainer.accelerator.wait_for_everyone()
    return Results(results, folder)


def _place(run: str | Path | Ingredient) -> str | Path:
    return run.folder if isinstance(run, Ingredient) else run


@torch.no_grad()
def mixed(
    networks: Networks,
    chosen: Sequence[Ingredient],
    train: EnvironmentDataset,
    asked: SoupSpec,
    trainer: OODTrainer,
) -> PreTrainedModel:
    """The average of some runs' networks, with statistics of batch normalisation of its own.

    They are measured on training rows as they are, without augmentation, in layers whose statistics differ
    between the runs: a layer that no run let move keeps its own. One run alone keeps all of them.
    """
    model: Any = average_weights(networks(chosen))
    if len(chosen) == 1 or not batch_norms(model):
        return model
    first = dict(next(networks(chosen[:1])).named_modules())
    moved = [
        module
        for name, module in model.named_modules()
        if module in batch_norms(model)
        and not all(torch.equal(own, first[name].get_buffer(key)) for key, own in module.named_buffers())
    ]
    random = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(train), generator=random)[: asked.batch_norm_samples].sort().values
    batches = batches_of(
        train.select(rows), trainer.args.per_device_eval_batch_size, trainer.args.dataloader_num_workers
    )
    measure_batch_norms(model.to(trainer.args.device), batches, moved)
    return model


def greedy(
    ingredients: Sequence[Ingredient],
    mix: Callable[[Sequence[Ingredient]], None],
    validate: Callable[[], EnvironmentReport],
) -> list[Ingredient]:
    """The runs of the greedy soup, in the order in which they came in: the best by its validation figure,
    then, from the second best down, each with which the soup's figure is no lower than without it."""
    ranked = sorted(ingredients, key=lambda ingredient: -ingredient.worth)
    used, best = ranked[:1], ranked[0].worth
    for ingredient in ranked[1:]:
        mix([*used, ingredient])
        report = validate()
        (value,) = mean_measure(report).values()
        worth = -float("inf") if value is None else -value if is_regression(report) else value
        if worth >= best:
            used, best = [*used, ingredient], worth
    return used


def refuse_changed_data(splits: Mapping[str, EnvironmentDataset], ingredient: Ingredient) -> None:
    """Raise `ValueError` where the rows are no longer those that the run read."""
    if fingerprint(splits) != ingredient.data["fingerprint"]:
        raise ValueError(
            f"The data of {ingredient.folder} have changed since it was trained: a soup is measured on the "
            "rows of its runs. Bring them back."
        )


def measuring_spec(run: Path, folder: Path) -> RunSpec:
    """A run's data and network, with what a measurement needs of its training arguments."""
    recorded = recorded_spec(run)
    last = recorded.last
    given = last.training.given()
    kept = {name: value for name, value in given.items() if name in MEASURING}
    training = OODConfig(
        str(folder),
        **kept,
        report_to="none",
        save_strategy="no",
        eval_strategy="no",
    )
    options = {
        name: value
        for name, value in last.options.items()
        if name in (last.data.dataset, model_section(last.network))
    }
    return RunSpec(last.data, last.network, MethodSpec(), training, options, num_threads=recorded.num_threads)


def default_folder(ingredients: Sequence[Ingredient], asked: SoupSpec) -> str:
    """`runs/<configuration>-<protocol>-soup-seed<seed>-<hash of the runs>`."""
    first = ingredients[0].results
    content = repr([asked, sorted(str(ingredient.folder.resolve()) for ingredient in ingredients)])
    digest = hashlib.sha256(content.encode()).hexdigest()[:6]
    return f"runs/{file_name(first['config'])}-{asked.protocol}-soup-seed{first['seed']}-{digest}"


def refuse_other_results(folder: Path, ingredients: Sequence[Ingredient], asked: SoupSpec) -> None:
    """Raise `ValueError` when the folder holds anything but an earlier soup of these runs."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    there = load_results(folder) if (folder / RESULTS_FILE).exists() else {}
    names = [ingredient.folder.name for ingredient in ingredients]
    same = [entry["run"] for entry in there.get(SOUP, [])] == names
    if not same or there["hyperparameters"][SOUP]["protocol"] != asked.protocol:
        raise ValueError(
            f"{folder} is not empty and holds no soup of these runs: choose another --output_dir."
        )
