"""One training from configuration to results: the place where data, model, trainer and tracking meet.

check everything that needs no data -> data -> model -> fit -> best checkpoint -> val and test -> what the run leaves behind
"""

import contextlib
import functools
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
import torch
import yaml
from lightning_fabric.utilities.exceptions import MisconfigurationException
from rich.console import Console

from rnnlab.config import OWN_GROUPS, TARGET, Config, ConfigError, Failed, flatten, naming_recipe, nearest, recipe, refuse_foreign_targets
from rnnlab.data.base import SequenceDataModule
from rnnlab.data.sources.fetching import SourceUnavailable
from rnnlab.data.targets import TokenTargets
from rnnlab.evaluation import artifacts
from rnnlab.evaluation.evaluate import Evaluation, evaluate
from rnnlab.models.base import FittedOnce, Network, Optimization, Predictor, SequenceModule
from rnnlab.paths import CONF, HOME, root
from rnnlab.studies.jobs import checkpoint_of, claim, decide, identity, package_hash
from rnnlab.tracking.tracker import Client, Tracker, TrackingError, connect, get_run, read_artifact
from rnnlab.tracking.views import NOTE
from rnnlab.training import distributed
from rnnlab.training.budget import at_budget, sized_parts
from rnnlab.training.callbacks import Interrupted, Pruned, peak_memory_mb
from rnnlab.training.launching import is_leader, launched, num_processes
from rnnlab.training.process import quieten, tune_process
from rnnlab.training.ranges import check_settings
from rnnlab.training.trainer import count_of, init_from, load_weights, make_trainer, read_checkpoint

COPIES = tuple(f"model.{group}." for group in (*OWN_GROUPS, "decoder_cell"))
"""Parameters that stand under a name of their own, too."""
SAY_NOTHING = ("study", "tracking")  # choices that change no number; the study's name is a tag
NOT_RECORDED = ("paths", "choices", "words", "resume", "tracking", "epochs", "warmup_fraction", "study")
console = Console(stderr=True, soft_wrap=True)


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
    with naming_recipe(CONF, config["choices"].get("tuned")):
        return _check(config)


def _check(config: Config) -> Recipes:
    budget = config.get("budget")
    if budget is not None and (not isinstance(budget, int) or budget < 1):
        raise ConfigError(f"model.budget={budget} is not allowed: a whole number of parameters from 1, or null")
    model = recipe(config["model"], "model")
    _check_cell(model, config["choices"])
    trainer = {key: value for key, value in config["trainer"].items() if key != "num_threads"}
    threads = config["trainer"]["num_threads"]
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ConfigError(f"trainer.num_threads={threads} is not allowed: a whole number from 1, or null for all cores")
    check_settings(config)
    distributed.check(trainer)
    optimizer = recipe(config["optimizer"], "optimizer")
    try:
        optimizer([torch.nn.Parameter(torch.zeros(1))])
    except (ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"optimizer: {error}") from None
    optimization = Optimization(optimizer, recipe(config["scheduler"], "scheduler"))
    if config.get("callbacks", {}).get("insight"):
        recipe(config["callbacks"]["insight"], "callbacks.insight")
    if not isinstance(config["seed"], int) or config["seed"] < 0:
        raise ConfigError(f"seed={config['seed']} is not allowed: a whole number from 0")
    return Recipes(model, recipe(config["data"], "data"), optimization, distributed.placed(recipe(trainer, "trainer")))


def _check_cell(model: "functools.partial[Predictor]", choices: Mapping[str, str]) -> None:
    """Refuse a cell of another family than the model's."""
    taken = getattr(model.func, "cell_classes", ())  # only recurrent networks say
    if not taken or model.keywords["cell"].func in taken:
        return
    names = ", ".join(cell.__module__.rpartition(".")[2] for cell in taken)
    given = f"cell={choices['cell']}" if "cell" in choices else "this cell"
    raise ConfigError(
        f"model={choices.get('model')} does not take {given}, but: {names}. For both directions of any cell: model=birnn cell=..."
    )


@dataclass(frozen=True)
class Begun:
    """Say where a training goes on.

    Args:
        run_id: of the run to take up; None for a new one.
        checkpoint: to go on from; None to begin with the first step.
    """

    run_id: str | None = None
    checkpoint: Path | None = None


def train(config: Config) -> float | None:
    """Train what the configuration says, continue `resume=RUN_ID`, or do a study's job where it is to do; in one process or several.

    Returns:
        The task's metric on validation at the chosen checkpoint; None where there was nothing to do, a search stopped the trial, or other
        processes did it.

    Raises:
        ValueError: the user's to mend; the message says how.
        SystemExit: 130 after an interrupt.
    """
    quieten()
    if launched(config, config["words"]):
        return None
    with distributed.joined():
        return _train(config)


def _train(config: Config) -> float | None:
    client, words, begun = distributed.leaders(lambda: connect(config["tracking"]["uri"], root())), config["words"], Begun()
    if config["resume"]:
        asked = config
        config = distributed.from_leader(lambda: _recorded(client, asked))
        if launched(config, words):
            return None
        folder = distributed.from_leader(lambda: get_run(client, asked["resume"]).data.tags["outputs"])
        begun = Begun(config["resume"], Path(folder) / "last.ckpt")
    recipes = check(config)
    if not is_leader() and config["choices"].get("model") == "baseline":
        return None
    tune_process(config)
    data = distributed.one_first(lambda: find_data(recipes.data, config))
    distributed.refuse_different(data)
    job = identity(config, data.hashes["source_hash"])
    if not config["study"]["parent"]:
        return _train_under(config, recipes, client, data, job, begun)
    with _claimed(config, client, job) as claimed:
        return _train_under(config, recipes, client, data, job, claimed) if claimed else None


@contextmanager
def _claimed(config: Config, client: Client, job: str) -> Iterator[Begun | None]:
    """Hold a study's job, and say where it goes on; None where it is not to do."""
    outputs = Path(config["paths"]["outputs"])
    with claim(outputs / "locks", job) if is_leader() else contextlib.nullcontext(False) as is_ours:

        def decided() -> Begun | None:
            decision = decide(client, job, is_ours, config["study"])
            if decision.todo == "skip":
                console.print(f"  [bold]skipped:[/] {decision.reason}", highlight=False)
                return None
            run = decision.run
            restart = config["study"]["restart_damaged"]
            return Begun(run.info.run_id, checkpoint_of(run, outputs / run.info.run_id, restart)) if run else Begun()

        yield distributed.from_leader(decided)


def _train_under(config: Config, recipes: Recipes, client: Client, data: SequenceDataModule, job: str, begun: Begun) -> float | None:
    """Make the model, train it under a run, new or taken up, and measure it."""
    spec = data.make_spec()
    if spec.solved_at is None and config.get("callbacks", {}).get("early_stopping", {}).get("when_solved", False):
        raise ConfigError(f"callbacks.early_stopping.when_solved: data={spec.name} don't say when they are solved: leave it out")
    if config.get("budget") and sized_parts(config["model"]):
        sized = at_budget(config["model"], config["budget"], spec)
        console.print(
            f"  {'budget':13} hidden size {sized.hidden_size}: {sized.num_parameters:,} parameters between front end and output "
            f"({100 * sized.deviation:+.1f} %)",
            highlight=False,
        )
        config = {**config, "model": sized.model}
    pl.seed_everything(config["seed"], workers=False, verbose=False)
    model = recipe(config["model"], "model")(spec)
    if isinstance(model, Network):
        model.optimization = recipes.optimization
        model.frontend.begin_with(data.input_vectors())
        if model.frontend.needs_fit:
            model.frontend.fit(data.plain_dataloader("train"))
    elif config["init_from"]:
        raise ConfigError("init_from gives a network its first weights; model=baseline has none: leave it out")
    if isinstance(model, SequenceModule) and model.is_ctc:
        leave_out_short(model, data)
    tracker = distributed.tracked(lambda: _tracker(config, client, model, data, job, begun))
    value = None
    with _ending(tracker), distributed.noticing_losses():
        if is_leader() and not config["resume"]:
            _record(tracker, config, model, data, get_run(client, begun.run_id).data.params if begun.run_id else {})
        if isinstance(model, Network):
            extra, checkpoint = _fit_network(config, recipes, tracker, model, data, begun.checkpoint)
            if not is_leader():
                return None
        else:
            extra, checkpoint = _fit_baseline(cast(FittedOnce, model), data), None
        found = _evaluate_both(config, model, data)
        diagnosis = artifacts.leave_behind(tracker, model, data, found, extra, config, checkpoint)
        if config["study"]["parent"]:
            artifacts.print_line(tracker, model, found, extra)
        else:
            artifacts.print_summary(tracker, model, data, found, extra, config["words"], diagnosis)
        value = found["val"].numbers[model.task.metric.name]
    return value


def _tracker(config: Config, client: Client, model: Predictor, data: SequenceDataModule, job: str, begun: Begun) -> Tracker:
    """Begin a run, or take one up."""
    outputs = Path(config["paths"]["outputs"])
    if begun.run_id is not None:
        if config["resume"]:
            refuse_changed_data(client, config["resume"], data)
        return Tracker.resume(client, begun.run_id, outputs, HOME)
    if config["init_from"]:
        try:
            init_from(cast(Network, model), Path(get_run(client, config["init_from"]).data.tags["outputs"]))
        except TrackingError as error:
            raise ConfigError(f"init_from={config['init_from']}: {error}") from None
    study = config["study"]
    tags = {"identity": job, "mlflow.parentRunId": study["parent"], "study": study["name"], "setting": study["setting"]}
    search, _, trial = str(study["trial"] or "").rpartition(":")
    tags |= {"search": search, "trial": trial}
    if config.get("reproduces"):  # such a run is no study's job
        tags |= {"identity": None, "reproduces": config["reproduces"]}
    which = f"-t{trial}" if trial else f"-{study['setting']}" if study["setting"] else ""
    name = (config["name"] or run_name(config, model)) + which
    given = {key: value for key, value in tags.items() if value}
    return Tracker.start(client, config["tracking"]["experiment"] or data.name, name, outputs, root(), HOME, given)


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
    if not config["study"]["parent"]:  # a study has described its data before its jobs
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
    config: Config, recipes: Recipes, tracker: Tracker, model: Network, data: SequenceDataModule, checkpoint: Path | None
) -> tuple[dict[str, float], Path]:
    """Train, from a checkpoint where there is one, load the chosen checkpoint, and return time, speed and memory with its path."""
    trainer, best, meter = make_trainer(config, recipes.trainer, tracker, model, data)
    try:
        trainer.fit(model, datamodule=data, ckpt_path=str(checkpoint) if checkpoint else None, weights_only=True)
    except OSError as error:
        raise Failed(
            f"cannot write in {tracker.folder} ({error.strerror or error}): free some space, then go on from the last checkpoint with "
            f"resume={tracker.run_id}"
        ) from error
    except MisconfigurationException as error:
        raise ConfigError(str(error)) from error
    distributed.part()
    extra = {"time/fit_seconds": meter.fit_seconds, **meter.numbers()}
    last = tracker.folder / "last.ckpt"
    if not is_leader():
        return extra, last
    # Whatever precision it was trained in, it is measured and kept in float32.
    return extra, load_weights(model.float(), Path(best.best_model_path) if best.best_model_path else last)


def _fit_baseline(model: FittedOnce, data: SequenceDataModule) -> dict[str, float]:
    """Fit a baseline, and return time, speed and memory."""
    console.print(f"fitting [bold]{model.kind}[/]")
    begun = time.monotonic()
    model.fit(data.plain_dataloader("train"), data.plain_dataloader("val"))
    seconds = time.monotonic() - begun
    return {
        "time/fit_seconds": seconds,
        "speed/examples_per_second": len(data.rows["train"]) / max(seconds, 1e-9),
        "memory/peak_mb": peak_memory_mb(),
    }


def _evaluate_both(config: Config, model: Predictor, data: SequenceDataModule) -> dict[str, Evaluation]:
    """Evaluate on validation and on test, once."""
    limits = {split: config["trainer"][f"limit_{split}_batches"] for split in ("val", "test")}
    return {
        "val": evaluate(model, data, "val", count_of(limits["val"], data.val_dataloader())),
        "test": evaluate(model, data, "test", count_of(limits["test"], data.test_dataloader())),
    }


def run_name(config: Config, model: Predictor | None = None) -> str:
    """Name a run by what matters: model, cell where free, size or method, data, target, fold, seed."""
    choices, data = config["choices"], config["data"]
    if isinstance(model, FittedOnce):
        size = [model.kind]
    else:
        cell = [choices["cell"]] if choices.get("cell", choices["model"]) != choices["model"] and "cell" in config["model"] else []
        size = [*cell, f"h{config['model'][sized_parts(config['model'])[0]]['hidden_size']}"]
    target = [f"{data['target']}{'-'.join(map(str, data['horizon_days']))}d"] if "horizon_days" in data else []
    has_folds = data.get("split") == "speaker" or data.get("num_folds", 1) > 1
    fold = [f"f{data['fold']}"] if has_folds else []
    return "-".join([choices["model"], *size, choices["data"], *target, *fold, f"s{config['seed']}"])


def _record(tracker: Tracker, config: Config, model: Predictor, data: SequenceDataModule, known: Mapping[str, str]) -> None:
    """Record what a run is, once: where it was cut off while it did, only the parameters that are not `known`."""
    unused = ["decoder_cell"] if config["choices"].get("model") != "seq2seq" else []
    unused += [] if isinstance(model, Network) else ["frontend", "optimizer", "scheduler", "callbacks"]
    unused += [] if "cell" in config["model"] else ["cell"]
    recorded = {key: value for key, value in config.items() if key not in (*NOT_RECORDED, *unused)}
    if data.source != config["data"].get("source", data.source):  # the sample stood in: what is recorded is what was used
        recorded["data"] = {**config["data"], "source": data.source, **_free(config["data"])}
    chosen = {name: choice for name, choice in config["choices"].items() if "/" not in name and name not in (*unused, *SAY_NOTHING)}
    if not (CONF / "tuned" / f"{config['choices'].get('tuned')}.yaml").is_file():  # most pairs have no recipe
        chosen.pop("tuned", None)
    settings = {key: value for key, value in flatten(recorded).items() if not key.endswith(TARGET) and not key.startswith(COPIES)}
    tracker.log_params({key: value for key, value in {**settings, **chosen}.items() if key not in known})
    file = tracker.folder / "config.yaml"
    kept = {**recorded, "choices": config["choices"], "words": config["words"]}
    file.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
    tracker.log_files(file)
    num_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    tracker.set_tags(
        {**data.hashes, "source": data.source, "provenance": data.provenance, "split": data.split_used, "task": model.task.name,
         "metric": model.task.compared.name, "metric_direction": model.task.compared.direction,
         "target_unit": model.task.compared.unit,
         "code_hash": package_hash(), "num_threads": str(torch.get_num_threads()),
         "num_processes": str(num_processes()), "num_parameters": str(num_parameters), NOTE: artifacts.what_ran(config, model)}
    )  # fmt: skip
    tracker.show(model.task.compared.name, model.task.compared.direction)
    tracker.log_dataset(data.name, data.hashes["source_hash"], data.source)
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
    config |= {key: asked[key] for key in ("paths", "resume", "tracking", "study")}
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
    except Pruned as error:
        tracker.set_tags({"pruned": "true"})
        tracker.finish("KILLED", str(error))
        console.print(f"  [bold]stopped early:[/] {error}", highlight=False)
        return
    except (Interrupted, KeyboardInterrupt, SystemExit) as error:
        tracker.finish("KILLED", f"interrupted ({error})")
        how = "interrupted and saved" if isinstance(error, Interrupted) else "stopped at once; what the last checkpoint holds is kept"
        console.print(f"\n{how}; continue with:  python src/train.py resume={tracker.run_id}", highlight=False)
        raise SystemExit(130) from None
    except BaseException as error:
        tracker.finish("FAILED", f"{type(error).__name__}: {error}")
        if isinstance(error, ValueError) and not isinstance(error, Failed):
            raise Failed(str(error)) from error
        raise
    tracker.finish("FINISHED")
