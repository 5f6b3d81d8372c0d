"""Draw the principles' figures from real runs: `python docs/book/figures.py` (under four minutes on one core; runs go to build/figures).

python docs/book/figures.py forecast gradients     some of them
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from places import DOCS, EXPERIMENTS, HOME

from rnnlab.cells.base import Cell
from rnnlab.cells.gru import GRUCell

ROOT = HOME / "build" / "figures"
IMAGES = DOCS / "images" / "principles"
COLOURS = ("#3f51b5", "#e07b39", "#2e8b57", "#8a4fa3", "#c0392b", "#555555", "#1aa6b7")
SERIES = "data=series epochs=12"


def trained(words: str) -> str:
    """Run a training as it is typed and return its run's id; one that was run before is taken."""
    kept = ROOT / f"{re.sub(r'[^a-z0-9]+', '_', words)}.run"
    if not kept.is_file():
        ROOT.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(HOME / "src/train.py"), *words.split(), "tracking.log_model=false"]
        environment = os.environ | {"RNNLAB_ROOT": str(ROOT), "PYTHONPATH": str(HOME / "src")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        kept.write_text(re.findall(r"^run ([0-9a-f]{32})$", done.stdout, re.MULTILINE)[0], encoding="utf-8")
    return kept.read_text(encoding="utf-8")


def artifact(run_id: str, name: str) -> Path:
    """Return a file or folder that a run left."""
    return next(path for path in (ROOT / "outputs" / run_id).rglob(name))


def cell_of(run_id: str) -> Cell:
    """Load the cell of a run's first layer."""
    from rnnlab.evaluation.bundle import load_bundle

    cell = load_bundle(artifact(run_id, "bundle")).model.get_submodule("recurrence.layers.0.0")
    assert isinstance(cell, Cell)
    return cell


def hours_of(run_id: str, num_hours: int) -> torch.Tensor:
    """Return a stretch of the test part as the network sees it, (1, T, F)."""
    from rnnlab.cli import compose_config
    from rnnlab.settings import TrainSettings

    os.environ["RNNLAB_ROOT"] = str(ROOT)
    settings = TrainSettings.of(compose_config("config", SERIES.split()))
    data = settings.data.recipe()(settings.paths, settings.seed)
    data.setup()
    batch = next(iter(data.test_dataloader()))
    return batch.inputs[:1, -num_hours:]


def save(name: str) -> None:
    """Write the open figure."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    plt.savefig(IMAGES / f"{name}.png", dpi=110, bbox_inches="tight")
    plt.close()


def plain(axis: Axes, xlabel: str, ylabel: str) -> None:
    """Label an axis and take its box away."""
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
    axis.spines[["top", "right"]].set_visible(False)


@torch.no_grad()
def forecast() -> None:
    """Load of the next hour by a simple network, and its state."""
    run_id = trained(f"model=srnn {SERIES}")
    table = pd.read_parquet(artifact(run_id, "test.parquet")).tail(24 * 5)
    target, said = (next(table[name] for name in table if str(name).startswith(start)) for start in ("target", "prediction"))
    _, (above, below) = plt.subplots(2, 1, figsize=(8, 4.6), sharex=False, height_ratios=[2, 1])
    above.plot(np.arange(len(table)), target.to_numpy(), color="#999999", lw=2.5, label="measured")
    above.plot(np.arange(len(table)), said.to_numpy(), color=COLOURS[0], lw=1.2, label="forecast an hour before")
    above.legend(frameon=False, loc="upper right", ncols=2)
    plain(above, "hours of the test part", "load (MW)")
    hidden_TH = cell_of(run_id)(hours_of(run_id, 48))[0]
    below.plot(hidden_TH[:, :8], lw=1)
    plain(below, "hours of one window", "eight of the state")
    plt.tight_layout()
    save("forecast")


@torch.no_grad()
def states() -> None:
    """Hidden states of the simple network over two days, sorted by when they peak."""
    run_id = trained(f"model=srnn {SERIES}")
    hidden_HT = cell_of(run_id)(hours_of(run_id, 48))[0].T[:16].numpy()
    order = np.argsort(hidden_HT[:, 24:].argmax(1))
    plt.figure(figsize=(8, 2.8))
    plt.imshow(hidden_HT[order], aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1)
    plt.colorbar(label="h")
    plain(plt.gca(), "hours", "unit")
    save("states")


@torch.no_grad()
def lstm_gates() -> None:
    """Gates of a trained LSTM over two days."""
    run_id = trained(f"model=lstm {SERIES}")
    cell = cell_of(run_id)
    inputs_TF = hours_of(run_id, 48)[0]
    w = {name: value for name, value in cell.kernel.named_parameters()}
    hidden_TH = cell(inputs_TF[None])[0]
    before_TH = torch.cat([torch.zeros_like(hidden_TH[:1]), hidden_TH[:-1]])
    sums = inputs_TF @ w["weight_ih_l0"].T + w["bias_ih_l0"] + before_TH @ w["weight_hh_l0"].T + w["bias_hh_l0"]
    i, f, _, o = (part.sigmoid().numpy() for part in sums.chunk(4, -1))
    plt.figure(figsize=(8, 2.8))
    for (name, gate), colour in zip({"forget": f, "input": i, "output": o}.items(), COLOURS, strict=False):
        plt.plot(gate.mean(1), color=colour, label=name)
        plt.fill_between(range(len(gate)), *np.quantile(gate, [0.25, 0.75], axis=1), color=colour, alpha=0.15, lw=0)
    plt.ylim(0, 1)
    plt.legend(frameon=False, ncols=3)
    plain(plt.gca(), "hours", "gate")
    save("lstm-gates")


def gradients() -> None:
    """Norm of the total derivative by step, at initialisation, as the errata compute it."""
    sys.path.insert(0, str(EXPERIMENTS / "errata"))
    import memory

    cells = {
        "srnn, PyTorch's": memory.simple("tanh", "uniform"),
        "srnn, orthogonal": memory.simple("tanh", "orthogonal"),
        "relu, identity": memory.simple("relu", "identity"),
        "gru, PyTorch's": lambda: GRUCell(memory.INPUTS, memory.HIDDEN),
        "lstm, PyTorch's": memory.lstm(None),
        "lstm, forget bias 1": memory.lstm(1.0),
        "lstm, forget bias 3": memory.lstm(3.0),
    }
    plt.figure(figsize=(8, 4))
    for (name, make), colour in zip(cells.items(), COLOURS, strict=True):
        norms = np.array([memory.gradients_through_time(make, seed, 50)[:, 0] for seed in range(memory.SEEDS)])
        norms /= norms[:, -1:]
        back = np.arange(49, -1, -1)
        plt.plot(back, np.median(norms, 0), color=colour, label=name)
        plt.fill_between(back, norms.min(0), norms.max(0), color=colour, alpha=0.12, lw=0)
    plt.yscale("log")
    plt.ylim(1e-13, 10)
    plt.legend(frameon=False, loc="lower left", fontsize=8)
    plain(plt.gca(), "steps back from the loss", "norm, relative to the last step")
    save("gradients")


def alignment() -> None:
    """Which letter says which phone: posterior of each token at each step given the transcript, before and after learning."""
    from rnnlab.evaluation.bundle import load_bundle
    from rnnlab.layers.ctc import BLANK, ctc_loss, greedy
    from rnnlab.models.base import SequenceModule

    run_id = trained("model=birnn data=pronunciation epochs=2")
    bundle = load_bundle(artifact(run_id, "bundle"))
    word, phones = "phishers", ["F", "IH", "SH", "ER", "Z"]  # a word that CMUdict does not have
    assert isinstance(bundle.model, SequenceModule)
    ((_, batch),) = bundle.batches([word])
    with torch.no_grad():
        logits_1TV, length_1 = bundle.model.with_lengths(batch.inputs, batch.input_lengths)
    tokens = list(bundle.model.spec.label_names)
    target_1S = torch.tensor([[tokens.index(phone) for phone in phones]])
    rows = [BLANK, *dict.fromkeys(target_1S[0].tolist())]
    print(word, "said as", *(tokens[token] for token in greedy(logits_1TV, length_1)[0].tokens))
    _, panels = plt.subplots(2, 1, figsize=(8, 5), sharex=True)
    beginnings = {"every token as probable as any other": torch.zeros_like(logits_1TV), "after two epochs": logits_1TV}
    for axis, (name, logits) in zip(panels, beginnings.items(), strict=True):
        logits.requires_grad_()
        loss = ctc_loss(logits, length_1, target_1S, torch.tensor([len(phones)])).loss * len(phones)
        (gradient,) = torch.autograd.grad(loss, logits)
        posterior_TV = (logits.softmax(-1) - gradient)[0].detach()  # the loss's gradient is the difference of the two
        image = axis.imshow(posterior_TV[:, rows].T, aspect="auto", cmap="Blues", vmin=0, vmax=1)
        axis.set_yticks(range(len(rows)), ["blank", *(tokens[row] for row in rows[1:])])
        axis.set_title(f"{name}: the transcript has probability {np.exp(-loss.item()):.2g}", fontsize=10, loc="left")
        plt.colorbar(image, ax=axis, label="posterior")
    panels[1].set_xticks(range(len(posterior_TV)), [*word, "end"])
    panels[1].set_xlabel("letters of the word, one step each")
    plt.tight_layout()
    save("alignment")


def leakage() -> None:
    """Two splits of the same recordings."""
    table = pd.read_csv(EXPERIMENTS / "first_light_speech/results.csv")
    names = {"official": "test speakers train, too (GRU)", "speaker": "unknown speakers (BiRNN)"}
    plt.figure(figsize=(6, 2.2))
    for place, (split, rows) in enumerate(table.groupby("split", sort=False)):
        plt.barh(place, rows["test_accuracy"].mean(), color=COLOURS[place], alpha=0.5)
        plt.plot(rows["test_accuracy"], np.full(len(rows), place), "o", color=COLOURS[place], ms=4)
        plt.text(101, place, f"{names[str(split)]}: {rows['test_accuracy'].mean():.1f} %", va="center")
    plt.xlim(60, 100)
    plt.yticks([])
    plain(plt.gca(), "test accuracy, % (each dot one fold and seed)", "")
    save("leakage")


def music() -> None:
    """A piece of the bundled sample as an LSTM goes on with it."""
    run_id = trained("model=lstm data=music data.source=sample epochs=60 data.loader.batch_size=4 optimizer.lr=0.01")
    IMAGES.mkdir(parents=True, exist_ok=True)
    shutil.copy(sorted(artifact(run_id, "continued").glob("*.png"))[-1], IMAGES / "music.png")


FIGURES: dict[str, Callable[[], None]] = {
    figure.__name__: figure for figure in (forecast, states, lstm_gates, gradients, alignment, leakage, music)
}

if __name__ == "__main__":
    if unknown := set(sys.argv[1:]) - set(FIGURES):
        sys.exit(f"no figure is called {', '.join(sorted(unknown))}: {', '.join(FIGURES)}")
    for wanted in sys.argv[1:] or FIGURES:
        FIGURES[wanted]()
