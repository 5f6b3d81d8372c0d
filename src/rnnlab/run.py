"""One training from configuration to results: the place where data, model, trainer and tracking meet.

check everything that needs no data -> data -> model -> fit -> best checkpoint -> val and test -> what the run leaves behind
"""

import contextlib
import ctypes
import functools
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
import torch
import yaml
from lightning_fabric.utilities.exceptions import MisconfigurationException
from rich.console import Console

from rnnlab import distributed, results
from rnnlab.callbacks import Interrupted, peak_memory_mb
from rnnlab.command_line import CONF, HOME, ROOT
from rnnlab.config import Config, ConfigError, flatten, nearest, recipe, refuse_foreign_targets
from rnnlab.data.base import SequenceDataModule
from rnnlab.data.sources import SourceUnavailable
from rnnlab.data.targets import TokenTargets
from rnnlab.evaluation import Evaluation, measure
from rnnlab.launching import is_leader, launched, num_local_processes, num_processes
from rnnlab.models.base import FittedOnce, Network, Optimization, Predictor, SequenceModule
from rnnlab.tracking import Client, Tracker, connect, get_run, read_artifact
from rnnlab.training import count_of, init_from, load_weights, make_trainer, read_checkpoint

NOT_RECORDED = ("paths", "choices", "words", "resume", "tracking", "epochs")
console = Console(stderr=True, soft_wrap=True)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


@dataclass(frozen=True)
class Recipes:
    """Hold what a configuration describes, checked, before anything is loaded."""

    model: functools.partial[Predictor]
    data: functools.partial[SequenceDataModule]
    optimization: Optimization
    trainer: functools.partial[pl.Trainer]


def check(config: Config) -> Recipes:
    """Check every key and value against what takes it.

    Raises:
        ConfigError: names the key, what was given, what is allowed.
    """
    model = recipe(config["model"], "model")
    wanted = getattr(model.func, "cell_class", None)  # only networks have one
    if wanted is not None and model.keywords["cell"].func is not wanted:
        name = config["choices"].get("model", "model")
        raise ConfigError(f"model={name} fixes its cell; for both directions of any cell use model=birnn cell=srnn|lstm|gru")
    trainer = {key: value for key, value in config["trainer"].items() if key != "num_threads"}
    threads = config["trainer"]["num_threads"]
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ConfigError(f"trainer.num_threads={threads} is not allowed: a whole number from 1, or null for all cores")
    distributed.check(trainer)
    optimizer = recipe(config["optimizer"], "optimizer")
    try:
        optimizer([torch.nn.Parameter(torch.zeros(1))])
    except (ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"optimizer: {error}") from None
    optimization = Optimization(optimizer, recipe(config["scheduler"], "scheduler"))
    if not isinstance(config["seed"], int) or config["seed"] < 0:
        raise ConfigError(f"seed={config['seed']} is not allowed: a whole number from 0")
    return Recipes(model, recipe(config["data"], "data"), optimization, distributed.placed(recipe(trainer, "trainer")))


def train(config: Config) -> None:
    """Train what the configuration says, or continue `resume=RUN_ID`, in one process or several.

    Raises:
        ValueError: the user's to mend; the message says how.
        SystemExit: 130 after an interrupt.
    """
    _quiet()
    if not launched(config, config["words"]):
        with distributed.joined():
            _train(config)


def _train(config: Config) -> None:
    client, words = distributed.leaders(lambda: connect(config["tracking"]["uri"], ROOT)), config["words"]
    if config["resume"]:
        asked = config
        config = distributed.from_leader(lambda: _recorded(client, asked))
        if launched(config, words):
            return
    recipes = check(config)
    if not is_leader() and config["choices"].get("model") == "baseline":
        return
    _tune_process(config)
    data = distributed.one_first(lambda: find_data(recipes.data, config))
    distributed.refuse_different(data)
    pl.seed_everything(config["seed"], workers=False, verbose=False)
    model = recipes.model(data.make_spec())
    if isinstance(model, Network):
        model.optimization = recipes.optimization
        model.frontend.begin_with(data.input_vectors())
        if model.frontend.needs_fit:
            model.frontend.fit(data.plain_dataloader("train"))
    elif config["init_from"]:
        raise ConfigError("init_from gives a network its first weights; model=baseline has none: leave it out")
    if isinstance(model, SequenceModule) and model.is_ctc:
        leave_out_short(model, data)
    tracker = distributed.tracked(lambda: _take_up(client, config, model, data))
    with _ending(tracker), distributed.noticing_losses():
        if is_leader() and not config["resume"]:
            _record(tracker, config, model, data)
        if isinstance(model, Network):
            extra, checkpoint = _fit_network(config, recipes, tracker, model, data)
            if not is_leader():
                return
        else:
            extra, checkpoint = _fit_baseline(cast(FittedOnce, model), data), None
        found = _measure_both(config, model, data)
        results.leave_behind(tracker, model, data, found, extra, config, checkpoint)
        results.print_summary(tracker, model, data, found, extra, config["words"])


def _take_up(client: Client, config: Config, model: Predictor, data: SequenceDataModule) -> Tracker:
    """Start a run, or go on with the one to resume."""
    if config["resume"]:
        refuse_changed_data(client, config["resume"], data)
        return Tracker.resume(client, config["resume"], HOME)
    if config["init_from"]:
        init_from(cast(Network, model), Path(get_run(client, config["init_from"]).data.tags["outputs"]))
    name = config["name"] or run_name(config, model)
    return Tracker.start(client, config["tracking"]["experiment"] or data.name, name, Path(config["paths"]["outputs"]), ROOT, HOME)


def prepare(config: Config) -> None:
    """Fetch and prepare data ahead of training, and say what they are (`src/prepare.py`).

    Raises:
        ValueError: the user's to mend; a source that cannot be had is never replaced here.
    """
    stages = ("all", "fetch", "dvc")
    if config["stage"] not in stages:
        raise ConfigError(f"stage={config['stage']} is not allowed.{nearest(str(config['stage']), stages)} Allowed: {', '.join(stages)}")
    data: SequenceDataModule = recipe(config["data"], "data")(config["paths"], 0)
    if config["stage"] == "fetch":
        folder = data.fetch_raw()
        console.print(f"fetched {data.source} ({data.provenance}) to {folder}", highlight=False)
        return
    if config["stage"] == "dvc":
        data.prepare_stage()
    data.setup()
    _describe(data)


def find_data(make_data: "functools.partial[SequenceDataModule]", config: Config) -> SequenceDataModule:
    """Find or prepare the data; where a named set cannot be had, take the bundled sample and say so loudly."""
    data = make_data(config["paths"], config["seed"])
    try:
        data.setup()
    except SourceUnavailable as error:
        console.print(f"\n[bold red]{data.source} cannot be had:[/] {error}", highlight=False)
        console.print("[bold red]USING THE BUNDLED SAMPLE INSTEAD:[/] synthetic data, good only to see that things work\n")
        data = make_data(config["paths"], config["seed"], source="sample", **_free(make_data.keywords))
        data.setup()
    _describe(data)
    return data


def leave_out_short(model: SequenceModule, data: SequenceDataModule) -> None:
    """Leave out of training what is too short for CTC to align, and name it."""
    assert isinstance(data, TokenTargets)
    left = data.leave_out_infeasible(model.frontend.steps_out)
    if left:
        words = ", ".join(left[:5]) + (f", ... {len(left) - 5} more" if len(left) > 5 else "")
        console.print(f"  [yellow]left out[/]      {len(left)} too short for CTC to say all their tokens: {words}", highlight=False)


def _free(keys: Iterable[str]) -> dict[str, str | None]:
    """Return settings that the sample can meet whatever was asked of the named source."""
    settings: dict[str, str | None] = {"split": "auto", "tickers": None, "source_language": "en", "target_language": "de"}
    return {key: value for key, value in settings.items() if key in keys}


def _describe(data: SequenceDataModule) -> None:
    console.print(
        f"[bold]data[/] {data.name}: source {data.source}{f' ({data.provenance})' if data.provenance else ''}",
        highlight=False,
    )
    for name, text in data.describe():
        console.print(f"  {name:13} {text}", highlight=False)


def _fit_network(
    config: Config, recipes: Recipes, tracker: Tracker, model: Network, data: SequenceDataModule
) -> tuple[dict[str, float], Path]:
    """Train, load the chosen checkpoint, and return time, speed and memory with its path."""
    trainer, best, meter = make_trainer(config, recipes.trainer, tracker, model, data)
    last = tracker.folder / "last.ckpt"
    try:
        trainer.fit(model, datamodule=data, ckpt_path=str(last) if config["resume"] else None, weights_only=True)
    except OSError as error:
        raise ValueError(
            f"cannot write in {tracker.folder} ({error.strerror or error}): free some space, then go on from the last checkpoint with "
            f"resume={tracker.run_id}"
        ) from error
    except MisconfigurationException as error:
        raise ConfigError(str(error)) from error
    distributed.part()
    extra = {"time/fit_seconds": meter.fit_seconds, **meter.numbers()}
    if not is_leader():
        return extra, last
    # Whatever precision it was trained in, it is measured and kept in float32.
    return extra, load_weights(model.float(), Path(best.best_model_path) if best.best_model_path else last)


def _fit_baseline(model: FittedOnce, data: SequenceDataModule) -> dict[str, float]:
    """Fit a simple method, and return time, speed and memory."""
    console.print(f"fitting [bold]{model.kind}[/]")
    begun = time.monotonic()
    model.fit(data.plain_dataloader("train"), data.plain_dataloader("val"))
    seconds = time.monotonic() - begun
    return {
        "time/fit_seconds": seconds,
        "speed/examples_per_second": len(data.rows["train"]) / max(seconds, 1e-9),
        "memory/peak_mb": peak_memory_mb(),
    }


def _measure_both(config: Config, model: Predictor, data: SequenceDataModule) -> dict[str, Evaluation]:
    """Measure on validation and on test, once."""
    limits = {split: config["trainer"][f"limit_{split}_batches"] for split in ("val", "test")}
    return {
        "val": measure(model, data, "val", count_of(limits["val"], data.val_dataloader())),
        "test": measure(model, data, "test", count_of(limits["test"], data.test_dataloader())),
    }


def run_name(config: Config, model: Predictor | None = None) -> str:
    """Name a run by what matters: model, cell where free, size or method, data, target, fold, seed."""
    choices, data = config["choices"], config["data"]
    if isinstance(model, FittedOnce):
        size = [model.kind]
    else:
        cell = [choices["cell"]] if choices.get("model") in ("birnn", "seq2seq") else []
        size = [*cell, f"h{config['model']['recurrence']['hidden_size']}"]
    target = [f"{data['target']}{'-'.join(map(str, data['horizon_days']))}d"] if "horizon_days" in data else []
    has_folds = data.get("split") == "speaker" or data.get("num_folds", 1) > 1
    fold = [f"f{data['fold']}"] if has_folds else []
    return "-".join([choices["model"], *size, choices["data"], *target, *fold, f"s{config['seed']}"])


def _record(tracker: Tracker, config: Config, model: Predictor, data: SequenceDataModule) -> None:
    unused = ["decoder_cell"] if config["choices"].get("model") != "seq2seq" else []
    unused += [] if isinstance(model, Network) else ["cell", "frontend", "optimizer", "scheduler", "callbacks"]
    recorded = {key: value for key, value in config.items() if key not in (*NOT_RECORDED, *unused)}
    if data.source != config["data"]["source"]:  # the sample stood in: what is recorded is what was used
        recorded["data"] = {**config["data"], "source": data.source, **_free(config["data"])}
    chosen = {name: choice for name, choice in config["choices"].items() if "/" not in name and name not in unused}
    tracker.log_params({**flatten(recorded), **chosen})
    file = tracker.folder / "config.yaml"
    kept = {**recorded, "choices": config["choices"], "words": config["words"]}
    file.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
    tracker.log_files(file)
    num_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    tracker.set_tags(
        {**data.hashes, "source": data.source, "provenance": data.provenance, "split": data.split_used, "task": model.task.name,
         "code_hash": results.package_hash(), "num_threads": str(torch.get_num_threads()),
         "num_processes": str(num_processes()), "num_parameters": str(num_parameters)}
    )  # fmt: skip
    if isinstance(model, FittedOnce):
        tracker.set_tags({"baseline": model.kind})
    tracker.log_metrics({"model/num_parameters": num_parameters}, 0)


def _recorded(client: Client, asked: Config) -> Config:
    """Return the configuration of the run to resume."""
    run_id = asked["resume"]
    if others := [word for word in asked["words"] if not word.startswith(("resume=", "tracking.", "paths."))]:
        raise ConfigError(f"resume={run_id} takes that run's recorded configuration: leave out {' '.join(others)}")
    run = get_run(client, run_id)
    folder = Path(run.data.tags.get("outputs", ""))
    if run.info.status == "FINISHED":
        raise ConfigError(f"resume={run_id}: that run is finished; train longer with init_from={run_id}")
    if not (folder / "last.ckpt").is_file():
        raise ConfigError(f"resume={run_id}: no checkpoint in {folder}: it stopped before the first was written; start it anew")
    read_checkpoint(folder / "last.ckpt")
    file = read_artifact(client, run_id, "config.yaml", folder / "recorded")
    config: Config = yaml.safe_load(file.read_text(encoding="utf-8"))
    refuse_foreign_targets(config, CONF)
    config |= {key: asked[key] for key in ("paths", "resume", "tracking")}
    console.print(f"[bold]resuming[/] {run.info.run_name} ({run_id}) with its recorded configuration")
    return config


def refuse_changed_data(client: Client, run_id: str, data: SequenceDataModule) -> None:
    """Raise ConfigError where a run's data are not those it saw."""
    tags = get_run(client, run_id).data.tags
    for name, value in data.hashes.items():
        if tags.get(name) != value:
            raise ConfigError(f"run {run_id}: the data have changed since ({name} {tags.get(name)} is now {value})")


@contextmanager
def _ending(tracker: Tracker) -> Iterator[None]:
    """Give the run its final status, whatever happens."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt, SystemExit) as error:
        tracker.finish("KILLED", f"interrupted ({error})")
        how = "interrupted and saved" if isinstance(error, Interrupted) else "stopped at once; what the last checkpoint holds is kept"
        console.print(f"\n{how}; continue with:  python src/train.py resume={tracker.run_id}", highlight=False)
        raise SystemExit(130) from None
    except BaseException as error:
        tracker.finish("FAILED", f"{type(error).__name__}: {error}")
        raise
    tracker.finish("FINISHED")


def _tune_process(config: Config) -> None:
    """Choose threads, and let the allocator keep what it freed: handing each batch's memory back costs a sixth of a step."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
            libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
    torch.set_num_threads(config["trainer"]["num_threads"] or max(1, (os.cpu_count() or 1) // num_local_processes()))
    torch.set_flush_denormal(True)  # gradients that fade through time end in numbers that cost a hundred times more


def _quiet() -> None:
    """Silence what a user can do nothing about."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")  # ours is: see LastCheckpoint
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # of several processes each measures the whole
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
