"""Claims about tags with an intent: the loss by its formula, metrics by hand, and what a network answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from rnnlab.baselines.base import BaselineSettings
from rnnlab.baselines.tags import HiddenMarkov
from rnnlab.commands import train as run
from rnnlab.contracts import IGNORED_TARGET, Batch, DataSpec, TagsWithIntent
from rnnlab.evaluation.bundle import load_bundle
from rnnlab.evaluation.streaming import Stream
from rnnlab.models.baseline import unanswerable
from rnnlab.tasks import Loss, Regularisation, TagAndIntent, make_task

SPEC = DataSpec(
    "tags", "tokens", 9, "class_per_step", 3, ("B-A", "I-A", "O"), class_counts=(1, 1, 1), scheme="bio",
    intents=("go", "stay"), intent_counts=(3, 1),
)  # fmt: skip
PLAIN = Regularisation(0.0, "none", 0.0)


def task(weight: float = 1.0) -> TagAndIntent:
    found = make_task(SPEC, PLAIN, loss=Loss(None, 0.0, 1.0, weight))
    assert isinstance(found, TagAndIntent)
    return found


def batch_of(targets: list[list[int]], intents: list[int]) -> Batch:
    lengths = torch.tensor([len(row) for row in targets])
    targets_BT = torch.full((len(targets), int(lengths.max())), IGNORED_TARGET)
    for place, row in enumerate(targets):
        targets_BT[place, : len(row)] = torch.tensor(row)
    return Batch(
        torch.ones_like(targets_BT), lengths, targets_BT, lengths.clone(), torch.arange(len(lengths)), intents=torch.tensor(intents)
    )


def drawn(batch: Batch) -> TagsWithIntent:
    generator = torch.Generator().manual_seed(3)
    tags = torch.randn(*batch.targets.shape, 3, generator=generator)
    return TagsWithIntent(tags, torch.randn(batch.size, 2, generator=generator))


def test_the_loss_is_that_of_words_and_sentences_divided_by_the_words() -> None:
    batch = batch_of([[0, 1, 2], [2], [2, 0]], [0, 1, 1])
    outputs = drawn(batch)
    assert isinstance(outputs.tags, torch.Tensor)
    by_hand = 0.0
    for row, (targets, intent) in enumerate(zip([[0, 1, 2], [2], [2, 0]], [0, 1, 1], strict=True)):
        by_hand -= sum(float(outputs.tags[row, step].log_softmax(-1)[tag]) for step, tag in enumerate(targets))
        by_hand -= 0.5 * float(outputs.intent_BK[row].log_softmax(-1)[intent])
    assert float(task(0.5).loss(outputs, batch)) == pytest.approx(by_hand / 6)
    assert float(task(0.0).loss(outputs, batch)) == pytest.approx(float(task().tag.loss(outputs.tags, batch)))


def test_losses_of_the_shards_of_a_batch_add_up_to_its_own() -> None:
    rows, intents = [[0, 1, 2], [2], [2, 0]], [0, 1, 1]
    whole = batch_of(rows, intents)
    outputs, tagger, total, weights = drawn(whole), task(0.7), 0.0, 0.0
    assert isinstance(outputs.tags, torch.Tensor)
    for shard in (slice(0, 1), slice(1, 3)):
        part = batch_of(rows[shard], intents[shard])
        said = TagsWithIntent(outputs.tags[shard, : part.targets.shape[1]], outputs.intent_BK[shard])
        weight = float(tagger.loss_weight(part))
        total, weights = total + weight * float(tagger.loss(said, part)), weights + weight
    assert total / weights == pytest.approx(float(tagger.loss(outputs, whole)))


def test_a_sentence_is_right_if_its_intent_and_all_its_tags_are() -> None:
    batch = batch_of([[0, 1, 2], [2], [2, 0], [2, 2]], [0, 1, 1, 0])
    given = torch.tensor([[0, 1, 2], [2, 0, 0], [2, 2, 0], [2, 2, 0]])  # the third sentence has a wrong tag; what is beyond never counts
    intents = torch.tensor([0, 1, 1, 1])  # the fourth a wrong intent
    outputs = TagsWithIntent(9 * F.one_hot(given, 3).float(), 9 * F.one_hot(intents, 2).float())
    tagger = task()
    metrics = tagger.metrics()
    tagger.update(metrics, outputs, batch)
    numbers = tagger.flatten(metrics.compute())
    assert numbers["intent_accuracy"] == 3 / 4 and numbers["sentence_accuracy"] == 2 / 4
    assert numbers["f1"] == pytest.approx(2 / 3)  # one of two entities is found, and nothing else is given
    table = pd.DataFrame({**tagger.target_columns(batch), **tagger.columns(outputs, batch)}).assign(example_id=list("abcd"), group="")
    assert table["intent"].tolist() == ["go", "stay", "stay", "stay"] and table["target_intent"].tolist() == ["go", "stay", "stay", "go"]
    found = tagger.table_metrics(table)
    assert found["intent_accuracy_low"] < 0.75 < found["intent_accuracy_high"]
    assert found["sentence_accuracy_low"] < 0.5 < found["sentence_accuracy_high"]
    assert np.isfinite(list(found.values())).all()


def test_counting_taggers_refuse_a_second_target() -> None:
    assert "second target, the intent" in str(HiddenMarkov(SPEC, BaselineSettings("hidden_markov", None, 1)).refusal())
    assert "data.with_intent=false" in unanswerable(SPEC)


TINY = (
    "data=tags",
    "data.source=sample",
    "data.with_intent=true",
    "trainer.max_epochs=2",
    "trainer.num_threads=1",
    "tracking.log_model=false",
)


@pytest.mark.parametrize("words", ["model=lstm", "model=birnn model.head.has_crf=true model.regularisation.activation=0.1"])
def test_a_run_answers_both_and_so_does_what_it_leaves(compose: Callable[..., Any], root: Path, words: str) -> None:
    before = set((root / "outputs").glob("*"))
    run.train(compose(*TINY, *words.split(), "model.recurrence.hidden_size=6"))
    (folder,) = set((root / "outputs").glob("*")) - before
    kept = pd.read_parquet(folder / "artifacts/predictions/test.parquet")
    assert {"prediction", "intent", "intent_confidence", "target_intent", "num_true"} <= set(kept.columns)
    bundle = load_bundle(folder / "artifacts/bundle")
    sentences = ["Ada sailed to Silvik with oil .", "It rained all day , and no ship came ."]
    both = bundle.predict(sentences)
    assert both["intent"].isin(["building", "trade", "voyage", "weather"]).all()
    assert [len(row) for row in both["tags"]] == [7, 10]
    alone = pd.concat([bundle.predict([each]) for each in sentences], ignore_index=True)  # padding changes nothing
    assert alone["tags"].tolist() == both["tags"].tolist() and alone["intent"].tolist() == both["intent"].tolist()
    np.testing.assert_allclose(alone["intent_confidence"], both["intent_confidence"], rtol=1e-5)


def test_a_sentence_that_is_still_read_has_tags_and_no_intent_yet(compose: Callable[..., Any], root: Path) -> None:
    before = set((root / "outputs").glob("*"))
    run.train(compose(*TINY, "model=gru", "model.recurrence.hidden_size=5"))
    (folder,) = set((root / "outputs").glob("*")) - before
    bundle = load_bundle(folder / "artifacts/bundle")
    _, batch = bundle.reader.read(["Ada sailed to Silvik ."])
    stream = Stream(bundle.model)
    found = [stream.answer(batch, step, step + 1)["prediction"].iloc[0].tolist() for step in range(5)]
    whole = bundle.predict(["Ada sailed to Silvik ."])
    assert [bundle.model.spec.label_names[row[0]] for row in found] == whole["tags"].iloc[0]
