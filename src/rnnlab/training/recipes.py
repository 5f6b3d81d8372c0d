"""From settings to checked recipes, and to data that are open: all that a training needs before there is a model."""

import copy
import functools
import json
import os
from dataclasses import dataclass
from typing import cast

import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.markup import escape

from rnnlab.config import ConfigError, naming_recipe, said_of_recipe
from rnnlab.data.base import SequenceDataModule
from rnnlab.data.sources.fetching import SourceUnavailable
from rnnlab.layers.refusals import unordered_targets
from rnnlab.models.base import Predictor, SequenceModule
from rnnlab.models.optimization import Optimization
from rnnlab.paths import in_markup
from rnnlab.settings import Choices, TrainSettings
from rnnlab.training import distributed
from rnnlab.training.first_weights import FirstRun

console = Console(stderr=True, soft_wrap=True)
MOST_OPEN = 3
"""Data that are kept open for the next jobs of a study."""
_open: dict[tuple[str | None, str], SequenceDataModule] = {}


@dataclass(frozen=True)
class Recipes:
    """The objects that settings describe, checked against their signatures; their sizes still follow from the data."""

    model: functools.partial[Predictor]
    data: functools.partial[SequenceDataModule]
    optimization: Optimization
    trainer: functools.partial[pl.Trainer]


def check(settings: TrainSettings) -> Recipes:
    """Check every key and value against the signature that takes it.

    Raises:
        ConfigError: names the key, what was given, what is allowed.
    """
    with naming_recipe(settings.choices.recipe):
        model = settings.model.recipe()
        _refuse_foreign_cell(model, settings.choices)
        _refuse_misfits(model)
        distributed.check(settings.trainer)
        optimizer = settings.optimizer.recipe()
        try:
            optimizer([torch.nn.Parameter(torch.zeros(1))])
        except (ValueError, TypeError, RuntimeError) as error:
            raise ConfigError(f"optimizer: {error}") from None
        finetune = settings.finetune
        optimization = Optimization(optimizer, settings.scheduler.recipe(), finetune.rate_decay, finetune.unfreeze_every_epochs)
        if settings.callbacks.insight is not None:
            settings.callbacks.insight.recipe()
        data = settings.data.recipe()
        _refuse_unordered(model, data, settings.data.name)
        return Recipes(model, data, optimization, distributed.placed(settings.trainer.node.recipe()))


def _refuse_foreign_cell(model: "functools.partial[Predictor]", choices: Choices) -> None:
    """Refuse a cell of another family than the model's."""
    taken = getattr(model.func, "cell_classes", ())  # only recurrent networks have these
    if not taken or model.keywords["cell"].func in taken:
        return
    names = ", ".join(cell.__module__.rpartition(".")[2] for cell in taken)
    given = f"cell={choices.cell}" if choices.cell else "this cell"
    raise ConfigError(f"model={choices.model} does not take {given}, but: {names}. For both directions of any cell: model=birnn cell=...")


def _refuse_misfits(model: "functools.partial[Predictor]") -> None:
    """Refuse settings of the model that do not go with each other, before any data are read."""
    try:
        cast("type[Predictor]", model.func).check_settings(model.keywords)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _refuse_unordered(model: "functools.partial[Predictor]", data: "functools.partial[SequenceDataModule]", name: str) -> None:
    """Refuse data that CTC cannot train on before they are prepared."""
    is_sequential = isinstance(model.func, type) and issubclass(model.func, SequenceModule)
    if is_sequential and cast(type[SequenceDataModule], data.func).has_unordered_targets:
        raise ConfigError(unordered_targets(name))


def find_data(settings: TrainSettings, first: FirstRun | None = None) -> SequenceDataModule:
    """Open the data, prepared first where they are not; where a named set is unavailable, take the bundled sample and say so loudly.

    Args:
        settings: of the training.
        first: the run whose weights a network begins with, and whose words the vocabulary takes over.
    """
    is_shared = settings.study.job.parent is not None and first is None
    if is_shared and (found := kept_open(settings)):
        return found
    make_data = settings.data.recipe()
    data: SequenceDataModule = make_data(settings.paths, settings.seed)
    try:
        _begin(data, first)
        data.setup()
    except SourceUnavailable as error:
        console.print(f"\n[bold red]unavailable:[/] {in_markup(error)}", highlight=False)
        console.print("[bold red]USING THE BUNDLED SAMPLE INSTEAD:[/] synthetic data, good only to see that things work\n")
        data = make_data(settings.paths, settings.seed, source="sample", **data.sample_settings)
        _begin(data, first)
        data.setup()
    if not settings.study.job.parent:  # a study has described its data before its jobs
        describe(data)
    if is_shared:
        keep_open(settings, data)
    return data


def keep_open(settings: TrainSettings, data: SequenceDataModule) -> None:
    """Keep data open for the jobs of the study that these settings belong to, in this process; those of before give way."""
    _open.pop(_open_key(settings), None)
    kept = _open[_open_key(settings)] = copy.copy(data)
    kept.rows, kept.remarks = dict(data.rows), list(data.remarks)  # a job may leave out examples
    for key in list(_open)[:-MOST_OPEN]:
        del _open[key]


def kept_open(settings: TrainSettings) -> SequenceDataModule | None:
    """Return data that are open already, as a module of its own with the seed of these settings; None where they are not."""
    parent, values = _open_key(settings)
    found = _open.get((parent, values)) or _open.get((None, values))  # its plan opened them in this process, before it had an id
    if found is None:
        return None
    data = copy.copy(found)
    data.seed, data.rows, data.remarks = settings.seed, dict(found.rows), list(found.remarks)
    return data


def _open_key(settings: TrainSettings) -> tuple[str | None, str]:
    given = [settings.data.values, str(settings.paths), os.environ.get("RNNLAB_MIRROR")]
    return settings.study.job.parent, json.dumps(given, sort_keys=True, default=str)


def opened(settings: TrainSettings, first: FirstRun | None = None) -> SequenceDataModule:
    """Open the data, prepared first where they are not, and say nothing of them."""
    is_shared = settings.study.job.parent is not None and first is None
    if is_shared and (found := kept_open(settings)):
        return found
    data: SequenceDataModule = settings.data.recipe()(settings.paths, settings.seed)
    _begin(data, first)
    data.setup()
    if is_shared:
        keep_open(settings, data)
    return data


def _begin(data: SequenceDataModule, first: FirstRun | None) -> None:
    if first is not None and first.tokens is not None:
        data.begin_from(first.tokens)


def say_recipe(settings: TrainSettings) -> None:
    """Print which recipe applies, where it was found, and how to leave it out; nothing where none does."""
    if settings.choices.recipe and (said := said_of_recipe(settings.choices.recipe)):
        words = f"conf/tuned/{settings.choices.recipe}.yaml applies. {said} Leave it out: tuned=null"
        console.print(f"[bold]recipe[/] {escape(words)}", highlight=False)


def experiment_of(settings: TrainSettings) -> str:
    """Return the name of the experiment of a run: that which is asked for, or the data's; one's own files have experiments of their own."""
    if settings.tracking.experiment:
        return settings.tracking.experiment
    module = cast(type[SequenceDataModule], settings.data.recipe().func)
    own = module.own_name(str(settings.data.values.get("source", "sample")))
    return f"{settings.data.name}-{own}" if own else settings.data.name


def describe(data: SequenceDataModule) -> None:
    """Print what the data are."""
    console.print(
        f"[bold]data[/] {data.name}: source {in_markup(data.source)}{f' ({in_markup(data.provenance)})' if data.provenance else ''}",
        highlight=False,
    )
    for name, text in data.describe():
        console.print(f"  {name:13} {in_markup(text)}", highlight=False)
    data.tell_remarks(console)
