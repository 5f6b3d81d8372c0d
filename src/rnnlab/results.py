"""What a finished run leaves behind: numbers, predictions, pictures, the bundle, the model, and a table on the screen."""

import json
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from rnnlab.bundle import write_bundle
from rnnlab.callbacks import shown
from rnnlab.config import Config
from rnnlab.data.base import SequenceDataModule
from rnnlab.data.prepared import code_hash
from rnnlab.evaluation import Evaluation
from rnnlab.insight.pictures import confusion_matrix, learning_curve
from rnnlab.models.base import SequenceModule
from rnnlab.tracking import Tracker

PACKAGE = Path(__file__).parent
SERVING_PACKAGES = (
    *("mlflow", "torch", "torchaudio", "pytorch-lightning", "torchmetrics", "numpy", "pandas", "pyarrow"),
    *("pydantic", "PyYAML", "safetensors", "soundfile", "rich", "filelock"),
)
NUM_ERRORS_SHOWN = 200


def leave_behind(
    tracker: Tracker,
    model: SequenceModule,
    data: SequenceDataModule,
    found: dict[str, Evaluation],
    extra: dict[str, float],
    config: Config,
    checkpoint: Path,
) -> None:
    """Write everything to the run's folder first, then hand it to tracking."""
    numbers = {f"best/{name}": value for name, value in found["val"].numbers.items()}
    numbers |= {f"test/{name}": value for name, value in found["test"].numbers.items()}
    tracker.log_metrics(numbers | extra, 0)  # one value a run: at step 0 the UI draws bars
    tracker.flush()
    folder = tracker.folder / "artifacts"
    for split, evaluation in found.items():
        table = with_examples(evaluation.table, data)
        (folder / "predictions").mkdir(parents=True, exist_ok=True)
        table.to_parquet(folder / "predictions" / f"{split}.parquet", index=False)
    draw(tracker, model, found["test"], with_examples(found["test"].table, data), folder)
    (folder / "results.json").write_text(json.dumps(numbers | extra, indent=1, sort_keys=True), encoding="utf-8")
    write_bundle(folder / "bundle", model, config["model"], data.bundle(), tracker.run_id)
    tracker.set_tags({"checkpoint": str(checkpoint)})
    tracker.log_files(folder)
    tracker.log_files(checkpoint, "checkpoint")
    if config["tracking"]["log_model"]:
        requirements = [f"{name}=={version(name)}" for name in SERVING_PACKAGES]
        tracker.log_model(PACKAGE / "served_model.py", PACKAGE, folder / "bundle", requirements)


def with_examples(table: pd.DataFrame, data: SequenceDataModule) -> pd.DataFrame:
    """Put each example's id and the unit that may leak before its prediction."""
    examples = data.data.examples.iloc[table["row"].to_numpy()].reset_index(drop=True)
    named = pd.DataFrame({"example_id": examples["id"], "group": examples[data.group_column]})
    return named.join(table.drop(columns="row"))


def draw(tracker: Tracker, model: SequenceModule, test: Evaluation, table: pd.DataFrame, folder: Path) -> None:
    """Draw the learning curve and, for classes, the confusion matrix and the table of errors."""
    measure = model.task.measure.name
    names = ("train/loss", "val/loss", f"val/{measure}")
    learning_curve({name: tracker.history(name) for name in names}, measure, folder / "learning_curve.png")
    if model.spec.target_kind == "class":
        confusion_matrix(table, model.spec.label_names, folder / "confusion_matrix.png")
        wrong = table[table["target"] != table["prediction"]].sort_values("confidence", ascending=False)
        wrong.head(NUM_ERRORS_SHOWN).to_csv(folder / "errors.csv", index=False)


def print_summary(
    tracker: Tracker,
    model: SequenceModule,
    data: SequenceDataModule,
    found: dict[str, Evaluation],
    extra: dict[str, float],
) -> None:
    """Print what a person wants to know, and how to look further."""
    measure = model.task.measure
    val, test = found["val"].numbers, found["test"].numbers
    table = Table(title=f"{tracker.name}: {data.name} ({data.source})", title_justify="left", show_edge=False, pad_edge=False)
    for heading in ("", "validation", "test"):
        table.add_column(heading, justify="right" if heading else "left")
    main = [measure.name] + [name for name in ("f1_macro", "precision_macro", "recall_macro", "rmse", "mae", "loss") if name in val]
    for name in main:
        unit = "" if name == "loss" else measure.unit
        table.add_row(name, shown(val[name], unit), shown(test[name], unit))
    console = Console(soft_wrap=True)
    console.print()
    console.print(table)
    num_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    console.print(
        f"\n{num_parameters:,} parameters, {extra['time/fit_seconds']:.0f} s, {extra['speed/examples_per_second']:,.0f} examples/s, "
        f"{extra['memory/peak_mb']:,.0f} MB\nrun {tracker.run_id}\n  look:     make ui\n"
        f"  predict:  python src/predict.py run={tracker.run_id} input=FILE\n  files:    {tracker.folder}",
        highlight=False,
    )


def package_hash() -> str:
    """Hash what the package does (comments and layout aside), `report/` left out: reports don't change a run."""
    return code_hash(*sorted(f for f in PACKAGE.rglob("*.py") if "report" not in f.relative_to(PACKAGE).parts), classes=True)
