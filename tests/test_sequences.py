"""Sequences as answers, by the user's commands: train, resume, score, predict; and what bad input is told."""

import io
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import soundfile
import torch
from mlflow import MlflowClient
from tests.lanes import some

from rnnlab.cli import quoted
from rnnlab.commands import predict as predict_command
from rnnlab.commands import score
from rnnlab.commands import train as run
from rnnlab.config import ConfigError
from rnnlab.paths import CONF
from rnnlab.settings import TrainSettings
from rnnlab.training import callbacks

Compose = Callable[..., Any]  # the settings of the command that `config_name` names
SAMPLES = CONF.parent / "data/samples"
SIZES = ("trainer=smoke", "trainer.max_epochs=1", "data.source=sample", "data.loader.batch_size=16", "tracking.log_model=false")
ENCODER = "model.recurrence.hidden_size=16"
DECODER = f"{ENCODER} model.decoder.hidden_size=16 model.decoder.embedding_size=16"
RUNS = {
    "translation": "model=seq2seq data=translation data.prepare.subword_size=150 model.tied_embeddings=all frontend.embedding_size=16 "
    f"model.attention=luong_general {DECODER}",
    "dictation": f"model=seq2seq data=dictation {DECODER}",
    "pronunciation": f"model=seq2seq cell=lstm cell@decoder_cell=gru model.attention=bahdanau data=pronunciation {DECODER}",
    "gru": f"model=gru data=dictation {ENCODER}",
    "lstm": f"model=lstm data=pronunciation frontend.repeats=3 {ENCODER}",
    "summary": f"model=seq2seq data=translation data.goal=summarise data.prepare.subword_size=150 frontend.embedding_size=16 {DECODER}",
    "plain": f"model=seq2seq model.attention=none data=pronunciation {DECODER}",
    "nearest": "model=baseline data=translation data.prepare.subword_size=150",
    "classes": f"model=gru data=text {ENCODER}",
}
SCORED = {
    "translation": {"chrf"},
    "dictation": {"word_errors", "num_words", "is_new"},
    "pronunciation": {"word_errors", "phone_errors", "num_phones"},
}
WITH_FIGURES = ("translation", "dictation", "lstm")
KIND = {"gru": "dictation", "lstm": "pronunciation", "plain": "pronunciation", "nearest": "translation"}


@pytest.fixture(scope="module")
def store() -> dict[str, Path]:
    """Hold the runs that the tests below look at, each trained once."""
    return {}


@pytest.fixture
def trained(store: dict[str, Path], compose: Compose, root: Path, request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """Return the folder of a small finished run."""

    def folder(name: str, with_figures: bool = False) -> Path:
        if is_drawn := with_figures or name in WITH_FIGURES:
            request.getfixturevalue("figures")
        if name not in store or is_drawn > (store[name] / "artifacts/errors.csv").exists():
            store[name] = train(compose(*RUNS[name].split(), *SIZES))
        return store[name]

    return folder


@pytest.fixture
def predict(trained: Callable[[str], Path], compose: Compose, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Predict with a run as a user types it, and return what stands on the screen."""

    def predicted(name: str, *words: str) -> str:
        config = compose(f"run={trained(name).name}", *words, config_name="predict")
        capsys.readouterr()
        predict_command.predict(config)
        return capsys.readouterr().out

    return predicted


def train(config: TrainSettings) -> Path:
    """Train and return the folder of the run."""
    outputs = config.paths.outputs
    before = set(outputs.glob("*"))
    run.train(config)
    (folder,) = set(outputs.glob("*")) - before
    return folder


def client(root: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{root / 'mlflow.db'}")


def a_recording() -> Path:
    return min((SAMPLES / "dictation/recordings").glob("*.flac"))


# What a run leaves


@pytest.mark.parametrize("name", some([*WITH_FIGURES, "pronunciation", "gru", "nearest"], ["translation", "lstm"]))
def test_a_run_leaves_errors_pictures_and_a_score_for_each_answer(name: str, trained: Callable[..., Path], root: Path) -> None:
    folder, kind = trained(name, with_figures=True), KIND.get(name, name)
    found = client(root).get_run(folder.name)
    assert (found.info.status, found.data.tags["task"]) == ("FINISHED", "transduce")
    measure = {"translation": "sacrebleu", "dictation": "wer", "pronunciation": "per"}[kind]
    assert {f"best/{measure}", f"test/{measure}", "test/loss"} <= set(found.data.metrics)
    assert {file.name for file in (folder / "artifacts").iterdir()} >= {"bundle", "errors.csv", "score_by_length.png", "predictions"}
    table = pd.read_parquet(folder / "artifacts/predictions/test.parquet")
    wanted = {"example_id", "group", "target", "references", "num_references", "prediction", "score", "num_tokens", "num_steps"}
    assert set(table.columns) >= wanted | SCORED[kind]
    assert len(table) == found.data.metrics["test/num_examples"] > 0
    assert all(row["target"] == row["references"][0] for row in table.to_dict("records"))
    assert len(list((folder / "artifacts/attention").glob("*.png"))) == (6 if name == kind else 0)
    assert ("text" in pd.read_csv(folder / "artifacts/errors.csv")) == (kind != "dictation")
    signatures = [text for tag, text in found.data.tags.items() if tag.startswith("signature.")]
    assert bool(signatures) == (kind == "translation") and all("version:" in text for text in signatures)


@pytest.mark.parametrize("name", ["translation", "dictation", "lstm"])
def test_samples_show_example_input_what_is_right_and_what_was_answered(name: str, trained: Callable[[str], Path], root: Path) -> None:
    folder = trained(name)
    (file,) = (folder / "artifacts/samples").glob("step_*.txt")
    assert file.name == "step_000004.txt"
    assert "samples/step_000004.txt" in {artifact.path for artifact in client(root).list_artifacts(folder.name, "samples")}
    blocks = file.read_text(encoding="utf-8").strip().split("\n\n")
    wanted = ["example", "right", "answer"] if name == "dictation" else ["example", "input", "right", "answer"]
    assert blocks and all([line.partition(" ")[0] for line in block.splitlines()] == wanted for block in blocks)


def test_word_errors_of_the_table_give_the_recorded_rate(trained: Callable[[str], Path], root: Path) -> None:
    folder = trained("gru")
    table = pd.read_parquet(folder / "artifacts/predictions/test.parquet")
    recorded = client(root).get_run(folder.name).data.metrics["test/wer"]
    assert table["word_errors"].sum() / table["num_words"].sum() == pytest.approx(recorded)


@pytest.mark.slow
def test_a_run_on_sequences_that_was_stopped_and_resumed_ends_with_the_same_weights(
    compose: Compose, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*RUNS["pronunciation"].split(), *SIZES[:1], *SIZES[2:], "trainer.max_epochs=2", "trainer.limit_train_batches=3"]
    words += ["callbacks.checkpoint.keep_last=true"]
    config = compose(*words, "model.teacher_forcing.first=0.9", "model.teacher_forcing.last=0.4", "model.decoding.beam_size=2")
    whole = train(config)

    def interrupt(self: object, trainer: pl.Trainer, *rest: object) -> None:
        if trainer.global_step == 4:
            signal.raise_signal(signal.SIGINT)

    outputs = config.paths.outputs
    before = set(outputs.glob("*"))
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Meter, "on_train_batch_end", interrupt)
        patch.setattr(callbacks.Meter, "numbers", lambda self: {"speed/examples_per_second": 0.0, "memory/peak_mb": 0.0})
        with pytest.raises(SystemExit):
            run.train(config)
    (folder,) = set(outputs.glob("*")) - before
    run.train(compose(f"resume={folder.name}"))
    ours, theirs = (torch.load(one / "last.ckpt", weights_only=True)["state_dict"] for one in (folder, whole))
    assert ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())
    found, wanted = (client(root).get_run(one.name).data.metrics for one in (folder, whole))
    assert {name: found[name] for name in wanted if name.startswith(("best/", "test/"))} == {
        name: value for name, value in wanted.items() if name.startswith(("best/", "test/"))
    }


def test_a_run_is_scored_on_other_pairs(
    trained: Callable[[str], Path], compose: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place(tmp_path, "mine.en", "the girl reads\na dog sleeps\n")
    place(tmp_path, "mine.de", "das Mädchen liest\nein Hund schläft\n")
    words = (f"run={trained('translation').name}", f"data.source={tmp_path / 'mine'}", f"output={tmp_path / 'scored.csv'}")
    score.score(compose(*words, config_name="score"))
    shown = capsys.readouterr().out
    assert "all 2 examples of" in shown and "sacrebleu" in shown
    assert sorted(pd.read_csv(tmp_path / "scored.csv")["target"]) == ["das Mädchen liest", "ein Hund schläft"]


@pytest.mark.slow
def test_summaries_are_scored_by_rouge_when_trained_and_later(
    trained: Callable[[str], Path], compose: Compose, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained("summary")
    metrics = client(root).get_run(folder.name).data.metrics
    assert {f"{stage}/rouge{kind}" for stage in ("val", "best", "test") for kind in "12L"} <= set(metrics)
    table = pd.read_parquet(folder / "artifacts/predictions/test.parquet")
    assert table["rougeL"].mean() == pytest.approx(metrics["test/rougeL"])
    place(tmp_path, "mine.en", "a long story of a dog\n")
    place(tmp_path, "mine.de", "ein Hund\n")
    score.score(compose(f"run={folder.name}", f"data.source={tmp_path / 'mine'}", config_name="score"))
    assert "all 1 examples of" in (shown := capsys.readouterr().out) and "rougeL" in shown


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("translation", {"mine.en": "a dog\n"}, r"mine\.\* has no language 'de'; it has: en\. Set data.source_language"),
        ("translation", {"mine.en": "a dog\n", "mine.de": "ein\nzwei\n"}, r"mine.en has 1 lines, .*mine.de has 2: line by line they must"),
        ("translation", {}, r"^data.source=.*mine: no such folder or file, nor a named source \(multi30k"),
        ("dictation", {}, r"^data.source=.*mine: no such folder or file, nor a named source \(an4"),
    ],
)
def test_scoring_says_what_is_wrong_with_other_data(
    name: str, files: dict[str, str], message: str, trained: Callable[[str], Path], compose: Compose, tmp_path: Path
) -> None:
    for file, content in files.items():
        place(tmp_path, file, content)
    with pytest.raises(ValueError, match=message):
        score.score(compose(f"run={trained(name).name}", f"data.source={tmp_path / 'mine'}", config_name="score"))


# Predicting


SENTENCES = ["the women have eaten two old eggs", "a dog sleeps", "the child is standing on the bridge now"]


def test_a_file_standard_input_and_a_sentence_alone_are_answered_alike(
    predict: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = place(tmp_path, "mine.txt", "\n".join(SENTENCES) + "\n\n")
    from_file = json.loads(predict("translation", f"input={file}", "format=json"))
    assert [row["input"] for row in from_file] == SENTENCES and set(from_file[0]) == {"input", "prediction", "score", "num_tokens"}
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(SENTENCES)))
    piped = json.loads(predict("translation", "input=-", "format=json"))
    (alone,) = json.loads(predict("translation", f"text='{SENTENCES[1]}'", "format=json"))
    for one, other in [*zip(from_file, piped, strict=True), (from_file[1], alone)]:
        assert (one["input"], one["prediction"]) == (other["input"], other["prediction"])
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)


@pytest.mark.parametrize("name", ["translation", "pronunciation", "lstm"])
def test_the_three_best_come_with_falling_scores_in_every_format(name: str, predict: Callable[..., str]) -> None:
    words = ("text='the old dog'" if name == "translation" else "text=baituth", "num_best=3")
    (row,) = json.loads(predict(name, *words, "format=json"))
    answers, scores = ([row[f"{stem}{end}"] for end in ("", "_2", "_3")] for stem in ("prediction", "score"))
    assert len(set(answers)) == 3 and scores == sorted(scores, reverse=True)
    (read,) = pd.read_csv(io.StringIO(predict(name, *words, "format=csv")), keep_default_na=False).to_dict("records")
    assert [read[f"prediction{end}"] for end in ("", "_2", "_3")] == answers
    lines = predict(name, *words).splitlines()
    shown = [float(line.split()[-1]) for line in lines if re.search(r"-?\d+\.\d{3}\s*$", line)]
    assert re.findall(r"\w+", lines[0]) == ["input", "answer", "score"] and shown == pytest.approx(scores, abs=6e-4)


@pytest.mark.parametrize("name", ["dictation", "gru"])
def test_recordings_are_answered_with_texts(name: str, predict: Callable[..., str]) -> None:
    given = ",".join(map(str, sorted((SAMPLES / "dictation/recordings").glob("*.flac"))[:2]))
    rows = json.loads(predict(name, f"input=[{given}]", "num_best=2", "beam_size=3", "format=json"))
    assert len(rows) == 2 and all(isinstance(row["prediction"], str) and row["score"] >= row["score_2"] for row in rows)


def test_a_copy_of_a_recording_is_answered_alike_and_what_is_no_sound_is_named(predict: Callable[..., str], tmp_path: Path) -> None:
    sound, rate = soundfile.read(a_recording())
    soundfile.write(tmp_path / "mine.flac", sound, rate)
    (copied,), (given,) = (json.loads(predict("gru", f"input={file}", "format=json")) for file in (tmp_path / "mine.flac", a_recording()))
    assert copied == {**given, "input": str(tmp_path / "mine.flac")}
    for content in ("", "hello"):
        with pytest.raises(ValueError, match=r"broken.flac: no audio that can be read \("):
            predict("gru", f"input={place(tmp_path, 'broken.flac', content)}")


@pytest.mark.parametrize("name", some(["translation", "dictation", "pronunciation"], ["pronunciation"]))
def test_maps_are_one_picture_an_input(name: str, predict: Callable[..., str], tmp_path: Path) -> None:
    given = {"translation": "text='a dog sleeps'", "dictation": f"input={a_recording()}", "pronunciation": "text=bannich"}[name]
    predict(name, given, f"maps={tmp_path / 'maps'}")
    assert [(file.name, file.read_bytes()[:4]) for file in (tmp_path / "maps").iterdir()] == [("001.png", b"\x89PNG")]


@pytest.mark.parametrize("name", ["translation", "nearest", "lstm", "gru"])
def test_a_served_model_answers_as_predict_does(name: str, trained: Callable[[str], Path], predict: Callable[..., str]) -> None:
    from rnnlab.evaluation.served_model import ServedModel

    text = {"translation": "a dog sleeps", "nearest": "a dog sleeps", "lstm": "bannich"}.get(name)
    served = ServedModel()
    served.load_context(SimpleNamespace(artifacts={"bundle": str(trained(name) / "artifacts/bundle")}))
    answer = served.predict(None, pd.DataFrame({"text": [text]} if text else {"audio": [a_recording().read_bytes()]}))
    (row,) = json.loads(predict(name, f"text='{text}'" if text else f"input={a_recording()}", "format=json"))
    assert answer["prediction"].tolist() == [row["prediction"]]


def test_signs_never_seen_in_training_are_told_and_answered(
    trained: Callable[[str], Path], compose: Compose, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text, told in (("translation", "a ☃ sleeps", "'.*☃'"), ("lstm", "bétth", "'é'")):
        config = compose(f"run={trained(name).name}", f"text='{text}'", "format=json", config_name="predict")
        capsys.readouterr()
        predict_command.predict(config)
        shown = capsys.readouterr()
        assert isinstance(json.loads(shown.out)[0]["prediction"], str)
        assert re.search(rf"never seen in training.*{told}", shown.err)


# Bad input


def place(folder: Path, name: str, content: str) -> Path:
    file = folder / name
    file.write_text(content, encoding="utf-8")
    return file


def refused(compose: Compose, root: Path, message: str, words: str) -> None:
    """Train as a user types it, and expect a message, no training and no run."""
    before = set((root / "outputs").glob("*"))
    with pytest.raises(ValueError, match=message):
        run.train(compose("trainer=smoke", *words.split()))
    assert set((root / "outputs").glob("*")) == before


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("translation", "beam_size=0", r"^beam_size=0 is not allowed: a whole number from 1"),
        ("translation", "num_best=0", r"^num_best=0 is not allowed: a whole number from 1"),
        ("translation", "beam_size=wide", r"^beam_size=wide is not allowed: a whole number from 1"),
        ("translation", "num_best=3 beam_size=2", r"num_best=3 is more than a beam of 2 finds: set .*beam_size=3 or more$"),
        ("plain", "maps=MAPS", r"^attention maps need attention, but this run's model.attention=none: train with bahdanau or luong_gen"),
        ("lstm", "maps=MAPS", r"^attention maps show how model=seq2seq answers with sequences; this run is of another model"),
        ("classes", "maps=MAPS", r"^attention maps show how model=seq2seq answers with sequences; this run is of another model"),
        ("classes", "num_best=2", r"^beam_size and num_best are for networks that answer with sequences"),
        ("nearest", "num_best=2", r"^beam_size and num_best are for networks that answer with sequences"),
    ],
)
def test_predicting_says_what_a_run_cannot_do(name: str, words: str, message: str, predict: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        predict(name, "text=bannich", *words.replace("MAPS", str(tmp_path / "maps")).split())


def test_an_empty_line_among_sentences_keeps_its_place_and_has_no_answer(
    predict: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = predict("translation", f"input={place(tmp_path, 'dense.txt', 'a dog sleeps' + chr(10) + 'a man reads')}", "format=csv")
    file = place(tmp_path, "mine.txt", "a dog sleeps\n\na man reads\n\n")
    for given in (f"input={file}", "input=-"):
        monkeypatch.setattr("sys.stdin", io.StringIO(file.read_text()))
        rows, wanted = (
            pd.read_csv(io.StringIO(text), keep_default_na=False) for text in (predict("translation", given, "format=csv"), dense)
        )
        assert rows["input"].tolist() == ["a dog sleeps", "", "a man reads"]
        assert rows["prediction"].tolist() == [wanted["prediction"][0], "", wanted["prediction"][1]]
    assert [row["prediction"] is None for row in json.loads(predict("translation", f"input={file}", "format=json"))] == [False, True, False]
    shown = predict("translation", f"input={file}")
    assert shown.index("a dog sleeps") < shown.index("a man reads") and "nan" not in shown


@pytest.mark.parametrize("text", [" ", "\t \N{NO-BREAK SPACE}"])
def test_a_blank_text_is_refused_before_anything_is_loaded(text: str, compose: Compose) -> None:
    with pytest.raises(ConfigError, match=r"^text=... is blank: write something to predict from$"):
        predict_command.predict(compose(quoted(f"text={text}"), "run=none", config_name="predict"))


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_file_without_sentences_and_silence_on_standard_input_are_refused(
    content: str, predict: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        ValueError,
        match=r"^the input is empty: there is nothing to predict from$|mine.txt is empty ",
    ):
        predict("translation", f"input={place(tmp_path, 'mine.txt', content)}", f"maps={tmp_path / 'maps'}")
    monkeypatch.setattr("sys.stdin", io.StringIO(content))
    with pytest.raises(ConfigError, match=r"^the input is empty: there is nothing to predict from$"):
        predict("translation", "input=-")
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,source\n2,  \n3,\n", r"^the input is empty: there is nothing to predict from$"),
        ("id,phrase\n1,a dog\n", r"mine.csv lacks a column 'source' \(or src, input, en\); it has: id, phrase\. Rename one"),
        ("id,source\n", r"mine.csv has a header but no rows$"),
        ("", r"mine.csv is empty \(0 bytes\): write it anew, or give another file$"),
        (None, r"^input=.*mine.csv: no such file or folder$"),
    ],
    ids=["blank fields", "another column", "a header only", "no bytes", "no file"],
)
def test_a_table_that_cannot_be_translated_says_why(content: str | None, message: str, predict: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "mine.csv" if content is None else place(tmp_path, "mine.csv", content)
    with pytest.raises(ValueError, match=message):
        predict("translation", f"input={file}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("model=seq2seq data=translation model.decoding.beam_size=0", r"^model.decoding.beam_size=0 is not allowed: it should be greater"),
        ("model=seq2seq data=translation data.target_language=xx", r"has no language 'xx'; it has: de, en"),
        ("model=gru data=translation data.prepare.subword_size=150", r"^data=translation has targets that don't come in the order of the"),
        (
            "model=seq2seq data=translation data.prepare.subword_size=150 data.loader.max_tokens=1",
            r"^data.loader.max_tokens=1 leaves out all [\d,]+ training pairs: the shortest has \d+ subword tokens on its longer side. ",
        ),
        ("model=gru data=dictation data.prepare.alphabet=abc", r"manifest.csv, line \d+: the text has the character '.' \(U\+\w+\), which"),
        (
            "model=gru data=dictation frontend.time_strides=[9,9,9]",
            r"^the network gives too few steps for all \d+ examples of the train",
        ),
        ("model=lstm data=pronunciation model.regularisation.label_smoothing=0.1", r"^model.regularisation.label_smoothing means nothing"),
    ],
)
def test_what_cannot_be_trained_is_refused(words: str, message: str, compose: Compose, root: Path) -> None:
    refused(compose, root, message, f"{words} data.source=sample")


@pytest.mark.parametrize(
    ("english", "german", "message"),
    [
        ("a dog\na man\na cat\n", "ein Hund\nein Mann\n", r"mine.en has 3 lines, .*mine.de has 2: line by line they must be the same sent"),
        ("a dog\n\na cat\n", "ein Hund\nein Mann\neine Katze\n", r"mine.en, line 2: the source sentence is empty. Fill it in, or remove"),
    ],
    ids=["numbers of lines", "an empty line"],
)
def test_files_that_are_not_aligned_are_refused(
    english: str, german: str, message: str, compose: Compose, root: Path, tmp_path: Path
) -> None:
    place(tmp_path, "mine.en", english)
    place(tmp_path, "mine.de", german)
    refused(compose, root, message, f"model=seq2seq data=translation data.source={tmp_path / 'mine'}")


def test_utterances_too_short_for_ctc_are_named_and_the_run_finishes(
    compose: Compose, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train(compose("model=gru", "data=dictation", *SIZES, "frontend.time_strides=[4,3,1]"))
    told = capsys.readouterr().err
    assert re.search(r"left out +\d+ too short for CTC to say all their tokens: recordings/\w+\.flac", told), told
    found = client(root).get_run(folder.name)
    assert found.info.status == "FINISHED" and np.isfinite(found.data.metrics["test/loss"])
