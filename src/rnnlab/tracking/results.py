"""What a run measured, read back: its numbers and its tables of predictions, each with a hash that tells damage.

Neither SQLite nor Parquet keeps checksums: a bit that a disk flipped would be another number. The hashes are tags of the run.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from rnnlab.tracking.store import Client, Run, TrackingError, read_artifact

RESULTS_HASH = "results_hash"
PREDICTIONS_HASH = "predictions_hash"
LONGEST_NAME = 250
MEASURED_ONCE = re.compile(r"(best|test)(/[\w-][\w.-]*)+")
"""Names of numbers that a run measures once, as every store takes them; one of another name may have been refused, and does not count."""


def results_hash(numbers: Mapping[str, float]) -> str:
    """Hash what a run measured once; infinity and what is no number do not count, since stores write others in their place."""
    finite = {name: float(value) for name, value in numbers.items() if math.isfinite(value) and abs(value) < 1e300}
    counted = {name: value for name, value in finite.items() if MEASURED_ONCE.fullmatch(name) and len(name) <= LONGEST_NAME}
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:16]


def predictions_tag(split: str) -> str:
    """Return the tag that keeps the hash of a table of predictions."""
    return f"{PREDICTIONS_HASH}.{split}"


def file_hash(file: Path) -> str:
    """Hash a file as a run's tags keep it."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def has_changed(run: Run) -> bool:
    """Say whether the numbers that tracking holds of a finished run are others than the run measured; runs of before cannot be asked."""
    return bool(run.data.tags.get(RESULTS_HASH, found := results_hash(run.data.metrics)) != found)


def refuse_changed_results(run: Run) -> None:
    """Refuse a run whose tracked numbers are others than it measured.

    Raises:
        TrackingError: says where they stand as they were.
    """
    if has_changed(run):
        raise TrackingError(
            f"the tracked metrics of run {run.info.run_id} ({run.info.run_name}) are not those that it measured: the database is damaged, "
            "or they were changed. The run's artifact results.json has them; leave the run out, or train it anew"
        )


def read_predictions(client: Client, run: Run, split: str, into: Path) -> pd.DataFrame:
    """Return a run's predictions on a split.

    Raises:
        TrackingError: where they are missing, damaged or were changed.
    """
    name = f"{run.info.run_name} ({run.info.run_id})"
    advice = "train it anew, or leave it out"
    try:
        file = read_artifact(client, run.info.run_id, f"predictions/{split}.parquet", into / run.info.run_id)
        wanted = run.data.tags.get(predictions_tag(split), found := file_hash(file))
        table = pd.read_parquet(file) if wanted == found else None
    except (ValueError, OSError) as error:  # what Arrow says of damage is of both
        raise TrackingError(f"the {split} predictions of {name} cannot be read ({' '.join(str(error).split())[:300]}): {advice}") from None
    if table is None:
        raise TrackingError(f"the {split} predictions of {name} are damaged or were changed ({file} is not as it was written): {advice}")
    return table
