"""Claims that take trainings, or a quiet machine, to check: numbers that studies beside this one recorded."""

import csv
import html
import re
from pathlib import Path

import torch

STUDIES = Path(__file__).resolve().parents[1]
Answer = dict[str, float | int | list[float | int] | str]


def recorded(name: str) -> list[dict[str, str]]:
    """Return the rows that a study recorded."""
    with (STUDIES / name / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def is_handed_on(layer: torch.nn.Module) -> bool:
    """Say whether PyTorch trains this layer by oneDNN's recurrent kernel here: whether the graph of its output names it."""
    nodes = [layer(torch.zeros(4, 3, 8))[0].grad_fn]
    for node in nodes:
        nodes += [before for before, _ in node.next_functions if before is not None and before not in nodes]
    return any("MkldnnRnnLayer" in node.name() for node in nodes)


def lstm_and_gru() -> Answer:
    """LSTM is slower than GRU, and better: recorded cost and verdicts at equal size."""
    costs = {(row["entry"], row["num_steps"]): row for row in recorded("families")}
    answer: Answer = {}
    for key, what in {"train_ms": "training", "answer_ms": "answering"}.items():
        for length in ("50", "200", "800"):
            answer[f"{what}, ms a sequence of {length} steps: LSTM, GRU"] = [float(costs[cell, length][key]) for cell in ("LSTM", "GRU")]
    for name, layer in {"LSTM": torch.nn.LSTM(8, 16), "GRU": torch.nn.GRU(8, 16)}.items():
        answer[f"{name} trained on this CPU by oneDNN's kernel"] = "yes" if is_handed_on(layer) else "no"
    for report in sorted(STUDIES.glob("cells_*/report.md")):
        text = html.unescape(report.read_text(encoding="utf-8"))
        found = re.search(r"^- ((?:lstm|gru) (?:and|beats) (?:lstm|gru)\b.*)$", text, re.MULTILINE)
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
