"""Members of a pack: the same numbers as alone, each with its own stopping, checkpoints and failures; and what cannot be packed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.lanes import some

from rnnlab.config import ConfigError
from rnnlab.models.base import SequenceModule
from rnnlab.settings import TrainSettings
from rnnlab.tracking.tracker import SilentTracker
from rnnlab.training.callbacks import NonFiniteError
from rnnlab.training.checkpoints import BEST, LAST, load_weights
from rnnlab.training.fitting import fit, make_model
from rnnlab.training.identity import identity
from rnnlab.training.members import Chosen, Member
from rnnlab.training.packable import refuse_alone, refuse_unpackable, refuse_unpackable_data
from rnnlab.training.packed import take_step, train_together
from rnnlab.training.recipes import check, opened

Compose = Callable[..., TrainSettings]
SPEECH = (
    *("model=gru", "data=speech", "frontend=direct", "model.recurrence.hidden_size=6", "model.recurrence.num_layers=2"),
    *("model.recurrence.dropout=0.2", "data.loader.batch_size=20", "tracking.log_every_n_steps=1", "trainer.limit_val_batches=2"),
)
STOCK = ("model=birnn", "data=stock", "cell=gru", "model.recurrence.hidden_size=5", "data.window_days=6", "tracking.log_every_n_steps=1")
SMALL = {
    "speech, 20 steps of different lengths": (*SPEECH, "epochs=1"),
    "convolved": ("model=gru", "data=speech", *SPEECH[3:], "epochs=1", "trainer.limit_train_batches=3", "frontend.channels=[2,3,3]"),
    "averaged, bounded and dropped to a plateau": (
        *(*SPEECH, "epochs=4", "trainer.limit_train_batches=5", "callbacks.ema_decay=0.9", "callbacks.max_norm=1.0"),
        *("scheduler=plateau", "scheduler.patience=0", "optimizer=rmsprop", "trainer.gradient_clip_val=0.5"),
    ),
    "forecasts in both directions": (*STOCK, "epochs=2", "trainer.limit_train_batches=10", "model.regularisation.l1=1e-4"),
    "a kernel of its own": (*SPEECH[1:], "model=lstm", "epochs=1", "trainer.max_steps=6"),
}

FEW = ("trainer.limit_train_batches=3", "trainer.limit_val_batches=2", "epochs=1", "tracking.log_every_n_steps=1")
OTHER_DATA = {
    "texts": ("model=gru", "data=text"),
    "tags chosen together": ("model=birnn", "cell=gru", "data=tags", "model.head.has_crf=true"),
    "words and characters": ("model=birnn", "cell=srnn", "data=tags", "frontend=words_and_characters", "data.loader.max_characters=5"),
    "next events": ("model=gru", "data=events"),
    "music": ("model=srnn", "data=music"),
    "generated sequences": ("model=gru", "data=adding"),
    "tables of sequences": ("model=srnn", "data=sequences"),
    "quantiles": ("model=gru", "data=series", "model/head=quantile"),
}


class Kept(SilentTracker):
    """Keep what is logged."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__("run", "run", folder)
        self.logged: dict[tuple[str, int], float] = {}

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:  # type: ignore[override]  # a mapping of any kind
        self.logged |= {(name, step): float(value) for name, value in metrics.items()}

    @property
    def numbers(self) -> dict[tuple[str, int], float]:
        """What follows from the training, not from the machine."""
        return {key: value for key, value in self.logged.items() if not key[0].startswith(("speed", "memory"))}


def member(settings: TrainSettings, folder: Path, checkpoint: Path | None = None) -> Member:
    recipes, data = check(settings), opened(settings)
    settings, model = make_model(settings, recipes, data)
    assert isinstance(model, SequenceModule)
    return Member(settings, Kept(folder), model, data, checkpoint)


def alone(settings: TrainSettings, folder: Path) -> Kept:
    """Train by Lightning."""
    recipes, data = check(settings), opened(settings)
    settings, model = make_model(settings, recipes, data)
    tracker = Kept(folder)
    fit(settings, recipes, tracker, model, data, None)
    return tracker


def logged(one: Member) -> dict[tuple[str, int], float]:
    assert isinstance(one.tracker, Kept)
    return one.tracker.numbers


def nobody_fails(one: Member, error: NonFiniteError | None) -> None:
    assert error is None


# The same numbers -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SMALL)
def test_a_member_has_the_numbers_that_it_has_alone(kind: str, compose: Compose, tmp_path: Path) -> None:
    words = ("data.source=sample", *SMALL[kind])
    settings = [compose(*words, "seed=0"), compose(*words, "seed=1", "optimizer.lr=0.001", "model.head.dropout=0.4")]
    members = [member(each, tmp_path / f"packed{place}") for place, each in enumerate(settings)]
    train_together(members, nobody_fails)
    for place, one in enumerate(members):
        theirs = alone(settings[place], tmp_path / f"alone{place}").numbers
        assert logged(one).keys() == theirs.keys()
        assert max(step for _, step in theirs) == one.step == one.total_steps
        assert logged(one) == pytest.approx(theirs, rel=1e-5, abs=1e-6)
        load_weights(one.model, one.fitted().checkpoint or Path())


@pytest.mark.parametrize("kind", some(OTHER_DATA, ["texts"]))
def test_other_kinds_of_data_have_the_numbers_that_they_have_alone(kind: str, compose: Compose, tmp_path: Path) -> None:
    words = [*OTHER_DATA[kind], "model.recurrence.hidden_size=5", *FEW]
    words += ["data.source=sample"] if "data=adding" not in words else []
    settings = [compose(*words, f"seed={seed}") for seed in (0, 1)]
    members = [member(each, tmp_path / f"packed{place}") for place, each in enumerate(settings)]
    train_together(members, nobody_fails)
    assert logged(members[1]) == pytest.approx(alone(settings[1], tmp_path / "alone").numbers, rel=1e-5, abs=1e-6, nan_ok=True)


def test_members_that_run_on_kernels_of_their_own_have_the_same_bits(compose: Compose, tmp_path: Path) -> None:
    settings = compose("data.source=sample", *SMALL["a kernel of its own"])
    one = member(settings, tmp_path / "packed")
    train_together([one, member(compose("data.source=sample", *SMALL["a kernel of its own"], "seed=1"), tmp_path / "b")], nobody_fails)
    theirs = alone(settings, tmp_path / "alone").numbers
    name = ("train/loss", 6)
    assert logged(one)[name] == theirs[name]


def test_a_packed_training_is_another_job(compose: Compose) -> None:
    assert identity(compose("study.packed=true"), "abc") != identity(compose(), "abc")
    assert identity(compose("study.packed=true", "study.pack=['a','b']"), "abc") == identity(compose("study.packed=true"), "abc")


# Each on its own ------------------------------------------------------------------------------------------------------------------


def test_a_member_that_stops_early_leaves_and_the_others_go_on(compose: Compose, tmp_path: Path) -> None:
    words = ("data.source=sample", *SPEECH, "trainer.limit_train_batches=2", "epochs=5")
    hopeless = compose(*words, "optimizer.lr=1e-12", "callbacks.early_stopping.patience=2", "callbacks.early_stopping.min_delta=0.5")
    members = [member(hopeless, tmp_path / "a"), member(compose(*words, "seed=1"), tmp_path / "b")]
    left: list[tuple[Member, int]] = []
    train_together(members, lambda one, error: left.append((one, members[1].step)))
    assert left == [(members[0], 6), (members[1], 10)]
    assert (members[0].epoch, members[1].epoch) == (3, 5)


def test_a_member_that_fails_says_why_and_the_others_have_their_numbers(compose: Compose, tmp_path: Path) -> None:
    words = ("data.source=sample", *SPEECH, "trainer.limit_train_batches=4", "epochs=1")
    steady = [member(compose(*words), tmp_path / name) for name in ("with", "without")]
    broken = member(compose(*words, "seed=1"), tmp_path / "broken")
    with torch.no_grad():
        broken.weights[0].fill_(torch.nan)
    failed: list[str] = []
    train_together([broken, steady[0]], lambda one, error: failed.append(str(error)))
    train_together([steady[1]], nobody_fails)
    assert "loss became NaN at step 0" in failed[0] and failed[1] == "None"
    assert logged(steady[0]) == logged(steady[1])


def test_a_member_goes_on_within_an_epoch_to_the_bits_of_one_that_was_never_stopped(compose: Compose, tmp_path: Path) -> None:
    words = ("data.source=sample", *SMALL["averaged, bounded and dropped to a plateau"], "optimizer=adamw", "epochs=3")
    settings = compose(*words)
    whole, cut = member(settings, tmp_path / "whole"), member(settings, tmp_path / "cut")
    train_together([whole], nobody_fails)
    for _ in range(8):
        take_step([cut])
    cut.save()
    again = member(settings, tmp_path / "again", tmp_path / "cut" / LAST)
    assert (again.epoch, again.position, again.step) == (1, 3, 8)
    train_together([again], nobody_fails)
    assert logged(again) == {key: value for key, value in logged(whole).items() if key[1] > 8}
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    assert whole.chosen.state() == again.chosen.state()


def test_weights_that_were_not_written_yet_are_with_the_checkpoint(compose: Compose, tmp_path: Path) -> None:
    one = member(compose("data.source=sample", *SPEECH, "trainer.limit_train_batches=2", "epochs=2"), tmp_path)
    for _ in range(2):
        take_step([one])
    assert not (tmp_path / BEST).exists()
    one.save()
    assert (tmp_path / BEST).exists()


@pytest.mark.parametrize(
    ("mode", "values", "best", "stops_after"),
    [("max", [0.5, 0.6, 0.6, 0.55], 1, 4), ("min", [0.5, 0.49, 0.48, 0.47], 3, None), ("min", [0.5, float("nan"), 0.4], 0, 2)],
)
def test_the_best_is_chosen_and_patience_ends_as_lightnings_callbacks_say(
    mode: str, values: list[float], best: int, stops_after: int | None, compose: Compose
) -> None:
    stopping = compose("callbacks.early_stopping.patience=2", "callbacks.early_stopping.min_delta=0.005").callbacks.early_stopping
    chosen = Chosen("val/x", mode, stopping)
    found = []
    for value in values:
        found.append(chosen.sees(value))
        if found[-1][1]:
            break
    assert max(place for place, (is_best, _) in enumerate(found) if is_best) == best
    assert len(found) == (stops_after or len(values)) and found[-1][1] == (stops_after is not None)


# What cannot be packed ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("model=seq2seq data=stock", "model=seq2seq"),
        ("model=transformer", "model=transformer"),
        ("model=baseline", "model=baseline"),
        ("study.tuning_trials=3", "tuning_trials"),
        ("trainer=ddp", "trainer.devices=2"),
        ("trainer.accelerator=gpu", "trainer.accelerator=cpu"),
        ("trainer.precision=bf16-mixed optimizer.fused=false", "trainer.precision=bf16-mixed"),
        ("trainer.accumulate_grad_batches=2", "accumulate_grad_batches=2"),
        ("trainer.max_time=00:00:10:00", "trainer.max_time"),
        ("+trainer.val_check_interval=0.5", "trainer.val_check_interval"),
        ("callbacks=insight", "callbacks=insight"),
        ("callbacks.checkpoint.num_best=2", "num_best=2"),
        ("tracking.tensorboard=true", "tensorboard"),
        ("init_from=abc", "init_from"),
    ],
)
def test_what_cannot_be_packed_is_refused_by_name(words: str, said: str, compose: Compose) -> None:
    with pytest.raises(ConfigError, match=said):
        refuse_unpackable(compose(*words.split()))


def test_every_recurrent_network_may_be_packed(compose: Compose) -> None:
    for model in ("srnn", "lstm", "gru", "birnn"):
        refuse_unpackable(compose(f"model={model}"))


@pytest.mark.parametrize(("words", "said"), [("model=birnn data=dictation", "CTC"), ("model=lstm data=language", "from batch to batch")])
def test_data_that_cannot_be_packed_are_refused(words: str, said: str, compose: Compose) -> None:
    with pytest.raises(ConfigError, match=said):
        refuse_unpackable_data(opened(compose("data.source=sample", *words.split())).make_spec())


def test_one_training_is_not_packed(compose: Compose) -> None:
    with pytest.raises(ConfigError, match="add -m"):
        refuse_alone(compose("study.packed=true"))


def test_a_checkpoint_of_a_training_alone_is_refused(compose: Compose, tmp_path: Path) -> None:
    settings = compose("data.source=sample", *SPEECH, "epochs=1", "trainer.limit_train_batches=1", "callbacks.checkpoint.keep_last=true")
    alone(settings, tmp_path / "alone")
    with pytest.raises(ConfigError, match="written by a training alone"):
        member(settings, tmp_path / "packed", tmp_path / "alone" / LAST)


def test_a_pack_that_validates_nothing_keeps_its_last_weights(compose: Compose, tmp_path: Path) -> None:
    one = member(
        compose(*SPEECH[:6], "data.source=sample", "epochs=1", "trainer.limit_val_batches=0", "trainer.limit_train_batches=2"), tmp_path
    )
    train_together([one], nobody_fails)
    last = {name: value.clone() for name, value in one.model.state_dict().items()}
    assert one.validated == {}
    assert all(torch.equal(value, last[name]) for name, value in one.fitted().model.state_dict().items())
