"""What a run says of itself from its first moment: its name, parameters, configuration and tags."""

from collections.abc import Mapping
from pathlib import Path

import torch

from rnnlab.config import OWN_GROUPS, TARGET, Config, flatten
from rnnlab.data.base import SequenceDataModule
from rnnlab.evaluation.artifacts import what_ran
from rnnlab.models.base import FittedOnce, Predictor
from rnnlab.paths import CONF
from rnnlab.settings import Composed, TrainSettings
from rnnlab.tracking.recorded import CONFIG_HASH, config_hash, write_config
from rnnlab.tracking.tracker import Tracker
from rnnlab.tracking.views import NOTE
from rnnlab.training.identity import COST, cost_key, package_hash
from rnnlab.training.launching import num_processes

COPIES = tuple(f"model.{group}." for group in (*OWN_GROUPS, "decoder_cell"))
"""Parameters that also stand under a name of their own."""
SAY_NOTHING = ("study", "tracking")  # choices that change no number; the study's name is a tag
NOT_PARAMETERS = ("paths", "resume", "tracking", "epochs", "warmup_fraction", "study")


def run_name(settings: TrainSettings, of_data: list[str], model: Predictor | None = None) -> str:
    """Name a run by what matters: model, cell where free, size or method, data and what its module names (target, fold), seed."""
    choices = settings.choices
    if isinstance(model, FittedOnce):
        size = [model.kind]
    else:
        is_free = choices.cell not in (None, choices.model) and "cell" in settings.model.values
        size = [*([str(choices.cell)] if is_free else []), f"h{settings.model.hidden_size}"]
    return "-".join([choices.model, *size, choices.data, *of_data, f"s{settings.seed}"])


def record(tracker: Tracker, settings: TrainSettings, model: Predictor, data: SequenceDataModule, known: Mapping[str, str]) -> None:
    """Record what a run is; `known` are parameters that it has, because it was cut off while it was recorded."""
    values = settings.values()
    values["data"] = _with_whole_paths(values["data"], data)
    source = values["data"].get("source", data.source)
    parameters = _parameters(settings, values)
    tracker.log_params({key: value for key, value in parameters.items() if key not in known})
    file = write_config(Composed(values, settings.choices, settings.words), tracker.folder)
    tracker.log_files(file)
    num_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    compared = model.task.compared
    tracker.set_tags(
        {**data.hashes, CONFIG_HASH: config_hash(file), COST: cost_key(settings),
         "source": source, "provenance": data.provenance, "split": data.split_used, "task": model.task.name,
         "metric": compared.name, "metric_direction": compared.direction, "target_unit": compared.unit,
         "code_hash": package_hash(), "num_threads": str(torch.get_num_threads()), "num_processes": str(num_processes()),
         "num_parameters": str(num_parameters), "baseline": model.kind if isinstance(model, FittedOnce) else "",
         NOTE: what_ran(settings, model)}
    )  # fmt: skip
    tracker.show(compared.name, compared.direction)
    tracker.log_dataset(data.name, data.hashes["source_hash"], source)
    tracker.log_metrics({"model/num_parameters": num_parameters}, 0)


def _with_whole_paths(values: Config, data: SequenceDataModule) -> Config:
    """Return the section `data` as it is recorded: its paths mean the same from every folder; where the sample stood in, that was used."""
    if "source" not in values:  # generated
        return values
    stood_in = data.sample_settings if data.source != values["source"] else {}
    loader = {**values.get("loader", {})}
    for section, key in ((values := {**values, "loader": loader}, "mirror"), (loader, "vectors")):
        if isinstance(section.get(key), str):
            section[key] = str(Path(section[key]).expanduser().absolute())
    return {**values, "source": data.kept_source, **stood_in}


def _parameters(settings: TrainSettings, values: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters of a run by name: settings that it uses, and the choice of each group."""
    unused = settings.unused_keys()
    used = {key: value for key, value in values.items() if key not in (*NOT_PARAMETERS, *unused)}
    flat = {key: value for key, value in flatten(used).items() if not key.endswith(TARGET) and not key.startswith(COPIES)}
    chosen = {group: choice for group, choice in settings.choices.by_group.items() if "/" not in group}
    if not (CONF / "tuned" / f"{settings.choices.recipe}.yaml").is_file():  # most pairs have no recipe
        chosen.pop("tuned", None)
    flat |= {"packed": True} if settings.study.packed else {}  # numbers follow from it: comparisons keep such runs apart
    return flat | {group: choice for group, choice in chosen.items() if group not in (*unused, *SAY_NOTHING)}
