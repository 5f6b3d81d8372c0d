"""One contestant of bench.py, a process of its own: it makes itself ready, then trains or computes whenever it is told to.

python experiments/speed/contestant.py WHO CASE FOLDER

    WHO: ours, ours_bf16, packed, in_turn, plain, plain_bf16, plain_same, keras, librosa

A number of steps on standard input is answered by one line of JSON: {"seconds": ..., "count": ...} (examples trained on, or seconds of
sound). Keras and librosa need neither rnnlab nor torch, so they may run under another Python. Everything runs on one thread.
"""

import importlib
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ[name] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
warnings.filterwarnings("ignore")

SOUND_RATE, NUM_SEEDS = 16_000, 5
CASES: dict[str, dict[str, Any]] = {
    "lstm50x3": {
        "words": "model=lstm model.recurrence.num_layers=3 model.recurrence.hidden_size=50 data=series data.target_column=value "
        "data.has_calendar=false data.window_steps=10 data.loader.batch_size=32",
        "network": {"kind": "lstm", "hidden": 50, "layers": 3, "is_two_way": False},
    },
    "lstm64": {
        "words": "model=lstm model.recurrence.hidden_size=64 data=series data.target_column=value data.has_calendar=false "
        "data.window_steps=48 data.loader.batch_size=32",
        "network": {"kind": "lstm", "hidden": 64, "layers": 1, "is_two_way": False},
    },
    "lstm128x2": {
        "words": "model=lstm model.recurrence.num_layers=2 model.recurrence.hidden_size=128 data=series data.target_column=value "
        "data.has_calendar=false data.window_steps=96 data.loader.batch_size=64",
        "network": {"kind": "lstm", "hidden": 128, "layers": 2, "is_two_way": False},
    },
    "gru64": {
        "words": "model=gru model.recurrence.hidden_size=64 data=series data.target_column=value data.has_calendar=false "
        "data.window_steps=48 data.loader.batch_size=32",
        "network": {"kind": "gru", "hidden": 64, "layers": 1, "is_two_way": False},
    },
    "seeds": {
        "words": "model=gru model.recurrence.hidden_size=64 data=speech frontend=direct data.loader.batch_size=32",
        "network": {"kind": "gru", "hidden": 64, "layers": 1, "is_two_way": False},
    },
    "texts": {
        "words": "model=birnn cell=lstm model.recurrence.hidden_size=128 frontend.embedding_size=128 frontend.dropout=0 "
        "model.head.pooling=mean data=text data.by_size=null data.loader.min_frequency=1 data.loader.max_size=30000 "
        "data.loader.batch_size=64 data.loader.max_tokens=400",
        "network": {"kind": "lstm", "hidden": 128, "layers": 1, "is_two_way": True},
    },
}
COMMON = (
    "tuned=null optimizer=adam model.head.dropout=0 scheduler=none trainer.num_threads=1 trainer.max_epochs=-1 trainer.limit_val_batches=0"
)
Measure = Callable[[int], tuple[float, float]]


# Our training, whole: trainer, callbacks and all ----------------------------------------------------------------------------------------


def settings_of(case: str, folder: Path, num_steps: int, precision: str, seed: int = 0) -> Any:
    """Return the settings of a training, composed as a command is."""
    from rnnlab.cli import compose_config
    from rnnlab.settings import TrainSettings

    source = {"texts": str(folder / "texts.csv"), "seeds": "sample"}.get(case, str(folder / "series.csv"))
    words = [*CASES[case]["words"].split(), *COMMON.split(), f"data.source={source}", f"trainer.precision={precision}", f"seed={seed}"]
    return TrainSettings.of(compose_config("config", [*words, f"trainer.max_steps={num_steps}"]))


def ours(case: str, folder: Path, precision: str) -> Measure:
    """Train by our trainer with everything that a run has but the run itself."""
    from rnnlab.models.base import Network
    from rnnlab.tracking.tracker import SilentTracker
    from rnnlab.training.fitting import make_model
    from rnnlab.training.process import quieten, tune_process
    from rnnlab.training.recipes import check, opened
    from rnnlab.training.trainer import make_trainer

    quieten()
    tune_process(1)
    data = opened(settings_of(case, folder, 1, precision))

    def measure(num_steps: int) -> tuple[float, float]:
        settings = settings_of(case, folder, num_steps, precision)
        recipes = check(settings)
        settings, model = make_model(settings, recipes, data)
        assert isinstance(model, Network)
        with tempfile.TemporaryDirectory() as scratch:
            trainer, _, meter = make_trainer(settings, recipes.trainer, SilentTracker("bench", "bench", Path(scratch)), model, data)
            trainer.fit(model, data.train_dataloader())
        return meter.seconds, meter.num_examples

    return measure


def several(case: str, folder: Path, is_packed: bool) -> Measure:
    """Train five seeds in one process: together, or one after another."""
    from rnnlab.models.base import SequenceModule
    from rnnlab.tracking.tracker import SilentTracker
    from rnnlab.training.fitting import make_model
    from rnnlab.training.members import Member
    from rnnlab.training.packed import take_step
    from rnnlab.training.process import quieten, tune_process
    from rnnlab.training.recipes import check, opened
    from rnnlab.training.trainer import make_trainer

    quieten()
    tune_process(1)
    data = [opened(settings_of(case, folder, 1, "32-true", seed)) for seed in range(NUM_SEEDS)]

    def made(seed: int, num_steps: int) -> tuple[Any, Any, SequenceModule]:
        settings = settings_of(case, folder, num_steps, "32-true", seed)
        recipes = check(settings)
        settings, model = make_model(settings, recipes, data[seed])
        assert isinstance(model, SequenceModule)
        return settings, recipes, model

    def measure(num_steps: int) -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as scratch:
            trackers = [SilentTracker(f"bench{seed}", "bench", Path(scratch) / str(seed)) for seed in range(NUM_SEEDS)]
            if is_packed:
                members = []
                for seed, tracker in enumerate(trackers):
                    settings, _, model = made(seed, num_steps)
                    members.append(Member(settings, tracker, model, data[seed], None))
                begun = time.perf_counter()
                for _ in range(num_steps):
                    take_step(members)
                return time.perf_counter() - begun, sum(member.num_examples for member in members)
            seconds, count = 0.0, 0
            for seed, tracker in enumerate(trackers):
                settings, recipes, model = made(seed, num_steps)
                trainer, _, meter = make_trainer(settings, recipes.trainer, tracker, model, data[seed])
                trainer.fit(model, data[seed].train_dataloader())
                seconds, count = seconds + meter.seconds, count + meter.num_examples
            return seconds, count

    return measure


# The loop that a person would write instead ----------------------------------------------------------------------------------------------


def plain(case: str, folder: Path, precision: str, has_our_batches: bool) -> Measure:
    """Train PyTorch's own modules in a plain loop, with fused Adam and clipping.

    Args:
        case, folder: see above.
        precision: as Lightning names it.
        has_our_batches: whether batches hold texts of like length, as ours do, or any.
    """
    import torch

    from rnnlab.training.process import tune_process
    from rnnlab.training.recipes import opened

    tune_process(1)
    torch.use_deterministic_algorithms(False)
    data = opened(settings_of(case, folder, 1, precision))
    spec, shape = data.make_spec(), CASES[case]["network"]
    is_text = spec.input_kind == "tokens"

    def batches() -> Iterator[Any]:
        loader, epoch = data.train_dataloader(), 0
        while True:
            loader.sampler.set_epoch(epoch)
            if has_our_batches or not is_text:
                yield from loader
            else:
                rows = np.random.default_rng(epoch).permutation(data.rows["train"])
                yield from (data.collate(rows[start : start + 64], epoch, True) for start in range(0, len(rows), 64))
            epoch += 1

    def measure(num_steps: int) -> tuple[float, float]:
        model = PlainNetwork(shape, 128 if is_text else spec.input_size, spec.input_size if is_text else 0, 2 if is_text else 1)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
        loss_of = torch.nn.CrossEntropyLoss() if is_text else torch.nn.MSELoss()
        num_examples, begun = 0, time.perf_counter()
        for step, batch in enumerate(batches(), start=1):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
                outputs = model(batch.inputs)
                loss = loss_of(outputs.float(), batch.targets if is_text else batch.targets.float())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            num_examples += batch.size
            if step == num_steps:
                break
        return time.perf_counter() - begun, num_examples

    return measure


def PlainNetwork(shape: dict[str, Any], input_size: int, vocabulary: int, num_outputs: int) -> Any:  # noqa: N802  # stands for a class
    """Return an embedding if there is a vocabulary, PyTorch's recurrent layers, the last step (or the mean over steps), a linear layer."""
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(vocabulary, input_size) if vocabulary else nn.Identity()
            made = {"lstm": nn.LSTM, "gru": nn.GRU, "srnn": nn.RNN}[shape["kind"]]
            self.layers = made(input_size, shape["hidden"], shape["layers"], batch_first=True, bidirectional=shape["is_two_way"])
            self.output = nn.Linear(shape["hidden"] * (1 + shape["is_two_way"]), num_outputs)

        def forward(self, inputs: Any) -> Any:
            steps_BTH, _ = self.layers(self.table(inputs))
            return self.output(steps_BTH.mean(1) if shape["is_two_way"] else steps_BTH[:, -1])

    return Network()


# Others -----------------------------------------------------------------------------------------------------------------------------------


def keras(case: str, folder: Path) -> Measure:
    """Train Keras's own layers by `fit`, on arrays of one length, as its examples do."""
    k, tf = importlib.import_module("keras"), importlib.import_module("tensorflow")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    shape, random = CASES[case]["network"], np.random.default_rng(0)
    if case == "texts":
        size = 64
        inputs: np.ndarray = random.integers(0, 30_000, (6_400, 400))
        targets: np.ndarray = random.integers(0, 2, 6_400)
        layers = [k.layers.Embedding(30_000, 128), k.layers.Bidirectional(k.layers.LSTM(shape["hidden"])), k.layers.Dense(1, "sigmoid")]
        loss = "binary_crossentropy"
    else:
        num_steps = int(CASES[case]["words"].split("data.window_steps=")[1].split()[0])
        size = int(CASES[case]["words"].split("batch_size=")[1].split()[0])
        inputs, targets = random.normal(size=(size * 400, num_steps, 1)).astype("float32"), random.normal(size=(size * 400, 1))
        made = {"lstm": k.layers.LSTM, "gru": k.layers.GRU}[shape["kind"]]
        layers = [made(shape["hidden"], return_sequences=number < shape["layers"] - 1) for number in range(shape["layers"])]
        layers, loss = [*layers, k.layers.Dense(1)], "mse"
    model = k.Sequential(layers)
    model.compile(optimizer=k.optimizers.Adam(1e-3, clipnorm=1.0), loss=loss)

    def measure(num_steps: int) -> tuple[float, float]:
        count = min(len(inputs), num_steps * size)
        begun = time.perf_counter()
        model.fit(inputs[:count], targets[:count], batch_size=size, epochs=1, verbose=0)
        return time.perf_counter() - begun, count

    return measure


def sounds(num_seconds: int) -> list[np.ndarray]:
    """Return noise, a second each, as recordings of that many seconds."""
    random = np.random.default_rng(0)
    return [random.normal(scale=0.1, size=SOUND_RATE).astype("float32") for _ in range(num_seconds)]


def our_features(case: str, folder: Path) -> Measure:
    """Compute log-mel power by our extraction."""
    import torch

    from rnnlab.data.sound.audio import Features, extract

    torch.set_num_threads(1)
    settings = Features("logmel", SOUND_RATE, num_mels=40, num_mfcc=20, window_ms=25.0, hop_ms=10.0, num_deltas=0)

    def measure(num_steps: int) -> tuple[float, float]:
        waves = sounds(num_steps)
        begun = time.perf_counter()
        for wave in waves:
            extract(torch.from_numpy(wave), settings)
        return time.perf_counter() - begun, num_steps

    return measure


def librosa_features(case: str, folder: Path) -> Measure:
    """Compute the same by librosa."""
    librosa = importlib.import_module("librosa")

    def measure(num_steps: int) -> tuple[float, float]:
        waves = sounds(num_steps)
        begun = time.perf_counter()
        for wave in waves:
            power = librosa.feature.melspectrogram(y=wave, sr=SOUND_RATE, n_fft=512, win_length=400, hop_length=160, n_mels=40)
            librosa.power_to_db(power)
        return time.perf_counter() - begun, num_steps

    return measure


def made(who: str, case: str, folder: Path) -> Measure:
    """Return the contestant of this name."""
    if case == "features":
        return {"ours": our_features, "librosa": librosa_features}[who](case, folder)
    if who in ("packed", "in_turn"):
        return several(case, folder, who == "packed")
    if who == "keras":
        return keras(case, folder)
    precision = "bf16-mixed" if who.endswith("bf16") else "32-true"
    return ours(case, folder, precision) if who.startswith("ours") else plain(case, folder, precision, who == "plain_same")


if __name__ == "__main__":
    measure = made(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        seconds, count = measure(int(line))
        print("\n" + json.dumps({"seconds": seconds, "count": count}), flush=True)
