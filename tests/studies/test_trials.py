"""A search: what may be searched, what is proposed and when, what is stopped, and what a kill leaves behind."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from rnnlab.cli import compose_config
from rnnlab.config import ConfigError
from rnnlab.contracts import DataSpec
from rnnlab.models.base import Network
from rnnlab.settings import TrainSettings
from rnnlab.studies.trials import NUM_STARTUP, Pruning, Search, Setting, read_search, read_space, search_name
from rnnlab.tasks import Classify, Regularisation, make_task
from rnnlab.tasks.metrics import direction_of
from rnnlab.training.callbacks import Pruned
from rnnlab.training.trainer import chosen_by

SPACE = {"rate": {"low": 1e-4, "high": 1e-1, "log": True}, "size": [8, 16, 24], "layers": {"low": 1, "high": 4}}
START = {"rate": 1e-2, "size": 16, "layers": 3}
NAME = search_name("job", SPACE, [0], "accuracy")


def make(folder: Path, direction: str = "max", name: str = NAME, space: dict[str, Any] = SPACE, start: Setting = START) -> Search:
    return Search(folder, name, direction, read_space(space), start)


# -- the space ---------------------------------------------------------------------------------------------------------


def test_a_space_is_choices_or_bounds_whole_numbers_where_both_bounds_are() -> None:
    space = read_space({**SPACE, "share": {"low": 0, "high": 0.5}, "sizes": [[2, 4], [8]], "off": [None, 1.0]})
    assert space["rate"] == FloatDistribution(1e-4, 1e-1, log=True)
    assert space["size"] == CategoricalDistribution([8, 16, 24])
    assert space["layers"] == IntDistribution(1, 4)
    assert space["share"] == FloatDistribution(0, 0.5)
    assert space["sizes"] == CategoricalDistribution(["[2, 4]", "[8]"])
    assert space["off"] == CategoricalDistribution([None, 1.0])


@pytest.mark.parametrize("given", [[], 5, "a", None, {}, {"low": 1}, {"low": 1, "high": 2, "step": 1}])
def test_what_is_neither_choices_nor_bounds_is_refused(given: object) -> None:
    with pytest.raises(ConfigError, match=r"^study\.space\.rate=.* is not allowed: a list of choices, or \{low, high\[, log: true\]\}$"):
        read_space({"size": [1], "rate": given})


@pytest.mark.parametrize(
    "given",
    [
        {"low": 2, "high": 1},
        {"low": 1, "high": 1},
        {"low": 0, "high": 1, "log": True},
        {"low": "1", "high": 2},
        {"low": False, "high": True},
        {"low": None, "high": 1},
    ],
)
def test_bounds_that_bound_nothing_are_refused(given: object) -> None:
    with pytest.raises(ConfigError, match=r"^study\.space\.rate=.*: numbers, low below high, and above 0 where log is true$"):
        read_space({"rate": given})


def test_another_job_space_seed_or_metric_is_another_search() -> None:
    asked: list[tuple[str, dict[str, Any], list[int]]]
    asked = [("job", SPACE, [0]), ("job b", SPACE, [0]), ("job", {"size": [8]}, [0]), ("job", SPACE, [0, 1])]
    names = {search_name(*given, "accuracy") for given in asked} | {search_name("job", SPACE, [0], "loss")}
    assert len(names) == 5
    assert search_name("job", dict(reversed(SPACE.items())), [0], "accuracy") == NAME, "the order of keys means nothing"


# -- proposals ---------------------------------------------------------------------------------------------------------


def test_the_setting_as_given_is_tried_first(tmp_path: Path) -> None:
    search = make(tmp_path)
    assert search.ask() == (0, START)
    assert search.ask()[1] != START


def test_a_list_as_given_is_tried_first_too(tmp_path: Path) -> None:
    search = make(tmp_path, space={"channels": [[2, 3], [16, 32], [5]]}, start={"channels": [16, 32]})
    assert search.ask() == (0, {"channels": "[16, 32]"})


@pytest.mark.parametrize("change", [{"size": 17}, {"rate": 1.0}, {"layers": None}, {"layers": True}])
def test_a_setting_that_the_space_has_not_is_not_tried(change: Setting, tmp_path: Path) -> None:
    search = make(tmp_path, start=START | change)
    number, setting = search.ask()
    assert number == 0
    assert setting != START | change
    assert setting["size"] in SPACE["size"]
    assert 1 <= setting["layers"] <= 4


def value_of(setting: Setting) -> float:
    """Say how good a setting is: best at few layers of the largest size."""
    return float(setting["size"]) / setting["layers"] + setting["rate"]


def go_on(search: Search, num_trials: int) -> list[Setting]:
    """Ask and tell."""
    found = []
    for _ in range(num_trials):
        number, setting = search.ask()
        search.tell(number, value_of(setting), "complete")
        found.append(setting)
    return found


def test_proposals_follow_from_the_searchs_name_and_the_number_also_after_a_stop(tmp_path: Path) -> None:
    num_trials = NUM_STARTUP + 4
    whole = go_on(make(tmp_path / "whole"), num_trials)
    parts = [setting for _ in range(num_trials) for setting in go_on(make(tmp_path / "parts"), 1)]
    assert parts == whole
    assert len({tuple(setting.values()) for setting in whole}) == num_trials
    other = go_on(make(tmp_path / "whole", name=search_name("job b", SPACE, [0], "accuracy")), num_trials)
    assert other[0] == whole[0] == START
    assert all(ours != theirs for ours, theirs in zip(whole[1:], other[1:], strict=True))


# -- what settings are chosen by ---------------------------------------------------------------------------------------

CLASSES = DataSpec("toy", "features", 4, "class", 3, ("a", "b", "c"), (6, 3, 1))


@pytest.mark.parametrize(
    ("asked", "name", "direction"),
    [(None, "accuracy", "max"), ("accuracy", "accuracy", "max"), ("loss", "loss", "min"), ("f1_macro", "f1_macro", "max")],
)
def test_settings_are_chosen_by_the_tasks_metric_or_by_what_a_study_asks_for(asked: str | None, name: str, direction: str) -> None:
    found = chosen_by(cast(Network, SimpleNamespace(task=Classify(CLASSES, Regularisation(0.0, "none", 0.0)))), asked)
    assert (found.name, found.direction) == (name, direction)


@pytest.mark.parametrize(
    ("task", "asked", "message"),
    [
        (
            "class",
            "f1_makro",
            r"^study.metric=f1_makro is not allowed: it is not measured on .* Did you mean 'f1_macro'\? Allowed: .*loss, acc",
        ),
        ("class", "ece", r"^study.metric=ece is not allowed: it is not measured on validation while training\."),
        ("tokens", "num_examples", r"^study.metric=num_examples is not allowed: it is not measured"),
    ],
)
def test_what_validation_does_not_measure_chooses_nothing(task: str, asked: str, message: str) -> None:
    spec = (
        CLASSES if task == "class" else DataSpec("pairs", "tokens", 9, "tokens", 5, tuple("-+<>a"), goal="translate", max_target_length=4)
    )
    with pytest.raises(ConfigError, match=message):
        chosen_by(cast(Network, SimpleNamespace(task=make_task(spec, Regularisation(0.0, "none", 0.0)))), asked)


@pytest.mark.parametrize(
    ("names", "direction"),
    [
        (
            "accuracy f1_macro f1/DESC precision recall/a skill direction_accuracy ic rank_ic sacrebleu bleu_tok_lc chrf rougeL rouge1",
            "max",
        ),
        ("loss qlike mse mse/close rmse mae pinball wer wer_new cer per sentence_error ece", "min"),
        ("coverage coverage/90 width num_examples period icy lossless", None),
    ],
)
def test_a_metrics_name_says_what_is_better_or_nothing_does(names: str, direction: str | None) -> None:
    assert {name: direction_of(name) for name in names.split()} == dict.fromkeys(names.split(), direction)


# -- what became of trials ---------------------------------------------------------------------------------------------


def test_a_trial_that_was_cut_off_is_found_again_until_it_is_told(tmp_path: Path) -> None:
    go_on(make(tmp_path), 1)
    number, setting = make(tmp_path).ask()
    again = make(tmp_path)
    assert again.unfinished() == [(number, setting)] == [(1, setting)]
    assert again.num_done == 1
    again.tell(number, 0.5, "complete")
    assert make(tmp_path).unfinished() == []
    assert make(tmp_path).num_done == 2


def test_a_trial_without_a_whole_setting_is_not_gone_on_with(tmp_path: Path) -> None:
    search = make(tmp_path)
    go_on(search, 1)
    search.study.ask()
    search.study.ask({"size": search.space["size"]})
    assert make(tmp_path).unfinished() == []
    go_on(make(tmp_path), 1)
    assert make(tmp_path).num_done == 2


@pytest.mark.parametrize(("direction", "best"), [("max", 2), ("min", 1)])
def test_the_best_is_that_of_the_complete_trials(direction: str, best: int, tmp_path: Path) -> None:
    search = make(tmp_path, direction)
    with pytest.raises(ValueError, match=r"^no trial of the search was completed: see the failures above$"):
        search.best()
    settings = []
    for value, state in ((None, "pruned"), (0.25, "complete"), (0.75, "complete"), (None, "failed"), (0.5, "complete")):
        number, setting = search.ask()
        settings.append(setting)
        search.tell(number, value, state)
    assert search.num_done == 5
    assert search.best() == (best, {1: 0.25, 2: 0.75}[best], settings[best])
    search.tell(best, 0.6, "complete")
    assert make(tmp_path, direction).best()[1] == {1: 0.25, 2: 0.75}[best], "what was told is not told otherwise"


# -- pruning -----------------------------------------------------------------------------------------------------------

OTHERS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""What six trials reported at every epoch; their median is 0.55."""


def with_others(outputs: Path, direction: str = "max", others: tuple[float, ...] = OTHERS) -> str:
    """Make a search with complete trials and one that runs, and name that one."""
    search = make(outputs / "searches", direction)
    for value in others:
        trial = search.study.ask(search.space)
        for epoch in range(4):
            trial.report(value, epoch)
        search.tell(trial.number, value, "complete")
    return f"{NAME}:{search.ask()[0]}"


def pruning(outputs: Path, trial: str, mode: str = "max", seed: int = 0, seeds: tuple[int, ...] = (0, 3)) -> Pruning:
    words = [f"study.trial='{trial}'", f"study.search_seeds={list(seeds)}", f"seed={seed}", f"paths.outputs={outputs}"]
    return Pruning(TrainSettings.of(compose_config("config", words)), "val/accuracy", mode)


def validate(callback: Pruning, value: float, epoch: int, num_epochs: int = 4) -> None:
    """Let a callback see a validation."""
    values = {"val/accuracy": torch.tensor(value)}
    trainer = SimpleNamespace(callback_metrics=values, sanity_checking=False, current_epoch=epoch, max_epochs=num_epochs)
    callback.on_validation_end(cast(pl.Trainer, trainer), cast(pl.LightningModule, None))


def reported(outputs: Path, trial: str) -> dict[int, float]:
    return make(outputs / "searches").trials[int(trial.partition(":")[2])].intermediate_values


def test_a_trial_below_the_median_of_the_others_is_stopped_but_not_after_the_first_epoch(tmp_path: Path) -> None:
    callback = pruning(tmp_path, with_others(tmp_path))
    validate(callback, 0.1, epoch=0)
    with pytest.raises(Pruned, match=r"^val/accuracy 0.54 after epoch 2 is below the others' median$"):
        validate(callback, 0.54, epoch=1)


def test_a_trial_above_the_median_goes_on(tmp_path: Path) -> None:
    trial = with_others(tmp_path)
    callback = pruning(tmp_path, trial)
    for epoch, value in enumerate((0.1, 0.56, 0.2, 0.2)):
        validate(callback, value, epoch)
    assert reported(tmp_path, trial) == pytest.approx({0: 0.1, 1: 0.56, 2: 0.56, 3: 0.56}), "its best so far counts"


@pytest.mark.parametrize(("value", "is_stopped"), [(0.56, True), (0.54, False)])
def test_where_less_is_better_a_trial_above_the_median_is_stopped(value: float, is_stopped: bool, tmp_path: Path) -> None:
    callback = pruning(tmp_path, with_others(tmp_path, "min"), "min")
    validate(callback, 0.9, epoch=0)
    if is_stopped:
        with pytest.raises(Pruned, match=r"^val/accuracy 0.56 after epoch 2"):
            validate(callback, value, epoch=1)
    else:
        validate(callback, value, epoch=1)


def test_no_trial_is_stopped_at_its_last_epoch_or_before_there_are_six_others(tmp_path: Path) -> None:
    late = pruning(tmp_path, with_others(tmp_path))
    validate(late, 0.1, epoch=3)
    early = pruning(tmp_path / "few", with_others(tmp_path / "few", others=OTHERS[:5]))
    validate(early, 0.1, epoch=1)


def test_the_best_so_far_survives_a_resume(tmp_path: Path) -> None:
    trial = with_others(tmp_path)
    before = pruning(tmp_path, trial)
    validate(before, 0.7, epoch=0)
    after = pruning(tmp_path, trial)
    after.load_state_dict(before.state_dict())
    validate(after, 0.2, epoch=1)
    assert reported(tmp_path, trial) == pytest.approx({0: 0.7, 1: 0.7})


def test_an_epoch_that_is_validated_again_after_a_stop_is_reported_once(tmp_path: Path) -> None:
    trial = with_others(tmp_path)
    validate(pruning(tmp_path, trial), 0.7, epoch=2)
    after = pruning(tmp_path, trial)
    validate(after, 0.7, epoch=2)
    validate(after, 0.7, epoch=2)
    assert reported(tmp_path, trial) == pytest.approx({2: 0.7})


def test_the_second_seed_of_a_trial_is_compared_with_second_seeds(tmp_path: Path) -> None:
    trial = with_others(tmp_path)
    validate(pruning(tmp_path, trial, seed=0), 0.6, epoch=2)
    validate(pruning(tmp_path, trial, seed=3), 0.1, epoch=2)
    assert reported(tmp_path, trial) == pytest.approx({2: 0.6, 10_002: 0.1})


def test_a_trial_that_the_search_does_not_have_is_named(tmp_path: Path) -> None:
    with_others(tmp_path)
    with pytest.raises(ConfigError, match=rf"^study.trial={NAME}:9: the search has no such trial$"):
        pruning(tmp_path, f"{NAME}:9")


def test_a_search_is_read_back_with_what_was_reported_of_trials_without_a_value(tmp_path: Path) -> None:
    trial = with_others(tmp_path, others=OTHERS[:2])
    validate(pruning(tmp_path, trial), 0.1, epoch=0)
    validate(pruning(tmp_path, trial), 0.2, epoch=1)
    search = make(tmp_path / "searches")
    search.tell(2, None, "pruned")
    search.tell(search.ask()[0], None, "failed")
    search.ask()
    settings = [dict(each.params) for each in search.trials]
    assert search.trials[2].state == TrialState.PRUNED
    found = read_search(tmp_path / "searches", NAME)
    assert [row[:2] for row in found] == [(0, "complete"), (1, "complete"), (2, "pruned"), (3, "failed"), (4, "running")]
    assert [row[2] for row in found] == [0.3, 0.4, pytest.approx(0.2), None, None]
    assert [row[3] for row in found] == settings
