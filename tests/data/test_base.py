"""Claims about what every data module shares, and the questions that each data set of conf/data is put through."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tests.data.bundled import through_json
from tests.lanes import some

from rnnlab.config import recipe
from rnnlab.contracts import IGNORED_TARGET, PAD, SPECIALS, UNKNOWN, Batch, DataSpec, valid_mask
from rnnlab.data.base import SPLITS, SequenceDataModule, Split
from rnnlab.data.inputs import WrittenReader
from rnnlab.data.labelled import LabelledData
from rnnlab.data.prepared import Prepared
from rnnlab.data.series.base import WindowedData
from rnnlab.data.series.sequences import SequencesData
from rnnlab.data.sources.fetching import AnyUpstream, SourceError, SourceUnavailable, UpstreamFiles
from rnnlab.data.streams import RunningText
from rnnlab.data.targets import TokenTargets
from rnnlab.data.text.classification import TextReader
from rnnlab.data.text.language import LanguageData
from rnnlab.paths import HOME
from rnnlab.settings import TrainSettings

SAMPLES = HOME / "data" / "samples"

# What every data set of conf/data answers, offline: from the bundled sample of its kind, where it is not generated

NAMES = sorted(path.stem for path in (HOME / "conf" / "data").glob("*.yaml"))
MODULES: dict[str, SequenceDataModule] = {}
CONFIGS: dict[str, TrainSettings] = {}


KINDS = (
    "adding",
    "copying",
    "dictation",
    "events",
    "music",
    "parity",
    "pronunciation",
    "series",
    "speech",
    "stock",
    "summaries",
    "tags",
    "text",
    "translation",
)
"""Data sets that have a module of their own; the others, in the slow lane, are those modules with other settings."""


@pytest.fixture(params=some(NAMES, KINDS))
def module(request: pytest.FixtureRequest, compose: Callable[..., TrainSettings]) -> SequenceDataModule:
    """Set each data set up once."""
    name: str = request.param
    if name not in MODULES:
        config = compose(f"data={name}")
        if has_source(config):
            config = compose(f"data={name}", "data.source=sample", "data.offline=true")
        if "target_language" in config.data.values:
            config.data.values["target_language"] = "de"  # the sample's, whatever the named source has
        CONFIGS[name] = config
        MODULES[name] = another(name)
        MODULES[name].setup()
    return MODULES[name]


def another(name: str, source: str = "sample", data: Path | None = None) -> SequenceDataModule:
    """Make a data set of conf/data anew, perhaps of another source or in another place."""
    config = CONFIGS[name]
    paths = config.paths if data is None else replace(config.paths, data=data)
    changed = {"source": source} if has_source(config) else {}
    found: SequenceDataModule = recipe({**config.data.values, **changed}, "data")(paths, 3)
    return found


def has_source(config: TrainSettings) -> bool:
    return "source" in config.data.values


def check_targets(batch: Batch, spec: DataSpec, is_training: bool) -> None:
    targets = batch.targets
    assert batch.target_lengths.dtype == torch.int64 and batch.target_lengths.shape == (batch.size,)
    if spec.target_kind == "real":
        assert targets.dtype == torch.float64 and targets.shape == (batch.size, spec.target_size)
        assert targets.isfinite().all() and (batch.target_lengths == 1).all()
        check_reference(batch, spec)
        return
    if spec.target_kind == "labels_per_step":
        assert targets.dtype == torch.float32 and targets.shape == (*batch.inputs.shape[:2], spec.target_size)
        assert torch.equal(batch.target_lengths, batch.input_lengths)
        assert ((targets == 0) | (targets == 1)).all() and not targets[~valid_mask(batch.target_lengths, targets.shape[1])].any()
        return
    assert targets.dtype == torch.int64 and batch.reference is None
    if spec.target_kind == "tokens":
        check_tokens(batch, spec, is_training)
        return
    assert batch.references is None
    if spec.target_kind == "class":
        assert targets.shape == (batch.size,) and (batch.target_lengths == 1).all()
        valid = torch.ones_like(targets, dtype=torch.bool)
    else:
        assert torch.equal(batch.target_lengths, batch.input_lengths)
        valid = valid_mask(batch.target_lengths, targets.shape[1])
        assert (targets[~valid] == IGNORED_TARGET).all()
    assert ((targets[valid] >= 0) & (targets[valid] < spec.target_size)).all()


def check_tokens(batch: Batch, spec: DataSpec, is_training: bool) -> None:
    targets_BS, lengths_B = batch.targets, batch.target_lengths
    assert targets_BS.shape == (batch.size, int(lengths_B.max())) and lengths_B.min() >= 1
    is_valid_BS = valid_mask(lengths_B, targets_BS.shape[1])
    assert (targets_BS[~is_valid_BS] == PAD).all()
    tokens = targets_BS[is_valid_BS]  # neither padding nor start nor stop is one
    assert ((tokens == UNKNOWN) | (tokens >= len(SPECIALS))).all() and (tokens < spec.target_size).all()
    if is_training:
        assert batch.references is None and lengths_B.max() <= spec.max_target_length
    else:
        assert batch.references is not None and len(batch.references) == batch.size
        assert all(texts and all(isinstance(text, str) and text for text in texts) for texts in batch.references)


def check_reference(batch: Batch, spec: DataSpec) -> None:
    assert batch.reference is not None
    for part in vars(batch.reference).values():
        assert part.dtype == torch.float64 and part.shape == (batch.size, spec.target_size) and part.isfinite().all()
    assert (batch.reference.scale > 0).all()


def check_inputs(batch: Batch, spec: DataSpec) -> None:
    inputs, lengths_B = batch.inputs, batch.input_lengths
    num_steps = inputs.shape[1]
    assert lengths_B.dtype == torch.int64 and lengths_B.shape == (batch.size,)
    assert lengths_B.min() >= 1 and lengths_B.max() <= num_steps
    padding_BT = ~valid_mask(lengths_B, num_steps)
    if spec.input_kind == "features":
        assert inputs.dtype == torch.float32 and inputs.shape == (batch.size, num_steps, spec.input_size)
        assert inputs.isfinite().all() and inputs[~padding_BT].any()
    else:
        assert inputs.dtype == torch.int64 and inputs.shape[:2] == (batch.size, num_steps)
        assert inputs.ndim == (3 if spec.num_characters else 2)
        if spec.num_characters:
            characters = inputs[..., 1:]
            assert characters.min() >= 0 and characters.max() < spec.num_characters and characters[~padding_BT][:, 0].all()
            assert not characters[padding_BT].any()
            inputs = inputs[..., 0]
        assert inputs.min() >= 0 and inputs.max() < spec.input_size
        assert (inputs[~padding_BT] > 0).all()  # 0 is padding's alone
    assert not inputs[padding_BT].any()


def test_every_batch_keeps_the_contract(module: SequenceDataModule) -> None:
    spec = module.make_spec()
    for split, loader in zip(SPLITS, (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()), strict=True):
        ids = []
        sizes = [batch.size for batch in loader]
        assert len(sizes) == len(loader)
        for batch in loader:
            check_inputs(batch, spec)
            check_targets(batch, spec, is_training=split == "train")
            assert batch.example_ids.dtype == torch.int64 and 1 <= batch.size <= module.loader.batch_size  # type: ignore[attr-defined]  # all have it
            ids += batch.example_ids.tolist()
        is_parts = module.is_stream and split == "train"  # parts of streams, whose length is a setting, and no examples
        assert sorted(ids) == (list(range(len(ids))) if is_parts else sorted(module.rows[split].tolist()))


def test_splits_are_disjoint_and_none_is_empty(module: SequenceDataModule) -> None:
    parts = [set(module.rows[split].tolist()) for split in SPLITS]
    assert all(parts) and len(set.union(*parts)) == sum(map(len, parts))
    assert set.union(*parts) <= set(range(len(module.examples)))


def test_every_example_has_an_id_of_its_own_and_a_length(module: SequenceDataModule) -> None:
    assert module.examples["id"].is_unique and len(module.lengths) == len(module.examples) and module.lengths.min() >= 1


def test_the_spec_says_what_the_data_are(module: SequenceDataModule) -> None:
    spec = module.make_spec()
    assert spec.name == module.name and spec.input_size >= 1 and spec.target_size >= 1
    assert len(set(spec.label_names)) == len(spec.label_names) == spec.target_size
    if spec.target_kind in ("real", "tokens"):
        assert spec.class_counts == ()
    else:
        assert len(spec.class_counts) == spec.target_size
    if spec.target_kind == "class":
        assert sum(spec.class_counts) == len(module.rows["train"])
    assert (spec.goal not in (None, "continue")) == (spec.target_kind == "tokens") == isinstance(module, TokenTargets)
    assert (spec.goal == "continue") == isinstance(module, RunningText)
    if spec.target_kind == "tokens":
        assert spec.label_names[: len(SPECIALS)] == SPECIALS
    if spec.feature_names:
        assert len(set(spec.feature_names)) == len(spec.feature_names) == spec.input_size


def test_training_batches_follow_from_seed_and_epoch(module: SequenceDataModule) -> None:
    def first(epoch: int) -> Batch:
        loader = module.train_dataloader()
        loader.sampler.set_epoch(epoch)
        return next(iter(loader))

    one, same, other = first(1), first(1), first(2)
    assert torch.equal(one.inputs, same.inputs) and torch.equal(one.example_ids, same.example_ids)
    if not isinstance(module, RunningText):  # a single text is read in its order
        assert not torch.equal(one.example_ids, other.example_ids)


def test_evaluation_gives_the_same_batches_in_every_epoch(module: SequenceDataModule) -> None:
    loader = module.plain_dataloader("train")
    first = next(iter(loader))
    loader.sampler.set_epoch(5)
    again = next(iter(loader))
    assert torch.equal(first.inputs, again.inputs) and torch.equal(first.example_ids, again.example_ids)


def test_the_description_is_pairs_of_words(module: SequenceDataModule) -> None:
    pairs = module.describe()
    assert pairs and all(isinstance(name, str) and isinstance(text, str) and text for name, text in pairs)
    assert module.group_column in module.examples
    assert {name: len(value) >= 16 for name, value in module.hashes.items()} == dict.fromkeys(
        ("source_hash", "prepared_key", "test_hash"), True
    )


def test_what_is_shown_is_one_line_an_example(module: SequenceDataModule) -> None:
    rows = module.rows["test"][:3]
    shown = module.shown(rows)
    assert shown is None or (len(shown) == 3 and all(shown))


# The bundle: what a raw input becomes, read without the data module


def wanted_and_found(module: SequenceDataModule, tmp_path: Path) -> tuple[Batch, Batch]:
    """Return a batch of the loader's, and the same examples read from raw by its reader."""
    reader = through_json(module.reader())
    inputs: list[str]
    if isinstance(module, WindowedData):
        rows, inputs = truncated_tables(module, tmp_path)
    elif isinstance(reader, TextReader):
        rows = module.rows["test"][[0, 17, 5]]
        lines = [int(name.rpartition(":")[2]) for name in module.examples["id"].iloc[rows]]
        table = pd.read_csv(SAMPLES / "text" / "headlines.csv")  # no record over several lines: line 2 is row 0
        inputs = [table["text"].iloc[line - 2] for line in lines]
    elif isinstance(module, RunningText):
        rows = module.rows["test"][:1]
        inputs = [module.joined(module.collate(rows, epoch=0, is_training=False).inputs[0].numpy())]
    elif isinstance(module, SequencesData):
        rows, inputs = np.arange(len(module.examples)), reader.collect([str(SAMPLES / module.sample)], None)
    elif isinstance(reader, WrittenReader):
        rows = module.rows["test"][[0, 17, 5]]
        inputs = module.shown(rows) or []
    elif reader.kind == "music":
        rows = module.rows["test"][[0, 7, 5]]
        inputs = [str(SAMPLES / "music" / f"{name}.csv") for name in module.examples["id"].iloc[rows]]
    else:
        rows = module.rows["test"][[0, 17, 5]]
        inputs = [str(SAMPLES / module.sample / name) for name in module.examples["id"].iloc[rows]]
    names, found = reader.read(inputs)
    assert len(names) == found.size == len(rows)
    return module.collate(rows, epoch=0, is_training=False), found


def texts_of(module: LanguageData) -> list[str]:
    """Return the text of each split."""
    return [module.joined(module.streams[split]) for split in SPLITS]


def truncated_tables(module: WindowedData, tmp_path: Path) -> tuple[np.ndarray, list[str]]:
    """Cut each table of the sample after the last forecast whose target is known; return the rows of these forecasts."""
    later, inputs, rows = max(module.horizons), [], []
    for number, file in enumerate(sorted((SAMPLES / module.sample).glob("*.csv"))):
        lines = file.read_text().splitlines()
        (tmp_path / file.name).write_text("\n".join(lines[:-later]) + "\n")
        inputs.append(str(tmp_path / file.name))
        rows.append(np.flatnonzero(module.index["number"] == number)[-1])
    return np.array(rows), inputs


def test_the_bundle_is_json_that_reads_a_raw_input_as_the_loader_does(module: SequenceDataModule, tmp_path: Path) -> None:
    wanted, found = wanted_and_found(module, tmp_path)
    num_more = int(module.make_spec().target_kind == "labels_per_step")  # the last step, whose answer is to what follows, is an input, too
    assert torch.equal(found.input_lengths, wanted.input_lengths + num_more)
    if num_more:
        assert torch.equal(found.target_lengths, wanted.target_lengths)
        found = replace(found, inputs=found.inputs[:, :-1] * valid_mask(wanted.input_lengths, wanted.inputs.shape[1])[..., None])
        found.input_lengths = wanted.input_lengths
    if isinstance(module, WindowedData):
        assert torch.equal(found.inputs, wanted.inputs)
        assert found.reference is not None and wanted.reference is not None
        for name in ("offset", "scale", "persistence"):
            assert torch.equal(getattr(found.reference, name), getattr(wanted.reference, name)), name
    elif found.inputs.dtype == torch.int64:
        assert torch.equal(found.inputs, wanted.inputs)
    else:
        torch.testing.assert_close(found.inputs, wanted.inputs[:, : found.inputs.shape[1]], atol=1e-5, rtol=0)
    if isinstance(module, RunningText):  # what follows each token but the last is in the text
        assert torch.equal(found.targets[:, :-1], wanted.targets[:, :-1]) and (found.targets[:, -1] == IGNORED_TARGET).all()
    if isinstance(module, TokenTargets):  # what is right is not known
        assert found.references is None and found.targets.shape == (found.size, 0) and not found.target_lengths.any()
    check_inputs(found, module.make_spec())


def test_a_served_models_example_is_made_up_and_read_and_a_path_is_no_content(module: SequenceDataModule) -> None:
    reader = through_json(module.reader())
    (column,) = reader.columns
    _, batch = reader.read([reader.sent(reader.made_up())])
    assert batch.size == 1 and batch.input_lengths.min() >= 1 and column in ("text", "csv", "audio")
    path = str(SAMPLES / "music" / "piece_01.csv")
    if column != "text":  # which is never a path
        with pytest.raises(ValueError, match=rf"the column {column} takes .*path"):
            reader.sent(path)
    with pytest.raises(ValueError, match=r"not int|bytes of a sound file"):
        reader.sent(3)


def test_predicting_on_the_training_source_answers_exactly_its_rows(module: SequenceDataModule) -> None:
    if not module.sample:
        return  # sequences are drawn, there is no source
    reader = through_json(module.reader())
    inputs = reader.collect([str(SAMPLES / module.sample)], None)
    if isinstance(module, WindowedData):
        assert [name.split()[0] for name in reader.read(inputs)[0]] == module.data.examples["id"].tolist()
        return
    if isinstance(module, SequencesData):
        names, found = reader.read(inputs)
        wanted = module.collate(np.arange(len(module.examples)), epoch=0, is_training=False)
        assert [name.rpartition("/")[2] for name in names] == [str(name).rpartition("/")[2] for name in module.examples["id"]]
        assert torch.equal(found.input_lengths, wanted.input_lengths)
        torch.testing.assert_close(found.inputs, wanted.inputs[:, : found.inputs.shape[1]], atol=1e-5, rtol=0)
        return
    if isinstance(module, LanguageData):
        cutter = module.cutter
        assert "".join(cutter.join(cutter.cut(text)) for text in inputs) == "".join(texts_of(module))
        return
    rows = np.arange(len(module.examples))
    if module.sample == "summaries":  # a text is one input, however many summaries it has
        rows = rows[~module.examples["source"].duplicated().to_numpy()]
    assert len(inputs) == len(rows)
    for place in (0, len(inputs) // 2, len(inputs) - 1):
        wanted, found = module.collate(rows[[place]], epoch=0, is_training=False), reader.read([inputs[place]])[1]
        num_steps = int(wanted.input_lengths[0])
        torch.testing.assert_close(found.inputs[:, :num_steps], wanted.inputs[:, :num_steps], atol=1e-5, rtol=0)


def test_a_module_made_anew_from_the_bundle_has_all_of_the_sample_as_test(module: SequenceDataModule) -> None:
    reader = through_json(module.reader())
    other = another(module.name)
    other.setup_as_test(reader)
    if isinstance(module, LanguageData):
        assert isinstance(other, LanguageData)
        assert module.joined(other.streams["test"]) == "".join(texts_of(module))
        return
    # A word is one example, however many pronunciations it has, and so is a text with its summaries.
    one_each = {"pronunciation": "word", "summaries": "source"}.get(module.sample, "id")
    assert [len(other.rows[split]) for split in SPLITS] == [0, 0, module.examples[one_each].nunique()]
    rows = module.rows["test"][:5]
    wanted, found = module.collate(rows, 0, is_training=False), other.collate(rows, 0, is_training=False)
    assert torch.equal(wanted.inputs, found.inputs) and torch.equal(wanted.targets, found.targets)
    assert wanted.references == found.references
    assert (other.make_spec().input_size, other.make_spec().label_names) == (module.make_spec().input_size, module.make_spec().label_names)


# Order of calls, sources and splits


def test_opened_data_are_asked_for_before_they_are_set_up(module: SequenceDataModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "prepared", None)
    with pytest.raises(RuntimeError, match=r"call setup\(\) first"):
        _: Prepared = module.data


@pytest.mark.parametrize(
    ("split", "rows", "message"),
    [
        (
            "val",
            [],
            r"^the val split is empty: \d+ examples are too few for data.split=.*; give more data, another split, or a `split` column$",
        ),
        ("val", "train", r"^an example is in two splits: this is an error in the data module, not in your data$"),
    ],
)
def test_splits_that_are_empty_or_overlap_are_refused(
    module: SequenceDataModule, monkeypatch: pytest.MonkeyPatch, split: Split, rows: object, message: str
) -> None:
    monkeypatch.setattr(module, "rows", {**module.rows, split: module.rows["train"] if rows == "train" else np.arange(0)})
    with pytest.raises(ValueError, match=message):
        module.check_splits()


def test_a_source_that_is_nowhere_lists_the_named_ones(module: SequenceDataModule) -> None:
    if not has_source(CONFIGS[module.name]):
        pytest.skip("generated: there is no source to name")
    named = ", ".join([*module.upstreams, "sample"])
    with pytest.raises(SourceError, match=rf"^data.source=nowhere/at/all: no such folder or file, nor a named source \({named}\)$"):
        another(module.name, "nowhere/at/all").setup()


def is_in_package(upstream: AnyUpstream) -> bool:
    return isinstance(upstream, UpstreamFiles) and upstream.is_in_package


def test_a_named_source_offline_and_without_a_mirror_is_unavailable_and_never_replaced(
    module: SequenceDataModule, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RNNLAB_MIRROR", raising=False)
    for name in {module.name} & {name for name, upstream in module.upstreams.items() if not is_in_package(upstream)}:
        with pytest.raises(SourceUnavailable, match=r"cannot be had: no mirror folder is set; http.* was not asked \(offline\)"):
            another(module.name, name, tmp_path).setup()


def test_labels_are_numbered_by_their_place_among_the_names(module: SequenceDataModule) -> None:
    if isinstance(module, LabelledData):
        rows = module.rows["test"]
        assert module.targets(rows) == module.examples["label"].iloc[rows].tolist()
        assert [module.label_names[label] for label in module.labels[rows]] == module.targets(rows)


FOLDED = ("dictation", "pronunciation", "sequences", "speech", "text", "translation")
"""Kinds of data that can be divided into folds, as a contract for all: what must stay together is asked of the module's own table."""


@pytest.mark.parametrize("name", FOLDED)
def test_every_example_is_tested_in_one_fold_and_what_is_alike_is_never_trained_and_tested(
    name: str, compose: Callable[..., TrainSettings]
) -> None:
    num_folds = 3
    words = ("data.source=sample", "data.offline=true", "data.split=kfold", f"data.num_folds={num_folds}")
    tested = list[str]()
    for fold in range(num_folds):
        config = compose(f"data={name}", *words, f"data.fold={fold}")
        found: SequenceDataModule = recipe(config.data.values, "data")(config.paths, 3)
        found.setup()
        keys = {split: alike(found, rows) for split, rows in found.rows.items()}
        assert all(len(rows) for rows in found.rows.values())
        assert not keys["test"] & (keys["train"] | keys["val"]) and not keys["val"] & keys["train"]
        tested += found.examples["id"].iloc[found.rows["test"]].tolist()
        assert f"fold {fold} of {num_folds} is test" in found.split_used
    assert len(tested) == len(set(tested))
    left_out = set(found.examples["id"]) - set(tested)  # further translations, pronunciations or copies of an example that is tested
    assert len(left_out) < len(found.examples) / 2


def alike(module: SequenceDataModule, rows: np.ndarray) -> set[str]:
    """Return what names each example and its likes: its group, speaker, word or content, of a text its letters."""
    table = module.examples.iloc[rows]
    columns = [name for name in ("group", "speaker", "word", "content", "text") if name in table and table[name].astype(str).ne("").all()]
    assert columns, f"nothing tells which examples of data={module.name} are alike: {list(table.columns)}"
    return {f"{name}:{str(value).lower()}" for name in columns for value in table[name]}


@pytest.mark.parametrize("name", FOLDED)
def test_a_fold_that_is_not_there_is_refused_with_those_that_are(name: str, compose: Callable[..., TrainSettings]) -> None:
    config = compose(f"data={name}", "data.source=sample", "data.offline=true", "data.split=kfold", "data.num_folds=3", "data.fold=3")
    with pytest.raises(ValueError, match=r"data\.fold=3: data\.num_folds=3, so folds are 0 to 2"):
        recipe(config.data.values, "data")(config.paths, 3).setup()
