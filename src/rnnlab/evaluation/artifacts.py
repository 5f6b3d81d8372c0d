"""Artifacts and summary of a finished run: numbers, predictions, figures, the bundle, the model, and a table on the screen."""

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rnnlab.data.base import SequenceDataModule
from rnnlab.data.inputs import InputReader
from rnnlab.evaluation.bundle import SIZE, size_kb, write_bundle
from rnnlab.evaluation.evaluate import Evaluation
from rnnlab.evaluation.streaming import measure_examples, measure_latency
from rnnlab.insight import figures
from rnnlab.insight.attention_maps import draw_maps
from rnnlab.insight.attribution import refusal
from rnnlab.insight.continuation import draw_continuation
from rnnlab.insight.diagnosis import Diagnosis, diagnose
from rnnlab.insight.explanations import explain_examples
from rnnlab.insight.guessing import loss_of_guessing
from rnnlab.models.base import FittedOnce, Network, Predictor
from rnnlab.models.seq2seq import Seq2Seq
from rnnlab.paths import PACKAGE, as_here, as_typed, file_name, in_markup
from rnnlab.settings import TrainSettings
from rnnlab.tasks import Classify, Forecast, Label, Metric, MultiLabel, NextEvent, Tag, TagAndIntent, Task, Transduce
from rnnlab.tasks.metrics import LISTED, MEASURED_EVERY_EPOCH, interval_of, written
from rnnlab.tasks.table_metrics import errors_by_step
from rnnlab.tasks.text_metrics import row_sums
from rnnlab.tracking import results
from rnnlab.tracking.store import find_baselines
from rnnlab.tracking.tracker import Tracker, below
from rnnlab.tracking.views import NOTE, code

SERVED_PACKAGES = (
    *("mlflow", "torch", "pytorch-lightning", "torchmetrics", "numpy", "pandas", "scipy", "pydantic", "PyYAML", "safetensors", "rich"),
    "filelock",
)
"""What every served model needs."""
FITTED_PACKAGES = ("scikit-learn", "statsmodels")
"""What baselines need, too."""
RECORDED_PACKAGES = (
    *("mlflow", "torch", "torchaudio", "torchtext", "sentencepiece", "pytorch-lightning", "torchmetrics", "numpy", "pandas", "pyarrow"),
    *("scipy", "scikit-learn", "statsmodels", "pydantic", "PyYAML", "safetensors", "soundfile", "rich", "filelock"),
    *("sacrebleu", "sacremoses", "jiwer", "mido"),
)
CHANGE_NO_NUMBER = ("mlflow", "pydantic", "PyYAML", "safetensors", "rich", "filelock")
ENVIRONMENT = "packages.json"
ARTIFACTS = "artifacts"
"""The tag of a run that still lacks figures and the model in MLflow's format: `light`; `src/complete.py` makes them."""
NUM_ERRORS_SHOWN = 200
NUM_MAPS = 6
NUM_PIECES, MOST_STEPS = 2, 64
MOST_TAGS = 40
"""In a picture of confusions."""


def write_artifacts(
    tracker: Tracker,
    model: Predictor,
    data: SequenceDataModule,
    found: dict[str, Evaluation],
    extra: dict[str, float],
    settings: TrainSettings,
    checkpoint: Path | None,
) -> Diagnosis | None:
    """Write all artifacts to the run's folder, then hand them to tracking; return the diagnosis of a network's training."""
    numbers = {f"best/{name}": value for name, value in found["val"].numbers.items()}
    numbers |= {f"test/{name}": value for name, value in found["test"].numbers.items()}
    once = {name: value for name, value in extra.items() if not (isinstance(model, Network) and name.startswith(MEASURED_EVERY_EPOCH))}
    folder = tracker.folder / "artifacts"
    write_bundle(folder / "bundle", model, settings.model, data.reader(), tracker.run_id, settings.compression)
    shown = next(iter(data.plain_dataloader("test")))
    once |= measure_latency(model, shown) | measure_examples(model, shown) | {SIZE: size_kb(folder / "bundle")}
    tracker.log_metrics(numbers | once, 0)  # one value a run: at step 0 the UI draws bars
    tracker.flush()
    tracker.set_tags({results.RESULTS_HASH: results.results_hash(numbers), **_predictions(found, folder / "predictions")})
    if not settings.study.is_light:
        draw(tracker, model, data, found["test"].table, folder)
    if settings.callbacks.insight is not None and refusal(model) is None:
        explain_examples(model, data, folder / "insight" / "attribution", NUM_MAPS)
    is_solved = found["val"].numbers.get("solved") == 1
    diagnosis = _diagnosed(tracker, cast(Network, model), data, settings, folder, is_solved=is_solved) if settings.is_diagnosed else None
    if isinstance(model.task, Transduce):
        signatures = model.task.signature(found["test"].table["num_references"].to_numpy())
        tracker.set_tags({f"signature.{name}": text for name, text in signatures.items()})
    (folder / "results.json").write_text(json.dumps(numbers | extra, indent=1, sort_keys=True), encoding="utf-8")
    (folder / ENVIRONMENT).write_text(json.dumps(environment(), indent=1), encoding="utf-8")
    tracker.log_files(folder)
    tracker.set_tags({NOTE: f"{what_ran(settings, model)}\n\n{what_came_out(tracker, model, found, extra)}"})
    if checkpoint is not None:
        tracker.set_tags({"checkpoint": below(checkpoint, settings.paths.root)})
        tracker.log_files(checkpoint, "checkpoint")
    if settings.study.is_light:
        tracker.set_tags({ARTIFACTS: "light"})
    elif settings.tracking.log_model:
        log_model(tracker, model, data, folder)
    return diagnosis


def _predictions(found: Mapping[str, Evaluation], folder: Path) -> dict[str, str]:
    """Write the tables of predictions; return their hashes by tag."""
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {}
    for split, evaluation in found.items():
        evaluation.table.to_parquet(folder / f"{split}.parquet", index=False)
        hashes[results.predictions_tag(split)] = results.file_hash(folder / f"{split}.parquet")
    return hashes


def log_model(tracker: Tracker, model: Predictor, data: SequenceDataModule, folder: Path) -> None:
    """Log the model in MLflow's own format; its bundle lies in the folder of artifacts."""
    reader = data.reader()
    (column,) = reader.columns
    served = PACKAGE / "evaluation" / "served_model.py"
    tracker.log_model(served, PACKAGE, folder / "bundle", requirements(model, reader), column, reader.made_up())


def requirements(model: Predictor, reader: InputReader) -> list[str]:
    """Return what a served model installs: what it and its kind of data need, as any index has it (no `+cpu` of one machine's build)."""
    fitted = FITTED_PACKAGES if isinstance(model, FittedOnce) else ()
    return [f"{name}=={version(name).partition('+')[0]}" for name in (*SERVED_PACKAGES, *fitted, *reader.packages)]


def _diagnosed(
    tracker: Tracker, model: Network, data: SequenceDataModule, settings: TrainSettings, folder: Path, *, is_solved: bool
) -> Diagnosis:
    """Say from the logged curves how the training went; the verdict is a tag, the words are an artifact."""
    curves = {name: tracker.history(name) for name in ("train/loss", "val/loss")}
    guessing = loss_of_guessing(model.task, data.plain_dataloader("val"))
    diagnosis = diagnose(curves, model.spec, settings, guessing=guessing, is_solved=is_solved)
    tracker.set_tags({"diagnosis": diagnosis.verdict})
    (folder / "diagnosis.txt").write_text(f"{diagnosis}\n", encoding="utf-8")
    return diagnosis


def what_ran(settings: TrainSettings, model: Predictor) -> str:
    """Describe a run by what asked for it, in Markdown; nothing in it comes from data."""
    choices, study = settings.choices, settings.study
    method = f" ({model.kind})" if isinstance(model, FittedOnce) else ""
    job = f", a job of study **{study.name}**" if study.job.parent and study.name else ""
    trial = f", trial {study.job.trial.number}" if study.job.trial else f", {study.job.setting}" if study.job.setting else ""
    own = [word for word in settings.words if not word.lstrip("+~").startswith(("study", "tracking.", "paths.", "hydra", "resume"))]
    typed = code(as_here(f"python src/train.py {as_typed(own)}"))
    return f"**{choices.model}**{method} on **{choices.data}**, seed {settings.seed}{job}{trial}.\n\n{typed}"


def what_came_out(tracker: Tracker, model: Predictor, found: Mapping[str, Evaluation], extra: Mapping[str, float]) -> str:
    """Describe a finished run by its result, how to make it again and where its files are, in Markdown."""
    name, val, test = model.task.compared.name, found["val"].numbers, found["test"].numbers
    metric = Metric.named(name)
    between = _interval(metric, test, ", 95 % interval {} to {}")
    cost = f"{sum(p.numel() for p in model.parameters() if p.requires_grad):,} parameters, {extra['time/fit_seconds']:.0f} s"
    again, files = code(as_here(f"python src/reproduce.py run={tracker.run_id}")), code(str(tracker.folder))
    result = f"test {metric.shown(test[name])}{between}; validation {metric.shown(val[name])}"
    return f"{name}: **{result}**; {cost}.\n\nAgain: {again}  \nFiles: {files}"


def environment() -> dict[str, str]:
    """Return what numbers follow from beside code, data and configuration: versions of packages, and the machine's name for itself."""
    found = {name: _version(name) for name in RECORDED_PACKAGES if name not in CHANGE_NO_NUMBER}
    cpus = Path("/proc/cpuinfo")
    cpu = re.search(r"^model name\s*:\s*(.+)$", cpus.read_text(encoding="utf-8"), re.MULTILINE) if cpus.is_file() else None
    threads = (os.environ.get(f"{name}_NUM_THREADS") for name in ("OPENBLAS", "OMP"))
    return found | {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()).strip(),
        "cpu": cpu[1] if cpu else platform.processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "numpy_threads": next(filter(None, threads), str(os.cpu_count())),  # torch's are a tag of the run
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def draw(tracker: Tracker, model: Predictor, data: SequenceDataModule, table: pd.DataFrame, folder: Path) -> None:
    """Draw the learning curve; of classes the confusion matrix, calibration and errors, of tags confusions and errors, of numbers the
    forecasts, of texts errors, score by length and what was looked at, of music pieces continued.
    """
    task = model.task
    if isinstance(model, Network) and tracker.history("val/loss"):
        metric = task.metric.name
        history = {name: tracker.history(name) for name in ("train/loss", "val/loss", f"val/{metric}")}
        figures.learning_curve(history, metric, folder / "learning_curve.png")
    if isinstance(task, Classify) and not isinstance(task, Label):
        labels = task.spec.label_names
        figures.confusion_matrix(table, labels, folder / "confusion_matrix.png")
        figures.reliability(table, folder / "calibration.png")
        if table["num_steps"].nunique() > 1:
            figures.accuracy_by_length(table, folder / "accuracy_by_length.png")
        wrong = table[table["target"] != table["prediction"]].sort_values("confidence", ascending=False)
        write_errors(wrong, data, folder / "errors.csv")
    if isinstance(task, Tag | TagAndIntent | NextEvent):
        draw_tags(task, data, table, folder)
    if isinstance(task, Transduce):
        draw_texts(model, data, table, folder)
    if isinstance(task, MultiLabel):
        draw_pieces(model, data, folder / "continued")
    if isinstance(task, Forecast) and task.spec.is_path:
        draw_paths(task, table, folder)
    elif isinstance(task, Forecast):
        for name in task.spec.label_names:
            figures.forecasts(table, name, task.quantiles, task.spec.unit, folder / f"forecast_{name}.png")
            figures.skill_by_group(table, name, folder / f"skill_{name}.png")
            figures.forecast_calibration(table, name, task.quantiles, task.spec.unit, folder / f"calibration_{name}.png")


def draw_paths(task: Forecast, table: pd.DataFrame, folder: Path) -> None:
    """Write and draw the errors of each step, and draw the forecasts of the first step and the last."""
    names, unit = task.spec.label_names, task.spec.unit
    errors = errors_by_step(table, names, task.quantiles)
    errors.to_csv(folder / "errors_by_step.csv", index=False)
    figures.by_step(errors, folder / "errors_by_step.png")
    for name in dict.fromkeys((names[0], names[-1])):
        figures.forecasts(table, name, task.quantiles, unit, folder / f"forecast_{name}.png")
        figures.forecast_calibration(table, name, task.quantiles, unit, folder / f"calibration_{name}.png")


def draw_pieces(model: Predictor, data: SequenceDataModule, folder: Path) -> None:
    """Draw how the model goes on from the first half of test pieces of middle length, for at most 64 steps."""
    rows = data.rows["test"]
    by_length = rows[np.argsort(data.lengths[rows], kind="stable")]
    first = max(0, (len(rows) - NUM_PIECES) // 2)
    for row in by_length[first : first + NUM_PIECES]:
        batch = data.collate(np.array([row]), epoch=0, is_training=False)
        piece_TK = torch.cat([batch.inputs[0, :1], batch.targets[0]])
        num_given = min((len(piece_TK) + 1) // 2, MOST_STEPS)
        num_steps = min(len(piece_TK) - num_given, MOST_STEPS)
        draw_continuation(model, piece_TK, num_given, num_steps, 0, folder / f"{file_name(str(data.examples['id'].iloc[row]))}.png")


def draw_texts(model: Predictor, data: SequenceDataModule, table: pd.DataFrame, folder: Path) -> None:
    """Write the worst answers, draw score by length, and attention maps of test examples of all lengths where there is attention."""
    write_errors(worst_answers(table), data, folder / "errors.csv")
    figures.score_by_length(table, folder / "score_by_length.png")
    if isinstance(model, Seq2Seq) and model.attention != "none":
        rows = data.rows["test"]
        by_length = rows[np.argsort(data.lengths[rows], kind="stable")]
        chosen = by_length[np.linspace(0, len(rows) - 1, min(NUM_MAPS + 2, len(rows))).astype(int)][1:-1]
        (folder / "attention").mkdir(exist_ok=True)
        names = [file_name(str(name)) for name in data.examples["id"].iloc[chosen]]
        batch = data.collate(chosen, epoch=0, is_training=False).to(model.device)
        draw_maps(model, batch, [folder / "attention" / f"{name}.png" for name in names])


def draw_tags(task: Tag | TagAndIntent | NextEvent, data: SequenceDataModule, table: pd.DataFrame, folder: Path) -> None:
    """Draw the confusions of tags or events, the most frequent ones, and write the sequences with the most errors, both sides of each."""
    names = np.array(task.spec.label_names, dtype=object)
    pairs = pd.DataFrame({key: names[np.concatenate(table[key].to_list()).astype(int)] for key in ("target", "prediction")})
    frequent = pairs["target"].value_counts().index[:MOST_TAGS]
    shown = pairs[pairs["target"].isin(frequent) & pairs["prediction"].isin(frequent)]
    figures.confusion_matrix(shown, tuple(name for name in names if name in set(frequent)), folder / "confusion_matrix.png")
    sides = {key: [" ".join(names[np.asarray(row, dtype=int)]) for row in table[key]] for key in ("target", "prediction")}
    num_wrong = np.array([int(np.not_equal(*pair).sum()) for pair in zip(table["target"], table["prediction"], strict=True)])
    if "target_intent" in table:
        num_wrong = num_wrong + (table["intent"] != table["target_intent"]).to_numpy(int)
    wrong = table.drop(columns=["is_new_word", "rank"], errors="ignore").assign(num_wrong=num_wrong, **sides)
    write_errors(wrong[wrong["num_wrong"] > 0].sort_values("num_wrong", ascending=False, kind="stable"), data, folder / "errors.csv")


def worst_answers(table: pd.DataFrame) -> pd.DataFrame:
    """Return answers, the worst first; of those with error rates only the wrong ones, with their rate."""
    sums_N2, _, is_more_better = row_sums(table)
    value_N = sums_N2[:, 0] / np.maximum(sums_N2[:, 1], 1)
    if is_more_better:
        return table.iloc[np.argsort(value_N, kind="stable")]
    return table.assign(error_rate=value_N)[value_N > 0].sort_values("error_rate", ascending=False, kind="stable")


def write_errors(wrong: pd.DataFrame, data: SequenceDataModule, file: Path) -> None:
    """Write the first of these errors, with what was read where that can be shown (an artifact only: data never enter the repository)."""
    wrong = wrong.head(NUM_ERRORS_SHOWN)
    texts = data.shown(data.examples.index[data.examples["id"].isin(wrong["example_id"])].to_numpy())
    if texts is not None:
        ids = data.examples["id"][data.examples["id"].isin(wrong["example_id"])]
        wrong = wrong.assign(text=wrong["example_id"].map(dict(zip(ids, texts, strict=True))))
    wrong.to_csv(file, index=False)


def print_line(tracker: Tracker, model: Predictor, found: dict[str, Evaluation], extra: dict[str, float]) -> None:
    """Print one line of a study's job: what it is compared by, how long it took, its run."""
    metric = model.task.compared
    values = "  ".join(f"{split} {metric.name} {metric.shown(found[split].numbers[metric.name])}" for split in ("val", "test"))
    console = Console(stderr=True, soft_wrap=True)
    solved = {1.0: "  solved", 0.0: "  not solved"}.get(found["test"].numbers.get("solved", -1.0), "")
    console.print(f"[bold]{tracker.name}[/]  {values}{solved}  {extra['time/fit_seconds']:.0f} s  run {tracker.run_id}", highlight=False)


def print_summary(
    tracker: Tracker,
    model: Predictor,
    data: SequenceDataModule,
    found: dict[str, Evaluation],
    extra: dict[str, float],
    words: Sequence[str],
    diagnosis: Diagnosis | None,
) -> None:
    """Print what a person wants to know, how it stands to the best baseline, how the training went, and how to look further."""
    val, test = found["val"].numbers, found["test"].numbers
    table = Table(title=f"{tracker.name}: {data.name} ({in_markup(data.source)})", title_justify="left", show_edge=False, pad_edge=False)
    for heading in ("", "validation", "test"):
        table.add_column(heading, justify="right" if heading else "left")
    for name in (name for name in LISTED if name in val and name in test):
        metric = Metric.named(name, model.spec.unit)
        table.add_row(name, metric.shown(val[name]), metric.shown(test[name]) + _interval(metric, test, " [{}, {}]"))
    console = Console(soft_wrap=True)
    console.print()
    console.print(table)
    if verdict := solved_or_not(model.task, test):
        console.print(f"\n{verdict}", highlight=False)
    console.print(f"\n{beside_baseline(tracker, model, data, test, words)}", highlight=False)
    if diagnosis is not None and diagnosis.verdict not in ("unknown", "solved"):
        console.print(f"\n{escape(str(diagnosis))}", highlight=False)
    num_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    size = f"{num_parameters:,} parameters, " if num_parameters else ""
    look, predict = as_here(f"make ui, then {tracker.link}"), as_here(f"python src/predict.py run={tracker.run_id}")
    console.print(
        f"\n{size}{extra['time/fit_seconds']:.0f} s, {extra['speed/examples_per_second']:,.0f} examples/s, "
        f"{extra['memory/peak_mb']:,.0f} MB\nrun {tracker.run_id}\n  look:     {look}\n"
        f"  predict:  {predict} {data.reader().example}\n  files:    {tracker.folder}",
        highlight=False,
    )


def solved_or_not(task: Task, numbers: dict[str, float]) -> str:
    """Say whether a task is solved; nothing where the data don't say when it is."""
    if "solved" not in numbers or task.spec.solved_at is None:
        return ""
    metric = task.compared
    wanted = f"{'below' if metric.direction == 'min' else 'above'} {metric.shown(task.spec.solved_at)}"
    reached = f"test {metric.name} {metric.shown(numbers[metric.name])}"
    if numbers["solved"]:
        return f"[bold green]solved:[/] {reached} is {wanted}"
    return f"[bold yellow]not solved:[/] {reached} is not {wanted}"


def _interval(metric: Metric, numbers: Mapping[str, float], words: str) -> str:
    """Write a metric's 95 % interval in these words, nothing if it has none; of fractions in percent, else in the digits of values."""
    if not (ends := interval_of(metric.name, numbers)):
        return ""
    return words.format(*(f"{metric.factor * end:.1f}" for end in ends) if metric.is_fraction else written(*ends))


def beside_baseline(tracker: Tracker, model: Predictor, data: SequenceDataModule, test: dict[str, float], words: Sequence[str]) -> str:
    """Say how a result stands to the best tracked baseline on the same test examples (best on validation: test chooses nothing)."""
    compared = model.task.compared
    key, sign = compared.name, 1 if compared.direction == "max" else -1
    wanted = {f"best/{key}", f"test/{key}"}
    tracked = [
        run
        for run in find_baselines(tracker.client, data.hashes["test_hash"])
        if run.info.run_id != tracker.run_id
        and not results.has_changed(run)
        and wanted <= set(run.data.metrics)
        and run.data.metrics.get("test/num_examples") == test["num_examples"]
    ]
    if not tracked:
        if not isinstance(model, Network):
            return "no other baseline is tracked for this test split"
        from rnnlab.models.baseline import unanswerable  # it knows all methods: no other run needs them

        if why_not := unanswerable(model.spec):
            return f"no baseline is tracked for this test split: {why_not}"
        asked = as_typed(word for word in words if word.startswith(("data=", "data.")) and not word.startswith("data.loader"))
        command = as_here("python src/train.py model=baseline")
        return f"no baseline is tracked for this test split; make one:  {command} {escape(asked)}".rstrip()
    best = max(tracked, key=lambda run: sign * run.data.metrics[f"best/{key}"])
    theirs, ours = best.data.metrics[f"test/{key}"], test[key]
    first, second = (compared.shown(ours), compared.shown(theirs)) if compared.is_fraction else written(ours, theirs)
    numbers = f"{key} {first} against {second} of {best.info.run_name} ({best.info.run_id[:8]})"
    if not isinstance(model, Network):
        return f"best other baseline: {numbers}"
    return f"{_standing(compared, ours, theirs, (first, second), interval_of(key, test))} {numbers}"


def _standing(compared: Metric, ours: float, theirs: float, shown: tuple[str, str], interval: tuple[float, float] | None) -> str:
    """Say how a result stands to the best tracked baseline's: beyond the result's own interval or within it, where it has one."""
    baseline = "the best tracked baseline"
    if shown[0] == shown[1]:
        return f"equal to {baseline}:"
    is_better = (ours > theirs) == (compared.direction == "max")
    if interval is not None and interval[0] <= theirs <= interval[1]:
        words = ("above", "below") if compared.direction == "max" else ("better than", "worse than")
        return f"{words[0] if is_better else words[1]} {baseline}, within noise:"
    return f"better than {baseline}:" if is_better else f"[bold yellow]did not beat {baseline}:[/]"
