"""Claims about runs that begin with another's weights: which go over, what is refused, and how fine-tuning goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.test_resume import assert_same_results, stop_and_resume, train

from rnnlab.commands import train as run
from rnnlab.config import ConfigError, Failed
from rnnlab.data.inputs import InputTokens
from rnnlab.data.tokens import Vocabulary
from rnnlab.evaluation.bundle import load_bundle
from rnnlab.models.optimization import Optimization
from rnnlab.training.checkpoints import BEST, read_checkpoint
from rnnlab.training.first_weights import by_word, differing

SMALL = (
    *("model.recurrence.hidden_size=6", "model.recurrence.num_layers=2", "trainer.num_threads=1", "tracking.log_model=false"),
    *("frontend.embedding_size=5", "tracking.log_every_n_steps=1", "trainer.limit_val_batches=2", "trainer.limit_test_batches=2"),
)
LANGUAGE = (
    *("model=lstm", "data=language", "data.source=sample", "data.prepare.tokens=text_word", "data.loader.batch_size=4"),
    *("data.loader.tbptt_steps=10", "trainer.max_epochs=1", "trainer.limit_train_batches=4", *SMALL),
)
TEXT = ("model=lstm", "data=text", "data.source=sample", "trainer.limit_train_batches=3", *SMALL)
TAGS = ("model=lstm", "data=tags", "data.source=sample", "trainer.limit_train_batches=3", "frontend=embedding", *SMALL)


@pytest.fixture
def language(compose: Callable[..., Any]) -> Path:
    """Return the folder of a tiny language model of words."""
    return train(compose(*LANGUAGE))


def state(folder: Path, name: str = BEST) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read_checkpoint(folder / name)["state_dict"]
    return found


@pytest.mark.parametrize("words", [TEXT, TAGS], ids=["classifier", "tagger"])
def test_a_language_model_begins_a_classifier_and_a_tagger(
    compose: Callable[..., Any], language: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    still = ("trainer.max_epochs=1", "optimizer=sgd", "optimizer.lr=1e-30", "optimizer.momentum=0", "optimizer.nesterov=false")
    folder = train(compose(*words, *still, f"init_from={language.name}"))
    shown = capsys.readouterr().err
    first, ours = state(language), state(folder)
    old, new = (load_bundle(each / "artifacts/bundle").reader.input_words for each in (language, folder))
    assert set(old) - {"<eos>"} <= set(new)  # words of the pretrained run stay known, also those that training here lacks
    place = {word: number for number, word in enumerate(old)}
    known = [word for word in new[2:] if word in place]
    mean = first["frontend.table.weight"][2:].mean(0)
    for number, word in enumerate(new[2:], start=2):
        right = first["frontend.table.weight"][place[word]] if word in place else mean
        torch.testing.assert_close(ours["frontend.table.weight"][number], right)
    assert f"{len(known):,} of {len(new) - 2:,} words take their vector; {len(new) - 2 - len(known):,} are new" in shown
    layers = [name for name in first if name.startswith("recurrence.")]
    assert layers and all(torch.equal(first[name], ours[name]) for name in layers)
    assert "drawn anew: output.weight, output.bias" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*TEXT, "data.prepare.tokens=char"), r"a token of that run is a word, and here a char.*set data.prepare.tokens=word"),
        ((*TEXT, "model=birnn"), r"reads texts forwards, and model=birnn reads them from both ends: choose model=lstm"),
        ((*TEXT, "model=gru"), r"other sizes: .* Set model=lstm"),
        (
            (*TEXT, "model.recurrence.hidden_size=7", "frontend.embedding_size=4"),
            r"Set frontend.embedding_size=5 model.recurrence.hidden_size=6$",
        ),
        ((*TEXT, "model.recurrence.num_layers=3"), r"Set model.recurrence.num_layers=2$"),
        ((*TAGS, "frontend=words_and_characters"), r"Set frontend=embedding$"),
        (("data=adding", "model=gru"), r"begins a classifier of texts .* or a tagger \(data=tags\), not data=adding with model=gru"),
    ],
)
def test_what_does_not_fit_a_language_model_is_refused(
    compose: Callable[..., Any], language: Path, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises((ConfigError, Failed, ValueError), match=message):
        run.train(compose(*words, f"init_from={language.name}"))


def test_a_run_that_is_gone_is_told(compose: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=r"init_from=nothing"):
        run.train(compose(*TEXT, "init_from=nothing"))


def test_groups_are_unfrozen_from_the_last_to_the_first_and_a_resume_goes_on_exactly(
    compose: Callable[..., Any], language: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: tuple[str, ...] = (
        *(*TEXT, f"init_from={language.name}", "trainer.max_epochs=5", "finetune.unfreeze_every_epochs=1", "finetune.rate_decay=2.6"),
        *("callbacks.checkpoint.keep_last=true", "callbacks.checkpoint.num_best=9"),
    )
    whole = train(compose(*words))
    epochs = sorted(whole.glob("best*.ckpt"), key=lambda file: int(read_checkpoint(file)["epoch"]))
    weights = [read_checkpoint(file)["state_dict"] for file in epochs]
    assert len(weights) == 5
    order = ("output.weight", "recurrence.layers.1.", "recurrence.layers.0.", "frontend.table.weight")
    for epoch in range(1, 5):
        for place, name in enumerate(order):
            names = [each for each in weights[0] if each.startswith(name)]
            moved = any(not torch.equal(weights[epoch - 1][each], weights[epoch][each]) for each in names)
            assert moved == (place <= epoch), (epoch, name)
    before = {name: value for name, value in state(language).items() if name.startswith("recurrence.")}
    assert all(torch.equal(value, weights[0][name]) for name, value in before.items())  # in the first epoch the head alone
    # stopped within the second epoch, in which the last layer has just been unfrozen
    assert_same_results(stop_and_resume(compose, words, 5, root, monkeypatch), whole, root)


def test_each_group_has_the_rate_of_the_one_above_divided() -> None:
    groups = [[torch.nn.Parameter(torch.zeros(size))] for size in (2, 3, 4)]
    made = Optimization(lambda weights: torch.optim.SGD(weights, lr=0.5), lambda *_: None, rate_decay=2.6).made(groups)
    assert [group["lr"] for group in made.param_groups] == pytest.approx([0.5 / 2.6**2, 0.5 / 2.6, 0.5])
    assert [len(group["params"][0]) for group in made.param_groups] == [2, 3, 4]
    alike = Optimization(lambda weights: torch.optim.SGD(weights, lr=0.5), lambda *_: None).made(groups)
    assert len(alike.param_groups) == 1 and alike.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("finetune.rate_decay=2.6",), "are for runs that begin with another's weights: add init_from=RUN_ID"),
        (("finetune.rate_decay=0.5", "init_from=abc"), r"finetune.rate_decay=0.5 would train lower layers faster"),
        (("finetune.unfreeze_every_epochs=0", "init_from=abc"), r"finetune.unfreeze_every_epochs"),
    ],
)
def test_settings_of_fine_tuning_that_mean_nothing_are_refused(compose: Callable[..., Any], words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose(*TEXT, *words)


def test_words_of_another_vocabulary_go_over_by_word() -> None:
    class Answerer:
        frontend = type("Frontend", (), {"word_table": "table.weight"})
        spec = type("Spec", (), {"goal": "continue"})

    theirs = {"frontend.table.weight": torch.arange(10.0).view(5, 2), "output.bias": torch.arange(5.0), "x": torch.ones(1)}
    first = InputTokens("word", ("<pad>", "<unk>", "a", "b", "c"))
    tokens = InputTokens("word", ("<pad>", "<unk>", "c", "new", "a"))
    found, words = by_word(theirs, Answerer(), first, tokens)  # type: ignore[arg-type]
    assert found["frontend.table.weight"].tolist() == [[0, 1], [2, 3], [8, 9], [6, 7], [4, 5]]  # the mean of a, b and c is (6, 7)
    assert found["output.bias"].tolist() == [0, 1, 4, 3, 2]
    assert words == "; 2 of 3 words take their vector; 1 are new and begin with their mean"


def test_a_vocabulary_keeps_its_numbers_when_it_takes_more_words() -> None:
    own = Vocabulary(("<pad>", "<unk>", "b", "a"))
    assert own.joined(["<pad>", "<unk>", "<s>", "a", "c", "c"]).words == ("<pad>", "<unk>", "b", "a", "c")


def test_what_must_be_typed_is_what_differs() -> None:
    theirs = {
        "_target_": "rnnlab.models.srnn.SRNN", "cell": {"_target_": "rnnlab.cells.elman.Elman"},
        "frontend": {"_target_": "x.Embedding", "embedding_size": 3}, "recurrence": {"hidden_size": 4, "num_layers": 1, "dropout": 0.1},
    }  # fmt: skip
    ours = {**theirs, "_target_": "rnnlab.models.gru.GRU", "recurrence": {"hidden_size": 4, "num_layers": 2, "dropout": 0.3}}
    assert differing(theirs, ours) == ["model=srnn", "model.recurrence.num_layers=1"]
