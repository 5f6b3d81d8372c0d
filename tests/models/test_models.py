"""Every model in conf/model, with every cell, front end and pooling, is put through the same questions."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from itertools import product
from typing import Any, get_args

import pytest
import pytorch_lightning as pl
import torch
import yaml
from tests.lanes import covering
from torch import Tensor
from torch.utils.data import DataLoader

from rnnlab.cli import compose_config
from rnnlab.config import Config, locate, recipe
from rnnlab.contracts import SPECIALS, Batch, DataSpec, Decoded
from rnnlab.layers import ctc
from rnnlab.layers.beam_search import Decoding
from rnnlab.layers.frontends import Embedding
from rnnlab.layers.pooling import PoolingKind
from rnnlab.models.base import RecurrentModule, SequenceModule
from rnnlab.models.optimization import Optimization
from rnnlab.paths import CONF
from rnnlab.training.schedules import constant, plateau

CELLS = sorted(file.stem for file in (CONF / "cell").glob("*.yaml"))
POOLINGS = get_args(PoolingKind)
F, H, C, V = 6, 4, 3, 7
LENGTHS = [3, 5, 9]
FEATURES = DataSpec("toy", "features", F, "class", C, ("a", "b", "c"), (4, 1, 2))
TOKENS = DataSpec("toy", "tokens", V, "class", C, ("a", "b", "c"), (4, 1, 2))
FEATURES_PER_STEP = DataSpec("toy", "features", F, "class_per_step", C, ("a", "b", "c"), (4, 1, 2))
TOKENS_PER_STEP = DataSpec("toy", "tokens", V, "class_per_step", C, ("a", "b", "c"), (4, 1, 2))
KEYS = DataSpec("toy", "features", F, "labels_per_step", F, tuple("abcdef"), (1,) * F, is_causal=True)
REAL = DataSpec("toy", "features", F, "real", 2, ("x", "y"))


def class_of(group: str, name: str) -> type:
    """Return the class that a file of conf/ names, itself or (`model=baseline`) for the whole configuration."""
    node = yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8"))
    target = locate(node.get(group, node)["_target_"], group)
    assert isinstance(target, type)
    return target


SIZED = {"tcn": "convolutions", "transformer": "encoder"}
"""The part of a model that has its hidden size, where it is not the recurrence."""


def variants() -> Iterator[str]:
    """Name every network, with each cell those that leave it free, and both ways those that may or may not see what comes later."""
    for file in sorted((CONF / "model").glob("*.yaml")):
        found, name = class_of("model", file.stem), f"model={file.stem}"
        if issubclass(found, RecurrentModule):
            relatives = {cell for cell in CELLS if class_of("cell", cell) in found.cell_classes[1:]}
            yield from [name] if found.cell_classes else []
            yield from (f"{name} cell={cell}" for cell in (sorted(relatives) if found.cell_classes else CELLS))
        elif issubclass(found, SequenceModule):
            yield from [f"{name} model.{SIZED[file.stem]}.is_causal={choice}" for choice in ("true", "false")]


def accepts(frontend: str) -> str:
    """Return the kind of input that a front end takes."""
    found: str = vars(class_of("frontend", frontend))["accepts"]
    return found


FRONTENDS = {
    file.stem: accepts(file.stem)
    for file in sorted((CONF / "frontend").glob("*.yaml"))
    if not class_of("frontend", file.stem).needs_characters  # type: ignore[attr-defined]  # tests/layers/test_characters.py asks the same of it
}
SUBSAMPLING = ["convolution"]
SMALL = {
    "convolution": "channels=[2,3] kernel_sizes=[5,3] time_strides=[2,1] frequency_strides=[2,2] dropout=0",
    "embedding": "embedding_size=5 num_ngrams=[11,5] dropout=0",
}
VARIANTS = list(variants())
OF_KERNELS = [variant for variant in VARIANTS if "cell=" not in variant or variant.split("cell=")[1] in ("srnn", "lstm", "gru")]
per_variant = pytest.mark.parametrize("variant", VARIANTS)
WITH_POOLING = [
    (variant, frontend, pooling)
    for variant, frontend, pooling in product(VARIANTS, FRONTENDS, POOLINGS)
    if variant in OF_KERNELS or pooling == "last"
]
per_variant_and_frontend = pytest.mark.parametrize(("variant", "frontend"), covering(product(VARIANTS, FRONTENDS), strength=1))
per_variant_and_frontend_of_every_step = pytest.mark.parametrize(
    ("variant", "frontend"), covering(product(VARIANTS, (name for name in FRONTENDS if name not in SUBSAMPLING)), strength=1)
)


@cache
def composed(variant: str, frontend: str) -> Config:
    """Compose a tiny network without dropout."""
    return composed_alone(variant, "direct") | {"frontend": composed_alone("model=gru", frontend)["frontend"]}


@cache
def composed_alone(variant: str, frontend: str) -> Config:
    model, part = variant.split()[0].removeprefix("model="), "recurrence"
    words = [*variant.split(), f"frontend={frontend}"]
    if model in SIZED:
        part = SIZED[model]
        words += [f"model.{part}.dropout=0", *(["model.encoder.num_heads=2"] if part == "encoder" else [])]
    words += [f"model.{part}.hidden_size={H}", f"model.{part}.num_layers=2"]
    words += [f"frontend.{setting}" for setting in SMALL.get(frontend, "").split()] + ["model.head.dropout=0"]
    node: Config = compose_config("config", words).values["model"]
    node.pop("budget", None)  # of the settings, not of the network
    return node


def make_model(variant: str, frontend: str, spec: DataSpec, pooling: str = "mean_max", **regularisation: float | str) -> SequenceModule:
    node = composed(variant, frontend)
    smoothing, weights = (0.0, "none") if spec.target_kind == "real" else (0.1, "balanced")
    regularised = node["regularisation"] | {"label_smoothing": smoothing, "class_weights": weights} | regularisation
    node = node | {"head": node["head"] | {"pooling": pooling}, "regularisation": regularised}
    torch.manual_seed(1)
    model: SequenceModule = recipe(node, "model")(spec)
    if isinstance(model.frontend, Embedding):  # n-grams begin at zero, where padding could not show
        tokens, lengths = pad(draw(TOKENS), max(LENGTHS), 0.0), torch.tensor(LENGTHS)
        model.frontend.fit([Batch(tokens, lengths, lengths, lengths, lengths)])
        torch.manual_seed(1)
        for part in model.frontend.ngram_tables:
            torch.nn.init.normal_(part.weight[1:])
    return model.double()


def draw(spec: DataSpec) -> list[Tensor]:
    """Draw one sequence of each length."""
    torch.manual_seed(2)
    if spec.input_kind == "tokens":
        return [torch.randint(V, (n,)) for n in LENGTHS]
    return [torch.randn(n, F, dtype=torch.float64) for n in LENGTHS]


def pad(sequences: list[Tensor], num_steps: int, fill: float) -> Tensor:
    """Put sequences side by side, with `fill` beyond each end (for tokens: some token)."""
    fill = 5 if not sequences[0].is_floating_point() and fill else fill
    padded = torch.full((len(sequences), num_steps, *sequences[0].shape[1:]), fill, dtype=sequences[0].dtype)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded


def outputs_of(model: SequenceModule, sequences: list[Tensor], num_steps: int, fill: float = 0.0) -> list[Tensor]:
    """Return each sequence's output, of its valid steps only where there is one per step."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    outputs = model(pad(sequences, num_steps, fill), lengths)
    return [output[:n] for output, n in zip(outputs, lengths, strict=True)] if model.task.is_per_step else list(outputs)


@torch.no_grad()
def assert_padding_changes_nothing(model: SequenceModule, sequences: list[Tensor]) -> None:
    model.train()
    outputs_of(model, sequences, max(LENGTHS))  # so that batch normalisation has statistics of its own
    model.eval()
    alone = [outputs_of(model, [sequence], len(sequence))[0] for sequence in sequences]
    assert all(output.isfinite().all() for output in alone)
    batches = {
        "in a padded batch": outputs_of(model, sequences[:2], 5),
        "beside longer neighbours": outputs_of(model, sequences, 9),
        "with more padding than any needs": outputs_of(model, sequences, 16),
        "with rubbish as padding": outputs_of(model, sequences, 12, 1e3),
        "with NaN as padding": outputs_of(model, sequences, 12, torch.nan),
        "in another order": outputs_of(model, sequences[::-1], 9)[::-1],
    }
    for how, outputs in batches.items():
        for output, expected in zip(outputs, alone, strict=False):
            torch.testing.assert_close(output, expected, rtol=0, atol=1e-10, msg=partial("{}: {}".format, how))


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if "birnn" not in variant and "is_causal=false" not in variant])
def test_what_answers_with_its_own_later_inputs_never_sees_them(variant: str) -> None:
    model = make_model(variant, "direct", KEYS, label_smoothing=0.0, class_weights="none").eval()
    (piece,) = draw(KEYS)[-1:]
    for last in range(1, len(piece)):
        changed = piece.clone()
        changed[last:] = 7.0
        ours, theirs = (outputs_of(model, [values], len(piece))[0] for values in (piece, changed))
        torch.testing.assert_close(ours[:last], theirs[:last], rtol=0, atol=0)
        assert not torch.equal(ours[last:], theirs[last:])


@pytest.mark.parametrize(
    ("variant", "frontend", "message"),
    [
        ("model=birnn cell=gru", "direct", r"^data=toy has targets that are its own later inputs, which a network that looks ahead would"),
        ("model=tcn model.convolutions.is_causal=false", "direct", r"^data=toy has targets .* choose model=srnn, lstm, gru, or tcn and"),
        ("model=transformer model.encoder.is_causal=false", "direct", r"^data=toy has targets .* with is_causal left as it is"),
        ("model=gru", "convolution", r"^data=toy has targets that are its own later inputs, which frontend=convolution would read: choose"),
    ],
)
def test_what_would_see_its_own_later_inputs_is_refused(variant: str, frontend: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_model(variant, frontend, KEYS, label_smoothing=0.0, class_weights="none")


def test_there_are_models_and_frontends() -> None:
    assert {"model=srnn", "model=lstm", "model=gru", "model=birnn cell=gru", "model=birnn cell=lstm"} <= set(VARIANTS)
    assert {"model=tcn model.convolutions.is_causal=true", "model=transformer model.encoder.is_causal=false"} <= set(VARIANTS)
    assert {"direct", "embedding", "convolution"} <= set(FRONTENDS)


@pytest.mark.parametrize(("variant", "frontend", "pooling"), covering(WITH_POOLING))
def test_padding_never_changes_a_sequences_output(variant: str, frontend: str, pooling: str) -> None:
    spec = FEATURES if FRONTENDS[frontend] == "features" else TOKENS
    assert_padding_changes_nothing(make_model(variant, frontend, spec, pooling), draw(spec))


@per_variant_and_frontend_of_every_step
def test_padding_never_changes_the_output_at_a_step(variant: str, frontend: str) -> None:
    spec = FEATURES_PER_STEP if FRONTENDS[frontend] == "features" else TOKENS_PER_STEP
    assert_padding_changes_nothing(make_model(variant, frontend, spec), draw(spec))


def trained_once(model: SequenceModule, sequences: list[Tensor], num_steps: int, fill: float) -> dict[str, Tensor]:
    """Return the training loss, all gradients and all statistics after one batch."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    targets = torch.tensor([2, 0, 1])
    if model.task.is_per_step:
        targets = pad([torch.arange(n) % C for n in lengths], num_steps, 0)
        targets[torch.arange(num_steps) >= lengths[:, None]] = -1
    batch = Batch(pad(sequences, num_steps, fill), lengths, targets, lengths, torch.arange(3))
    model.train()
    loss = model.task.loss(model(batch.inputs, batch.input_lengths), batch)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    names = [name for name, _ in model.named_parameters()]
    return {"loss": loss.detach(), **dict(zip(names, gradients, strict=True)), **dict(model.named_buffers())}


def assert_more_padding_trains_the_same(variant: str, frontend: str, spec: DataSpec, pooling: str) -> None:
    sequences = draw(spec)
    expected = trained_once(make_model(variant, frontend, spec, pooling), sequences, max(LENGTHS), 0.0)
    assert len(expected) > 5
    for num_steps, fill in ((max(LENGTHS) + 4, 0.0), (max(LENGTHS) + 7, torch.nan)):
        found = trained_once(make_model(variant, frontend, spec, pooling), sequences, num_steps, fill)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-10, msg=partial("{}: {}".format, name))


@pytest.mark.parametrize(("variant", "frontend", "pooling"), covering(WITH_POOLING, strength=1))
def test_more_padding_changes_neither_loss_nor_gradients_nor_statistics(variant: str, frontend: str, pooling: str) -> None:
    assert_more_padding_trains_the_same(variant, frontend, FEATURES if FRONTENDS[frontend] == "features" else TOKENS, pooling)


@per_variant_and_frontend_of_every_step
def test_more_padding_changes_neither_loss_nor_gradients_of_targets_at_every_step(variant: str, frontend: str) -> None:
    spec = FEATURES_PER_STEP if FRONTENDS[frontend] == "features" else TOKENS_PER_STEP
    assert_more_padding_trains_the_same(variant, frontend, spec, "last")


@per_variant
def test_only_a_model_that_is_not_causal_knows_what_comes_later(variant: str) -> None:
    model = make_model(variant, "direct", FEATURES_PER_STEP).eval()
    values = draw(FEATURES_PER_STEP)[1][None].requires_grad_()
    model(values, torch.tensor([5]))[0, 2].sum().backward()
    assert values.grad is not None
    is_seen_T = values.grad[0].abs().sum(-1) > 0
    assert is_seen_T.tolist() == [True, True, True, not model.layer.is_causal, not model.layer.is_causal]
    assert model.layer.is_causal == ("birnn" not in variant and "is_causal=false" not in variant)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (FEATURES, (2, C)),
        (FEATURES_PER_STEP, (2, 5, C)),
        (REAL, (2, 2)),
    ],
)
@per_variant
def test_the_answer_has_the_size_that_the_targets_ask_for(variant: str, spec: DataSpec, shape: tuple[int, ...]) -> None:
    model = make_model(variant, "direct", spec)
    assert model(torch.zeros(2, 5, F, dtype=torch.float64), torch.tensor([5, 4])).shape == shape


@pytest.mark.parametrize(("quantiles", "size"), [([], 2), ([0.1, 0.5, 0.9], 6)])
def test_quantiles_widen_the_answer(quantiles: list[float], size: int) -> None:
    node = composed("model=gru", "direct")
    node = node | {"head": node["head"] | {"quantiles": quantiles}}
    assert recipe(node, "model")(REAL)(torch.zeros(2, 5, F), torch.tensor([5, 4])).shape == (2, size)


@pytest.mark.parametrize("frontend", [name for name, accepts in FRONTENDS.items() if accepts == "features"])
def test_tokens_to_a_front_end_for_features_are_refused_with_what_to_do(frontend: str) -> None:
    message = rf"frontend={frontend} takes features, but data=toy gives tokens: choose another frontend"
    with pytest.raises(ValueError, match=message):
        make_model("model=gru", frontend, TOKENS)


def test_features_to_an_embedding_are_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"frontend=embedding takes tokens, but data=toy gives features: choose another"):
        make_model("model=gru", "embedding", FEATURES)


def test_a_front_end_that_drops_steps_is_refused_where_every_step_has_a_target() -> None:
    message = r"data=toy has a target at every step, but frontend=convolution gives another number of steps: give time_strides \(or rep"
    with pytest.raises(ValueError, match=message):
        make_model("model=gru", "convolution", FEATURES_PER_STEP)


def test_a_convolution_that_keeps_every_step_answers_at_every_step() -> None:
    node = composed("model=gru", "convolution")
    node = node | {"frontend": node["frontend"] | {"time_strides": [1, 1]}}
    model: SequenceModule = recipe(node, "model")(FEATURES_PER_STEP)
    assert_padding_changes_nothing(model.double(), draw(FEATURES_PER_STEP))


def test_the_head_drops_only_while_training() -> None:
    node = composed("model=gru", "direct")
    model: SequenceModule = recipe(node | {"head": node["head"] | {"dropout": 0.5}}, "model")(FEATURES)
    torch.manual_seed(0)
    inputs, lengths = torch.randn(2, 5, F), torch.tensor([5, 4])
    plain = model.eval()(inputs, lengths)
    assert torch.equal(model(inputs, lengths), plain)
    assert not torch.equal(model.train()(inputs, lengths), plain)


def test_the_l1_norm_sums_absolute_weights_of_matrices_and_leaves_biases() -> None:
    model = make_model("model=gru", "direct", FEATURES)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(-0.5 if parameter.ndim > 1 else 100.0)
    num_weights = 3 * H * (F + H) + 3 * H * (H + H) + C * 2 * H  # two layers of three gates, and the output over mean and max
    assert model.l1_norm().item() == pytest.approx(0.5 * num_weights)


# Sequences of tokens, by CTC

WORDS = (*SPECIALS, "k", "l", "m")
SPOKEN = DataSpec("toy", "features", F, "tokens", 7, WORDS, goal="transcribe", max_target_length=4, is_monotonic=True)
SPELLED = DataSpec("toy", "tokens", V, "tokens", 7, WORDS, goal="pronounce", max_target_length=4, is_monotonic=True)
PLAIN: dict[str, Any] = {"label_smoothing": 0.0, "class_weights": "none"}
SAID = [[4], [6, 5], [5, 5, 4, 6]]


def spoken(spec: DataSpec, num_steps: int = max(LENGTHS), num_tokens: int = 4) -> Batch:
    """Return the drawn sequences and what they say, as a batch."""
    targets = torch.tensor([[*said, *(num_tokens - len(said)) * [0]] for said in SAID])
    lengths, target_lengths = torch.tensor(LENGTHS), torch.tensor([len(said) for said in SAID])
    inputs = pad(draw(spec), num_steps, 0.0)
    return Batch(inputs, lengths, targets, target_lengths, torch.arange(3), references=3 * (("",),))


def silenced(model: SequenceModule) -> SequenceModule:
    """Take away the log, which only a trainer keeps."""
    model.log = lambda *words, **settings: None
    return model


@per_variant_and_frontend
def test_padding_never_changes_the_logits_at_valid_steps_of_ctc(variant: str, frontend: str) -> None:
    spec = SPOKEN if FRONTENDS[frontend] == "features" else SPELLED
    model = make_model(variant, frontend, spec, **PLAIN).eval()
    with torch.no_grad():
        for sequence in (sequences := draw(spec)):
            alone, (length,) = model.with_lengths(sequence[None], torch.tensor([len(sequence)]))
            assert alone.shape == (1, length, len(WORDS))
            for num_steps, fill in ((9, 0.0), (14, 1e3), (12, torch.nan)):
                padded, lengths = model.with_lengths(pad(sequences, num_steps, fill), torch.tensor(LENGTHS))
                place = LENGTHS.index(len(sequence))
                assert lengths[place] == length
                torch.testing.assert_close(padded[place, :length], alone[0], rtol=0, atol=1e-10)


@per_variant_and_frontend
def test_more_padding_of_inputs_and_targets_changes_neither_loss_nor_gradients_of_ctc(variant: str, frontend: str) -> None:
    spec = SPOKEN if FRONTENDS[frontend] == "features" else SPELLED

    def trained(num_steps: int, num_tokens: int) -> list[Tensor]:
        model = silenced(make_model(variant, frontend, spec, **PLAIN)).train()
        loss = model.training_loss(spoken(spec, num_steps, num_tokens))
        return [loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))]

    for found, expected in zip(trained(15, 7), trained(9, 4), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)  # CTC works in single precision


@per_variant
def test_the_loss_is_that_of_ctc_and_the_same_while_answering(variant: str) -> None:
    model, batch = silenced(make_model(variant, "direct", SPOKEN, **PLAIN)).eval(), spoken(SPOKEN)
    with torch.no_grad():
        logits_BTV, lengths_B = model.with_lengths(batch.inputs, batch.input_lengths)
        by_hand = torch.nn.functional.ctc_loss(
            logits_BTV.log_softmax(-1).transpose(0, 1), batch.targets, lengths_B, batch.target_lengths, blank=0, reduction="sum"
        )
        answered = model.predict(batch)
        assert isinstance(answered, Decoded) and answered.loss is not None
        assert model.training_loss(batch).item() == pytest.approx(by_hand.item() / 7, rel=1e-5)
        assert answered.loss.item() == pytest.approx(by_hand.item() / 7, rel=1e-5)
        batch.targets, batch.target_lengths = torch.zeros(3, 0, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
        assert model.predict(batch).loss is None


@per_variant
def test_a_glance_is_the_best_path_and_an_answer_is_searched_for(variant: str) -> None:
    model, batch = make_model(variant, "direct", SPOKEN, **PLAIN).eval(), spoken(SPOKEN)
    model.decoding = Decoding(beam_size=4, length_penalty=0.0, num_best=3)
    with torch.no_grad():
        outputs = model.with_lengths(batch.inputs, batch.input_lengths)
        greedy, answer = model.predict_greedy(batch), model.predict(batch)
    assert greedy.hypotheses == [[found] for found in ctc.greedy(*outputs)]
    assert answer.hypotheses == ctc.prefix_beam_search(*outputs, 4, 3)
    assert all(1 <= len(found) <= 3 for found in answer.hypotheses)
    assert any(len(found) == 3 for found in answer.hypotheses)


@pytest.mark.slow
@pytest.mark.parametrize("variant", OF_KERNELS)
def test_ctc_learns_what_comes_in_the_order_of_the_inputs(variant: str) -> None:
    model, batch = silenced(make_model(variant, "direct", SPOKEN, **PLAIN)).train(), spoken(SPOKEN)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    with torch.no_grad():
        before = model.training_loss(batch).item()
    for _ in range(150):
        optimizer.zero_grad()
        loss = model.training_loss(batch)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3 < before
    answers = model.eval().predict(batch).hypotheses
    assert [found[0].tokens for found in answers] == SAID


@per_variant
def test_ctc_refuses_targets_in_another_order_than_the_inputs(variant: str) -> None:
    message = r"^data=toy has targets that don't come in the order of the inputs: CTC, by which all .*; choose model=seq2seq$"
    with pytest.raises(ValueError, match=message):
        make_model(variant, "direct", replace(SPOKEN, is_monotonic=False), **PLAIN)


def test_ctc_refuses_label_smoothing_and_class_weights() -> None:
    with pytest.raises(ValueError, match=r"^model.regularisation.label_smoothing means nothing to CTC: leave it out, or choose model=seq"):
        make_model("model=gru", "direct", SPOKEN, **PLAIN | {"label_smoothing": 0.1})
    with pytest.raises(ValueError, match=r"^data=toy has sequences of tokens, for which model.regularisation.class_weights mean nothing"):
        make_model("model=gru", "direct", SPOKEN, **PLAIN | {"class_weights": "balanced"})


BATCH = Batch(torch.randn(2, 5, F), torch.tensor([5, 4]), torch.tensor([2, 0]), torch.tensor([1, 1]), torch.arange(2))


def make_trainer(max_epochs: int = 2) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu", max_epochs=max_epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip


def loader(batches: list[Batch]) -> DataLoader:
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]  # PyTorch takes a list as a data set


def fit(model: SequenceModule, trainer: pl.Trainer, batch: Batch = BATCH) -> None:
    trainer.fit(model, loader([batch] * 3), loader([batch]))


quiet = pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*smaller than the logging interval.*")


@quiet
def test_a_frozen_table_stays_as_it_is_while_all_else_learns() -> None:
    node = composed("model=gru", "embedding")
    model: SequenceModule = recipe(node | {"frontend": node["frontend"] | {"is_frozen": True, "num_ngrams": []}}, "model")(TOKENS)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.optimization = Optimization(partial(torch.optim.SGD, lr=0.1), partial(constant, warmup_fraction=0.0))
    tokens = Batch(torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([3, 2]), BATCH.targets, BATCH.target_lengths, BATCH.example_ids)
    fit(model, make_trainer(), tokens)
    unchanged = [name for name, value in model.state_dict().items() if torch.equal(value, before[name])]
    assert unchanged == ["frontend.table.weight"]


@quiet
def test_the_step_adds_l1_to_what_is_minimised_but_not_to_what_is_logged() -> None:
    model = make_model("model=gru", "direct", FEATURES, l1=0.01).float()
    model.optimization = Optimization(partial(torch.optim.SGD, lr=0.0), partial(constant, warmup_fraction=0.0))
    trainer = make_trainer()
    fit(model, trainer)
    with torch.no_grad():
        loss = model.task.loss(model(BATCH.inputs, BATCH.input_lengths), BATCH).item()
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(loss, rel=1e-5)
    model.log = lambda *words, **settings: None
    minimised = model.training_step(BATCH, 0).item()
    assert minimised == pytest.approx(loss + 0.01 * model.l1_norm().item(), rel=1e-5)


@quiet
def test_validation_logs_the_tasks_metrics() -> None:
    model = make_model("model=gru", "direct", FEATURES).float()
    model.optimization = Optimization(partial(torch.optim.SGD, lr=0.0), partial(constant, warmup_fraction=0.0))
    trainer = make_trainer()
    fit(model, trainer)
    guessed = model.eval()(BATCH.inputs, BATCH.input_lengths).argmax(-1)
    assert trainer.callback_metrics["val/accuracy"].item() == pytest.approx((guessed == BATCH.targets).float().mean().item())
    assert {"val/loss", "val/f1_macro", "val/f1/a"} <= set(trainer.callback_metrics)


@quiet
def test_the_validation_loss_is_the_mean_over_all_valid_steps_however_they_are_batched() -> None:
    model = make_model("model=gru", "direct", FEATURES_PER_STEP).float()
    torch.manual_seed(0)
    inputs, lengths = torch.randn(2, 5, F), torch.tensor([5, 1])
    targets = torch.tensor([[0, 2, 1, 1, 0], [2, -1, -1, -1, -1]])
    batches = [Batch(inputs[i : i + 1], lengths[i : i + 1], targets[i : i + 1], lengths[i : i + 1], torch.tensor([i])) for i in (0, 1)]
    found = make_trainer().validate(model, loader(batches), verbose=False)[0]
    outputs = model(inputs, lengths)
    expected = torch.nn.functional.cross_entropy(torch.cat([outputs[0], outputs[1, :1]]), torch.tensor([0, 2, 1, 1, 0, 2]))
    assert found["val/loss"] == pytest.approx(expected.item())


@quiet
def test_a_plateau_schedule_steps_once_an_epoch_on_the_tasks_own_metric() -> None:
    model = make_model("model=gru", "direct", FEATURES).float()
    model.optimization = Optimization(partial(torch.optim.SGD, lr=1e-12), partial(plateau, factor=0.5, patience=0))
    trainer = make_trainer(max_epochs=4)
    fit(model, trainer)
    settings = trainer.lr_scheduler_configs[0]
    assert settings.monitor == "val/accuracy"
    assert settings.scheduler.mode == "max"
    # The first measurement is the best; none of the three that follow is better.
    assert settings.scheduler.get_last_lr() == [pytest.approx(0.5**3 * 1e-12)]


def test_training_without_a_recipe_for_the_optimizer_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"set `optimization` before training"):
        make_model("model=gru", "direct", FEATURES).configure_optimizers()


@quiet
def test_training_without_an_end_is_refused_with_what_to_give() -> None:
    model = make_model("model=gru", "direct", FEATURES).float()
    model.optimization = Optimization(partial(torch.optim.SGD, lr=0.1), partial(constant, warmup_fraction=0.0))
    with pytest.raises(ValueError, match=r"a schedule needs an end: give trainer.max_epochs or trainer.max_steps"):
        fit(model, make_trainer(max_epochs=-1))
