"""Claims that take trainings, or a quiet machine, to check: numbers that studies beside this one recorded."""

import csv
import re
from pathlib import Path

STUDIES = Path(__file__).resolve().parents[1]
Answer = dict[str, float | int | list[float | int] | str]


def recorded(name: str) -> list[dict[str, str]]:
    """Return the rows that a study recorded."""
    with (STUDIES / name / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lstm_and_gru() -> Answer:
    """LSTM is slower than GRU, and better: recorded cost and verdicts at equal size."""
    costs = {(row["entry"], row["num_steps"]): row for row in recorded("families")}
    answer: Answer = {}
    for key, what in {"train_ms": "training", "answer_ms": "answering"}.items():
        for length in ("50", "200", "800"):
            answer[f"{what}, ms a sequence of {length} steps: LSTM, GRU"] = [float(costs[cell, length][key]) for cell in ("LSTM", "GRU")]
    for report in sorted(STUDIES.glob("cells_*/report.md")):
        found = re.search(r"^- ((?:lstm|gru) (?:and|beats) (?:lstm|gru)\b.*)$", report.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            answer[report.parent.name.removeprefix("cells_")] = found[1].partition(";")[0]
    return answer


def batch_normalisation() -> Answer:
    """Batch normalisation steadies an RNN: recorded accuracy at three learning rates (003; 004)."""
    answer: Answer = {}
    rows = recorded("batch_norm")
    for rate in dict.fromkeys(row["rate"] for row in rows):
        for kind in dict.fromkeys(row["kind"] for row in rows):
            found = [100 * float(row["test"]) for row in rows if (row["rate"], row["kind"]) == (rate, kind)]
            answer[f"learning rate {rate}, {kind}: lowest, mean, highest of {len(found)} seeds, %"] = [
                min(found),
                sum(found) / len(found),
                max(found),
            ]
    return answer


CHECKS = (lstm_and_gru, batch_normalisation)
