"""Claims about an encoder-decoder that copies: names that it never saw are answered, padding changes nothing, loss and search agree."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch

from rnnlab.cli import compose_config
from rnnlab.config import recipe
from rnnlab.contracts import PAD, SPECIALS, START, STOP, UNKNOWN, Batch, Copies, DataSpec, Decoded
from rnnlab.models.seq2seq import Seq2Seq
from rnnlab.tasks import Transduce

WORDS = (*SPECIALS, "met", "and", "saw", "the")
SPEC = DataSpec(
    "tiny", "tokens", 8, "tokens", 8, WORDS, goal="summarise", joined="words", max_target_length=4, is_joint=True, can_copy=True
)  # fmt: skip
VARIANTS = [("bahdanau", False, None), ("bahdanau", True, 1.0), ("luong_general", False, None), ("luong_general", True, None)]


def make(
    attention: str = "bahdanau", has_input_feeding: bool = False, coverage: float | None = None, changes: Mapping[str, object] | None = None
) -> Seq2Seq:
    words = ["model=seq2seq", "frontend=embedding", "frontend.dropout=0", "frontend.embedding_size=10", "model.head.dropout=0"]
    words += ["model.recurrence.hidden_size=16", "model.decoder.hidden_size=24", "model.decoder.embedding_size=10"]
    words += ["model.decoder.dropout=0", "model.decoder.attention_size=12", f"model.attention={attention}"]
    words += [f"model.decoder.has_input_feeding={has_input_feeding}".lower()]
    words += [f"model.decoder.coverage_weight={'null' if coverage is None else coverage}"]
    given = {"decoder.has_copying": "true", **(changes or {})}
    words += [f"model.{key}={value}" for key, value in given.items()]
    torch.manual_seed(1)
    made: Seq2Seq = recipe(compose_config("config", words).values["model"], "model")(SPEC)
    return made.eval()


def batch_of(texts: list[str], answers: list[str]) -> Batch:
    """Number words as a data module does."""
    inputs, targets, copied, extended, unknown = [], [], [], [], []
    for text, answer in zip(texts, answers, strict=True):
        known: dict[str, int] = {}
        numbers = [WORDS.index(word) if word in WORDS else known.setdefault(word, 8 + len(known)) for word in text.split()]
        copied.append([*numbers, STOP])
        inputs.append([*(number if number < 8 else UNKNOWN for number in numbers), STOP])
        extended.append([WORDS.index(word) if word in WORDS else known.get(word, UNKNOWN) for word in answer.split()])
        targets.append([number if number < 8 else UNKNOWN for number in extended[-1]])
        unknown.append(tuple(known))

    def pad(rows: list[list[int]]) -> torch.Tensor:
        return torch.nn.utils.rnn.pad_sequence([torch.tensor(row, dtype=torch.long) for row in rows], True, PAD)

    lengths, target_lengths = (torch.tensor([len(row) for row in rows]) for rows in (inputs, targets))
    copies = Copies(pad(copied), pad(extended), tuple(unknown))
    return Batch(
        pad(inputs), lengths, pad(targets), target_lengths, torch.arange(len(texts)), references=tuple((a,) for a in answers), copies=copies
    )


NAMES = ("Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal", "Ivy", "Jo")
TEXTS = [f"{one} met the {other}" for one in NAMES for other in NAMES if one != other]
ANSWERS = [f"{text.split()[3]} and {text.split()[0]}" for text in TEXTS]
UNSEEN = ["Zed met the Yan", "Xi met the Wu"]


def trained(model: Seq2Seq, num_steps: int = 250) -> Seq2Seq:
    model.train()
    batch = batch_of(TEXTS, ANSWERS)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(num_steps):
        optimizer.zero_grad()
        model.training_loss(batch).backward()
        optimizer.step()
    return model.eval()


@torch.no_grad()
def answers_of(model: Seq2Seq, texts: list[str]) -> list[str]:
    batch = batch_of(texts, ["and"] * len(texts))
    decoded = model.predict(batch)
    task = model.task
    assert isinstance(decoded, Decoded) and isinstance(task, Transduce)
    return task.answers(decoded, batch)[0]


@pytest.mark.parametrize("variant", [VARIANTS[0], pytest.param(VARIANTS[1], marks=pytest.mark.slow)])
def test_names_that_no_vocabulary_has_are_copied_in_their_places(variant: tuple[str, bool, float | None]) -> None:
    model = trained(make(*variant))
    assert answers_of(model, UNSEEN) == ["Yan and Zed", "Wu and Xi"]
    assert answers_of(model, TEXTS[:9]) == ANSWERS[:9]
    model.decoding = replace(model.decoding, beam_size=4)
    assert answers_of(model, UNSEEN) == ["Yan and Zed", "Wu and Xi"]


def test_without_copying_such_names_cannot_be_answered() -> None:
    model = trained(make(changes={"decoder.has_copying": "false"}))
    found = answers_of(model, UNSEEN)
    assert not any(name in answer for answer in found for name in ("Zed", "Yan", "Xi", "Wu")) and found != ["Yan and Zed", "Wu and Xi"]


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_padding_and_neighbours_with_more_unknown_words_change_neither_loss_nor_answer(variant: tuple[str, bool, float | None]) -> None:
    texts, answers = ["Ada met the Bo and the Cy and Di", "Flo saw", "the Gus"], ["Bo and Ada", "Flo", "the Hal Gus"]
    model = make(*variant)
    together = batch_of(texts, answers)
    whole = model.predict(together)
    assert isinstance(whole, Decoded) and whole.loss is not None
    total = 0.0
    for row, (text, answer) in enumerate(zip(texts, answers, strict=True)):
        alone = model.predict(batch_of([text], [answer]))
        assert isinstance(alone, Decoded) and alone.loss is not None
        assert [found.tokens for found in alone.hypotheses[0]] == [found.tokens for found in whole.hypotheses[row]]
        assert alone.hypotheses[0][0].score == pytest.approx(whole.hypotheses[row][0].score, rel=1e-5)
        total += float(alone.loss) * (len(answer.split()) + 1)
    assert float(whole.loss) == pytest.approx(total / 10, rel=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_the_loss_is_the_cross_entropy_of_each_word_said_step_by_step(variant: tuple[str, bool, float | None]) -> None:
    model, batch = make(*variant), batch_of(["Ada met the Bo"], ["Bo and Ada Cy"])
    assert batch.copies is not None and batch.copies.targets.tolist() == [[9, 5, 8, UNKNOWN]]
    state, _ = model.read(batch)
    last, total = START, 0.0
    for token in [*batch.copies.targets[0].tolist(), STOP]:
        log_probs, state = model.next_tokens(torch.tensor([last]), state)
        assert float(log_probs.exp().sum()) == pytest.approx(1, abs=1e-5)
        total, last = total - float(log_probs[0, token]), token
    found = model.predict(batch)
    assert isinstance(found, Decoded) and found.loss is not None
    assert float(found.loss) == pytest.approx(total / 5, rel=1e-4)


def test_coverage_adds_its_weight_times_what_is_looked_at_again_to_the_training_loss_alone() -> None:
    batch, losses = batch_of(TEXTS[:3], ANSWERS[:3]), []
    with torch.no_grad():
        for weight in (0.0, 1.0, 3.0):
            model = make(coverage=weight)
            losses.append(float(model.training_loss(batch)))
            found = model.predict(batch)
            assert isinstance(found, Decoded) and found.loss is not None
            assert float(found.loss) == pytest.approx(losses[0], rel=1e-5)
    assert losses[2] - losses[0] == pytest.approx(3 * (losses[1] - losses[0]), rel=1e-4) and losses[1] > losses[0]


def test_a_network_that_hears_itself_takes_what_it_copied_as_an_unknown_word() -> None:
    model = make(changes={"teacher_forcing.first": 0.0, "teacher_forcing.last": 0.0}).train()
    loss = model.training_loss(batch_of(TEXTS[:4], ANSWERS[:4]))
    loss.backward()
    assert loss.isfinite() and all(part.grad is None or part.grad.isfinite().all() for part in model.parameters())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"regularisation.label_smoothing": 0.1}, r"label_smoothing=0\.1 .* set it to 0"),
        ({"attention": "none"}, r"has_copying=true .* model\.attention=none"),
    ],
)
def test_what_does_not_go_with_copying_is_refused(changes: Mapping[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(changes=changes)


def test_data_whose_answers_are_other_words_are_refused_and_so_are_batches_without_copies() -> None:
    model = make()
    recipe_of = recipe(
        compose_config("config", ["model=seq2seq", "frontend=embedding", "model.decoder.has_copying=true"]).values["model"], "model"
    )
    with pytest.raises(ValueError, match=r"has_copying=true: answers to data=tiny are not made of the words"):
        recipe_of(replace(SPEC, can_copy=False))
    with pytest.raises(ValueError, match="does not say which words"):
        model.predict(replace(batch_of(TEXTS[:1], ANSWERS[:1]), copies=None))
