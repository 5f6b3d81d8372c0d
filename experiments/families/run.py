"""Metric what SRNN, LSTM, GRU, BiRNN, TCN and Transformer cost at equal size, and how far their gradients reach; write the table.

python experiments/families/run.py                 all of them, into results.csv and the table of README.md
python experiments/families/run.py gru tcn         only these, on the screen

Every number is of one thread and of a network as it is initialised. Each network is measured in a process of its own. Nothing else should
run on the machine: of several repetitions the fastest counts.
"""

import csv
import gc
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rnnlab.cli import compose_config
from rnnlab.contracts import Batch, DataSpec
from rnnlab.insight.flow import horizon
from rnnlab.models.base import SequenceModule
from rnnlab.settings import TrainSettings
from rnnlab.training.budget import at_budget
from rnnlab.training.process import tune_process

BUDGET = 70_000
NUM_FEATURES, NUM_CLASSES, BATCH_SIZE = 40, 10, 16
LENGTHS = (50, 200, 800)
GRADIENT_LENGTH, GRADIENT_LAG, NUM_DRAWS = 200, 50, 10
SECONDS_EACH, FEWEST_REPEATS = 2.5, 3
ENTRIES = {
    "SRNN": "model=srnn", "LSTM": "model=lstm", "GRU": "model=gru", "BiRNN (GRU)": "model=birnn cell=gru", "TCN": "model=tcn",
    "Transformer": "model=transformer",
}  # fmt: skip
SPEC = DataSpec("frames", "features", NUM_FEATURES, "class", NUM_CLASSES, tuple(map(str, range(NUM_CLASSES))), (1,) * NUM_CLASSES)
HERE = Path(__file__).parent
START, END = "<!-- made by run.py -->", "<!-- end -->"
Row = dict[str, float | str]


def make(words: str, seed: int) -> tuple[SequenceModule, int]:
    """Return a network with the hidden size that meets the budget, and that size."""
    settings = TrainSettings.of(compose_config("config", [*words.split(), "frontend=direct", "data=series"]))
    sized = at_budget(settings.model, BUDGET, SPEC)
    torch.manual_seed(seed)
    model: SequenceModule = sized.model.recipe()(SPEC)
    return model, sized.hidden_size


def draw(batch_size: int, num_steps: int) -> Batch:
    """Draw noise of equal lengths with labels."""
    lengths_B = torch.full((batch_size,), num_steps)
    targets_B = torch.arange(batch_size) % NUM_CLASSES
    return Batch(torch.randn(batch_size, num_steps, NUM_FEATURES), lengths_B, targets_B, torch.ones_like(lengths_B), lengths_B)


def fastest(action: Callable[[], object]) -> float:
    """Return the seconds of the fastest repetition, the first left out."""
    action()
    found: list[float] = []
    while len(found) < FEWEST_REPEATS or sum(found) < SECONDS_EACH:
        begun = time.perf_counter()
        action()
        found.append(time.perf_counter() - begun)
    return min(found)


def of_process(name: str) -> int:
    """Return what the system says of this process's memory in bytes (VmRSS: now, VmHWM: the most since it was last asked to forget)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def measure_costs(words: str, num_steps: int) -> Row:
    """Return time and memory of training and answering at one length."""
    model, hidden_size = make(words, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    batch = draw(BATCH_SIZE, num_steps)

    def step(given: Batch = batch) -> None:
        optimizer.zero_grad()
        model.training_loss(given).backward()
        optimizer.step()

    model.train()
    step(draw(BATCH_SIZE, 2))  # the optimizer's own memory
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = of_process("VmRSS")
    step()
    growth = of_process("VmHWM") - before
    found: Row = {"hidden_size": hidden_size, "num_parameters": sum(p.numel() for p in model.parameters()), "num_steps": num_steps}
    found["train_ms"] = 1e3 * fastest(step) / BATCH_SIZE
    found["memory_mb"] = growth / 1e6 / BATCH_SIZE
    alone = draw(1, num_steps)
    found["train_alone_ms"] = 1e3 * fastest(lambda: step(alone))
    model.eval()
    with torch.inference_mode():
        found["answer_ms"] = 1e3 * fastest(lambda: model.predict(batch)) / BATCH_SIZE
    return found


def measure_gradients(words: str) -> Row:
    """Return how far the last step's gradient reaches back to the inputs, over several first weights."""
    horizons, shares = [], []
    for seed in range(NUM_DRAWS):
        model, _ = make(words, seed)
        norms_BK = gradient_norms(model.eval())
        horizons.append(horizon(norms_BK))
        shares.append(np.sqrt(np.mean(norms_BK[:, GRADIENT_LAG] ** 2) / np.mean(norms_BK[:, 0] ** 2)))
    return {"horizon": float(np.median(horizons)), "share_back": float(np.exp(np.mean(np.log(np.maximum(shares, 1e-300)))))}


def gradient_norms(model: SequenceModule) -> np.ndarray:
    """Return the norm of d(v . y_T) / d x_{T-k} for random v and noise x, (B, K)."""
    batch = draw(4, GRADIENT_LENGTH)
    inputs: Tensor = batch.inputs.requires_grad_()
    values_BTH, _ = model.layer(*model.frontend(inputs, batch.input_lengths))
    last_BH = values_BTH[:, -1]
    (gradient_BTF,) = torch.autograd.grad((last_BH * torch.randn_like(last_BH)).sum(), inputs)
    return gradient_BTF.double().norm(dim=-1).flip(1).numpy()


def in_own_process(action: Callable[[], Row]) -> Row:
    """Return what an action finds, run in a child whose memory is its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.write(writing, json.dumps(action()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    if os.waitpid(child, 0)[1]:
        raise SystemExit("a measurement failed: see above")
    found: Row = json.loads(text)
    return found


def measure(name: str) -> list[Row]:
    """Return an entry's lines of results.csv, one a length."""
    words = ENTRIES[name]
    gradients = in_own_process(lambda: measure_gradients(words))
    rows = []
    for num_steps in LENGTHS:
        rows.append({"entry": name, "words": words, **in_own_process(lambda: measure_costs(words, num_steps)), **gradients})  # noqa: B023
        print(*(f"{value:.4g}" if isinstance(value, float) else value for value in rows[-1].values()), sep="\t", flush=True)
    return rows


def table(rows: list[Row]) -> str:
    """Write the table, a column for each entry."""
    first, last = LENGTHS[0], LENGTHS[-1]
    names = list(dict.fromkeys(str(row["entry"]) for row in rows))
    found = {name: {int(row["num_steps"]): row for row in rows if row["entry"] == name} for name in names}

    def in_line(by_length: dict[int, Row]) -> float:
        return float(by_length[last]["train_alone_ms"]) / (float(by_length[first]["train_ms"]) * last / first)

    def horizon_of(by_length: dict[int, Row]) -> str:
        reach = float(by_length[first]["horizon"])
        return f"{reach:.1f}" if reach < GRADIENT_LENGTH else "none seen"

    def of_length(name: str) -> Callable[[int], Callable[[dict[int, Row]], str]]:
        return lambda num_steps: lambda by: f"{by[num_steps][name]:.3g}"

    times, answers, memory = of_length("train_ms"), of_length("answer_ms"), of_length("memory_mb")
    cells: dict[str, Callable[[dict[int, Row]], str]] = {
        "hidden size": lambda by: f"{by[first]['hidden_size']}",
        "parameters, output included": lambda by: f"{by[first]['num_parameters']:,}",
        **{f"training, ms a sequence of {n} steps": times(n) for n in LENGTHS},
        **{f"answering, ms a sequence of {n} steps": answers(n) for n in LENGTHS},
        **{f"memory of training, MB a sequence of {n} steps": memory(n) for n in LENGTHS},
        f"training on {last} steps, against {first}": lambda by: f"{float(by[last]['train_ms']) / float(by[first]['train_ms']):.1f}",
        f"{last} steps in a row, against {last // first} times {first} side by side": lambda by: f"{in_line(by):.1f}",
        f"gradient horizon at the start, steps (of {GRADIENT_LENGTH})": horizon_of,
        f"gradient {GRADIENT_LAG} steps back, against the last": lambda by: f"{by[first]['share_back']:.1e}",
    }
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    return "\n".join(lines + [f"| {words} | {' | '.join(cell(found[name]) for name in names)} |" for words, cell in cells.items()])


def main() -> None:
    """Metric what is asked for."""
    names = {word: name for name in ENTRIES for word in (name, ENTRIES[name].split()[0].removeprefix("model="))}
    asked = [names.get(word) for word in sys.argv[1:]] or list(ENTRIES)
    if None in asked:
        raise SystemExit(f"{__doc__}\nentries: {', '.join(word for word in names if word.islower())}")
    tune_process(num_threads=1)
    torch.use_deterministic_algorithms(True)
    begun = time.monotonic()
    rows = [row for name in asked for row in measure(str(name))]
    print(f"\n{table(rows)}\n\n{time.monotonic() - begun:.0f} s")
    if len(asked) == len(ENTRIES):
        with (HERE / "results.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        readme = HERE / "README.md"
        text = re.sub(f"{START}.*{END}", lambda _: f"{START}\n{table(rows)}\n{END}", readme.read_text(encoding="utf-8"), flags=re.DOTALL)
        readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
