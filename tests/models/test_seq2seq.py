"""Claims about the encoder-decoder: it learns, padding changes nothing, labels are spelled, numbers follow one another."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from rnnlab.cli import compose_config
from rnnlab.config import Config, recipe
from rnnlab.contracts import PAD, SPECIALS, START, STOP, Batch, DataSpec, Decoded
from rnnlab.models.seq2seq import Seq2Seq, shifted, with_stop

WORDS = (*SPECIALS, "a", "b", "c", "d")
TOKENS = DataSpec(
    "tiny", "tokens", 8, "tokens", 8, WORDS, goal="transcribe", joined="words", max_target_length=5, is_monotonic=True, is_joint=True
)
LABELS = DataSpec("tiny", "tokens", 8, "class", 3, ("up", "upper", "low"), class_counts=(5, 3, 2))
NUMBERS = DataSpec("tiny", "features", 3, "real", 3, ("x_1", "x_2", "x_5"), feature_names=("u", "v", "w"))
VARIANTS = [
    ("gru", "gru", "luong_general", True),
    ("gru", "gru", "luong_general", False),
    ("lstm", "srnn", "bahdanau", False),
    ("srnn", "lstm", "none", False),
    ("gru", "lstm", "luong_dot", True),
    ("mingru", "lstm_layer_norm", "bahdanau", True),
]


@cache
def composed(*words: str) -> Config:
    model: Config = compose_config("config", list(words)).values["model"]
    return model


def make(spec: DataSpec, variant: tuple[str, str, str, bool] = VARIANTS[0], changes: Mapping[str, object] | None = None) -> Seq2Seq:
    encoder, decoder, attention, has_input_feeding = variant
    words = ["model=seq2seq", f"cell={encoder}", f"cell@decoder_cell={decoder}", f"model.attention={attention}"]
    words += [f"frontend={'embedding' if spec.input_kind == 'tokens' else 'direct'}", "model.head.dropout=0", "model.decoder.dropout=0"]
    words += [
        "model.recurrence.hidden_size=8",
        "model.decoder.hidden_size=16",
        "model.decoder.embedding_size=6",
        "model.decoder.attention_size=5",
    ]
    words += [f"model.decoder.has_input_feeding={has_input_feeding}".lower()]
    if spec.input_kind == "tokens":
        words += ["frontend.dropout=0", "frontend.embedding_size=6"]
    words += [f"model.{key}={value}" for key, value in (changes or {}).items()]
    torch.manual_seed(1)
    made: Seq2Seq = recipe(composed(*words), "model")(spec)
    return made.eval()


def batch_of(sources: list[list[int]], targets: list[list[int]] | Tensor) -> Batch:
    lengths = torch.tensor([len(row) for row in sources])
    inputs = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in sources], True, PAD)
    ids = torch.arange(len(sources))
    if isinstance(targets, Tensor):
        return Batch(inputs, lengths, targets, torch.ones_like(ids), ids)
    target_lengths = torch.tensor([len(row) for row in targets])
    padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(row, dtype=torch.long) for row in targets], True, PAD)
    return Batch(inputs, lengths, padded, target_lengths, ids, references=tuple(("",) for _ in targets))


SOURCES = [[4, 5, 6, 7, 4], [6, 6], [7, 4, 5]]
TARGETS = [[4, 7, 6, 5, 4], [6, 6], [5, 4, 7]]


def first_of(batch: Batch, row: int) -> Batch:
    """Return one sequence alone, without padding."""
    length, target_length = int(batch.input_lengths[row]), int(batch.target_lengths[row])
    part = slice(row, row + 1)
    return Batch(
        batch.inputs[part, :length], batch.input_lengths[part],
        batch.targets[part] if batch.targets.ndim == 1 else batch.targets[part, :target_length], batch.target_lengths[part],
        batch.example_ids[part], references=batch.references[part] if batch.references else None,
    )  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_padding_changes_neither_loss_nor_answer(variant: tuple[str, str, str, bool]) -> None:
    model, batch = make(TOKENS, variant), batch_of(SOURCES, TARGETS)
    together = model.predict(batch)
    alone = [model.predict(first_of(batch, row)) for row in range(3)]
    assert isinstance(together, Decoded) and together.loss is not None
    weights = [6, 3, 4]
    losses = [one.loss for one in alone if isinstance(one, Decoded) and one.loss is not None]
    total = sum(weight * float(loss) for weight, loss in zip(weights, losses, strict=True))
    assert float(together.loss) == pytest.approx(total / 13, rel=1e-5)
    for row, one in enumerate(alone):
        assert [h.tokens for h in together.hypotheses[row]] == [h.tokens for h in one.hypotheses[0]]


@pytest.mark.parametrize("variant", VARIANTS)
def test_step_by_step_encoder_and_decoder_answer_and_learn_the_same(variant: tuple[str, str, str, bool]) -> None:
    batch, found = batch_of(SOURCES, TARGETS), []
    for backend in ("fused", "reference"):
        model = make(TOKENS, variant, {"recurrence.backend": backend}).double()
        assert all(cell.backend == backend for cell in model.decoder.cells)
        loss = model.training_loss(batch)
        found.append([loss, *torch.autograd.grad(loss, list(model.parameters()))])
    for fused, written in zip(*found, strict=True):
        torch.testing.assert_close(fused, written, rtol=0, atol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_the_loss_is_the_cross_entropy_of_each_token_said_step_by_step(variant: tuple[str, str, str, bool]) -> None:
    model, batch = make(TOKENS, variant), batch_of(SOURCES, TARGETS)
    total, count = 0.0, 0
    for row, target in enumerate(TARGETS):
        state, _ = model.read(first_of(batch, row))
        last = START
        for token in [*target, STOP]:
            log_probs, state = model.next_tokens(torch.tensor([last]), state)
            total, count, last = total - float(log_probs[0, token]), count + 1, token
    assert float(model.training_loss(batch)) == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("variant", [*VARIANTS[:2], *(pytest.param(variant, marks=pytest.mark.slow) for variant in VARIANTS[2:])])
def test_it_learns_to_reverse(variant: tuple[str, str, str, bool]) -> None:
    model, batch = make(TOKENS, variant).train(), batch_of(SOURCES, TARGETS)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        model.training_loss(batch).backward()
        optimizer.step()
    with torch.no_grad():
        answer = model.eval().predict(batch)
    assert [found[0].tokens for found in answer.hypotheses] == TARGETS


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_without_teacher_forcing_the_network_hears_itself_and_still_learns(share: float) -> None:
    model, batch = make(TOKENS, changes={"teacher_forcing.first": share, "teacher_forcing.last": share}).train(), batch_of(SOURCES, TARGETS)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        loss = model.training_loss(batch)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


@torch.no_grad()
def test_teacher_forcing_of_zero_feeds_what_was_said() -> None:
    model, batch = make(TOKENS, changes={"teacher_forcing.first": 0.0, "teacher_forcing.last": 0.0}), batch_of(SOURCES[:1], TARGETS[:1])
    state, _ = model.read(batch)
    total, last = 0.0, torch.tensor([START])
    for token in [*TARGETS[0], STOP]:
        log_probs, state = model.next_tokens(last, state)
        total, last = total - float(log_probs[0, token]), log_probs.argmax(-1)
    assert float(model.training_loss(batch)) == pytest.approx(total / 6, rel=1e-5)


def test_the_schedule_goes_from_the_first_share_to_the_last() -> None:
    model = make(TOKENS, changes={"teacher_forcing.first": 1.0, "teacher_forcing.last": 0.5})

    class Trainer:
        global_step, estimated_stepping_batches = 25, 100

    model._trainer = Trainer()  # type: ignore[assignment]  # a stand-in
    assert model._forced_fraction() == pytest.approx(0.875)


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_a_labels_score_is_the_log_probability_of_its_letters_and_the_stop(variant: tuple[str, str, str, bool]) -> None:
    model, batch = make(LABELS, variant), batch_of(SOURCES, torch.tensor([0, 2, 1]))
    letters = (*SPECIALS, "e", "l", "o", "p", "r", "u", "w")
    outputs = model.predict(batch)
    assert isinstance(outputs, Tensor) and outputs.shape == (3, 3)
    for row in range(3):
        for label, name in enumerate(LABELS.label_names):
            state, _ = model.read(first_of(batch, row))
            last, total = START, 0.0
            for token in [*(letters.index(letter) for letter in name), STOP]:
                log_probs, state = model.next_tokens(torch.tensor([last]), state)
                total, last = total + float(log_probs[0, token]), token
            assert float(outputs[row, label]) == pytest.approx(total, rel=1e-4)
    columns = model.task.columns(outputs, batch)
    assert sum(columns[f"score/{name}"] for name in LABELS.label_names) == pytest.approx([1, 1, 1])


def test_class_weights_weigh_the_letters_of_rare_labels() -> None:
    batch = batch_of(SOURCES, torch.tensor([0, 2, 1]))
    plain, weighted = make(LABELS), make(LABELS, changes={"regularisation.class_weights": "[0,0,1]"})
    only = first_of(batch, 1)
    with torch.no_grad():
        assert float(weighted.training_loss(batch)) == pytest.approx(float(plain.training_loss(only)), rel=1e-5)


@torch.no_grad()
def test_each_number_enters_the_next_step_and_the_true_one_while_training() -> None:
    model = make(NUMBERS)
    inputs = torch.randn(2, 4, 3)
    lengths, ids = torch.tensor([4, 3]), torch.arange(2)
    truth = torch.tensor([[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]])
    batch = Batch(inputs, lengths, truth, torch.ones_like(ids), ids)

    def stepwise(fed: Tensor | None) -> Tensor:
        state, _ = model.read(batch)
        last, outputs = torch.zeros(2, 1), []
        for step in range(3):
            readout, _, state = model.decoder.step(model.entry(last), state)
            outputs.append(model.output(readout))
            last = outputs[-1] if fed is None else fed[:, step : step + 1]
        return torch.cat(outputs, -1)

    outputs = model.predict(batch)
    assert isinstance(outputs, Tensor) and torch.allclose(outputs, stepwise(None), atol=1e-6)
    assert float(model.training_loss(batch)) == pytest.approx(float((stepwise(truth) - truth).square().mean()), rel=1e-5)
    by_size = make(NUMBERS, changes={"loss.kind": "mae"})
    assert float(by_size.training_loss(batch)) == pytest.approx(float((stepwise(truth) - truth).abs().mean()), rel=1e-5)


@torch.no_grad()
def test_quantiles_of_several_days_come_out_in_the_tasks_order() -> None:
    model = make(NUMBERS, changes={"head.quantiles": "[0.1,0.5,0.9]"})
    ids = torch.arange(2)
    batch = Batch(torch.randn(2, 4, 3), torch.tensor([4, 4]), torch.randn(2, 3), torch.ones_like(ids), ids)
    outputs = model.predict(batch)
    assert isinstance(outputs, Tensor) and outputs.shape == (2, 9)
    assert {f"quantile/{name}/0.9" for name in NUMBERS.label_names} <= set(model.task.columns(outputs, batch))


@torch.no_grad()
def test_attention_weights_sum_to_one_over_valid_steps_of_the_input() -> None:
    model, batch = make(TOKENS), batch_of(SOURCES, TARGETS)
    weights, lengths = model.weights(batch, batch.targets, batch.target_lengths)
    assert weights.shape == (3, 6, 5) and torch.equal(lengths, batch.input_lengths)
    assert torch.allclose(weights.sum(-1), torch.ones(3, 6)) and (weights[1, :, 2:] == 0).all()


def test_maps_without_attention_are_refused() -> None:
    model, batch = make(TOKENS, VARIANTS[3]), batch_of(SOURCES, TARGETS)
    with pytest.raises(ValueError, match=r"attention maps need attention, but this run's model.attention=none: train with bahdanau or"):
        model.weights(batch, batch.targets, batch.target_lengths)


def test_tied_tables_are_one() -> None:
    target, everywhere = make(TOKENS, changes={"tied_embeddings": "target"}), make(TOKENS, changes={"tied_embeddings": "all"})
    assert target.output.weight is target.entry.weight and target.frontend.table.weight is not target.entry.weight
    assert everywhere.output.weight is everywhere.entry.weight is everywhere.frontend.table.weight


@pytest.mark.parametrize(
    ("spec", "changes", "message"),
    [
        (NUMBERS, {"tied_embeddings": "target"}, r"tied_embeddings=target: data=tiny has numbers as targets, not tokens: set it to none"),
        (LABELS, {"tied_embeddings": "all"}, r"tied_embeddings=all needs one vocabulary for inputs and targets, which data=tiny does not"),
        (
            TOKENS,
            {"tied_embeddings": "all", "decoder.embedding_size": 7},
            r"needs frontend=embedding with frontend.embedding_size equal to",
        ),
        (replace(LABELS, target_kind="class_per_step"), {}, r"data=tiny has a target at every step: choose model=srnn, lstm, gru or birnn"),
        (TOKENS, {"attention": "luong_dot", "decoder.hidden_size": 9}, r"luong_dot compares states as they are"),
        (
            LABELS,
            {"loss.kind": "focal"},
            r"loss.kind=focal is not for data=tiny, whose labels model=seq2seq spells letter by letter. Allowed: cr",
        ),
    ],
)
def test_what_does_not_fit_is_refused(spec: DataSpec, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(spec, changes=changes)


def test_stops_and_starts_by_hand() -> None:
    targets, lengths = with_stop(torch.tensor([[4, 5], [6, 0]]), torch.tensor([2, 1]))
    assert targets.tolist() == [[4, 5, STOP], [6, STOP, PAD]] and lengths.tolist() == [3, 2]
    assert shifted(targets).tolist() == [[START, 4, 5], [START, 6, STOP]]
