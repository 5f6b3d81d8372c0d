"""Change one hyperparameter at a time around a centre, on spoken digits and on questions.

python experiments/knobs/run.py                               all sweeps
python experiments/knobs/run.py [speech] [trec] [examples]    some of them

A job that has run before is not run again. Afterwards `summarise.py` says which hyperparameters mattered.
"""

import runpy
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from rnnlab.paths import HOME

SEEDS = {"main": "seed=0,1,2", "examples": "seed=0,1"}
CENTRE = {
    "speech": "model=gru data=speech data.split=speaker data.fold=0,1,2,3,4,5 model.recurrence.hidden_size=64 epochs=4",
    "trec": "model=gru data=trec model.recurrence.hidden_size=64 epochs=6",
    "examples": "model=gru data=trec model.recurrence.hidden_size=64 epochs=3",
}


@dataclass(frozen=True)
class Knob:
    """Hold what one sweep varies.

    Args:
        name: of its study, `knobs_<name>`.
        key: as it is typed.
        levels: its values, the centre among them.
        words: that hold besides the centre's.
    """

    name: str
    key: str
    levels: tuple[str, ...]
    words: str = ""


MAIN = {
    "speech": (
        Knob("rate", "optimizer.lr", ("0.001", "0.003", "0.01")),
        Knob("size", "model.recurrence.hidden_size", ("24", "64")),
        Knob("dropout", "model.head.dropout", ("0.2", "0.5")),
        Knob("pooling", "model.head.pooling", ("last", "mean_max")),
        Knob("augmentation", "data.loader.is_augmented", ("false", "true")),
    ),
    "trec": (
        Knob("rate", "optimizer.lr", ("0.001", "0.003", "0.01")),
        Knob("size", "model.recurrence.hidden_size", ("24", "64", "160")),
        Knob("dropout", "model.head.dropout", ("0.0", "0.2", "0.5")),
        Knob("pooling", "model.head.pooling", ("last", "mean_max", "attention")),
        Knob("augmentation", "data.loader.word_dropout", ("0.0", "0.1", "0.3")),
    ),
}
EXAMPLES = (  # one more value of every other knob, on questions only
    Knob("layers", "model.recurrence.num_layers", ("1", "2")),
    Knob("model", "model", ("srnn", "lstm", "gru")),
    Knob("activation", "cell.activation", ("tanh", "relu"), "model=srnn"),
    Knob("initialisation", "model.recurrence.initialisation", ("uniform", "orthogonal")),
    Knob("forget_bias", "cell.forget_bias", ("null", "1.0"), "model=lstm"),
    Knob("optimizer", "optimizer", ("adamw", "adam", "rmsprop", "sgd")),
    Knob("momentum", "optimizer.momentum", ("0.0", "0.9"), "optimizer=sgd optimizer.nesterov=false"),
    Knob("schedule", "scheduler", ("cosine", "none")),
    Knob("batch", "data.loader.batch_size", ("64", "256")),
    Knob("epochs", "epochs", ("3", "6")),
    Knob("loss", "model.loss.kind", ("null", "focal", "brier")),
    Knob("input_dropout", "frontend.dropout", ("0.0", "0.3")),
    Knob("variational", "frontend.variational_dropout", ("0.0", "0.3")),
    Knob("between_layers", "model.recurrence.dropout", ("0.0", "0.3"), "model.recurrence.num_layers=2"),
    Knob("recurrent_dropout", "model.recurrence.recurrent_dropout", ("0.0", "0.25"), "model.recurrence.backend=reference"),
    Knob("zoneout", "model.recurrence.zoneout", ("0.0", "0.1"), "model.recurrence.backend=reference"),
    Knob("batch_norm", "model.recurrence.has_batch_norm", ("false", "true")),
    Knob("residual", "model.recurrence.has_residual", ("false", "true"), "model.recurrence.num_layers=2"),
    Knob("layer_norm", "model.recurrence.has_layer_norm", ("false", "true")),
    Knob("decay", "optimizer.weight_decay", ("0.0", "0.01", "0.1")),
    Knob("l1", "model.regularisation.l1", ("0.0", "1e-05")),
    Knob("smoothing", "model.regularisation.label_smoothing", ("0.0", "0.1")),
    Knob("max_norm", "callbacks.max_norm", ("null", "1.0")),
    Knob("weight_clip", "callbacks.weight_clip", ("null", "0.1")),
    Knob("clipping", "trainer.gradient_clip_val", ("null", "1.0")),
    Knob("patience", "callbacks.early_stopping.patience", ("null", "1")),
    Knob("average", "callbacks.ema_decay", ("null", "0.98")),
)


def sweeps(asked: list[str]) -> Iterator[tuple[str, Knob]]:
    """Yield data and knob of each sweep."""
    for data, knobs in MAIN.items():
        if data in asked:
            yield from ((data, knob) for knob in knobs)
    if "examples" in asked:
        yield from (("trec", knob) for knob in EXAMPLES)


def words_of(data: str, knob: Knob) -> list[str]:
    """Return the words of a sweep: the centre's, but those that the knob or its own words replace; two seeds for examples, else three."""
    own = [*knob.words.split(), f"{knob.key}={','.join(knob.levels)}"]
    replaced = {word.partition("=")[0] for word in own}
    centre = [word for word in CENTRE["examples" if knob in EXAMPLES else data].split() if word.partition("=")[0] not in replaced]
    return [*centre, *own, SEEDS["examples" if knob in EXAMPLES else "main"]]


def run(asked: list[str]) -> None:
    """Start each sweep; what has run before, in whichever sweep, is not run again.

    Raises:
        SystemExit: where a sweep failed.
    """
    script = str(HOME / "src/train.py")
    for data, knob in sweeps(asked):
        sys.argv = [script, "-m", *words_of(data, knob), f"study.name=knobs_{knob.name}", "tracking.log_model=false"]
        try:
            runpy.run_path(script, run_name="__main__")  # in this process: starting one takes as long as a training
        except SystemExit as ended:
            if ended.code:
                raise


def main() -> None:
    """Run the sweeps that are named, by default all."""
    asked = sys.argv[1:]
    if not set(asked) <= {*MAIN, "examples"}:
        sys.exit(str(__doc__))
    run(asked or [*MAIN, "examples"])


if __name__ == "__main__":
    main()
