"""`python src/predict.py --follow`: the answers of the whole sequence as it comes, from files and standard input, and what is refused."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.commands.conftest import RunOf

from rnnlab.commands.predict import predict
from rnnlab.config import ConfigError
from rnnlab.paths import SAMPLES

Compose = Callable[..., Any]
SMALL = ("data.source=sample", "trainer.max_epochs=1", "trainer.limit_train_batches=3", "trainer.limit_val_batches=2",
         "trainer.limit_test_batches=2", "tracking.log_model=false")  # fmt: skip
RECORDING = SAMPLES / "speech/recordings/7/7_f2_gb_1.flac"


def lines_of(compose: Compose, capsys: pytest.CaptureFixture[str], run: str, *words: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    predict(compose(f"run={run}", "format=json", *words, config_name="predict"))
    text = capsys.readouterr().out
    return [json.loads(line) for line in text.splitlines()] if "follow=true" in words else json.loads(text)


SPEECH = ("data=speech", "model=gru", "tuned=null", "frontend=direct", "model.recurrence.hidden_size=8")
LANGUAGE = ("data=language", "model=lstm", "model.recurrence.hidden_size=8")
EVENTS = ("data=events", "model=gru", "model.recurrence.hidden_size=8")
TEXT = ("data=text", "model=lstm", "tuned=null", "model.recurrence.hidden_size=8")


@pytest.mark.parametrize(
    ("words", "given"),
    [
        *((SPEECH, f"input={RECORDING}"), (TEXT, "text='the cup is won by two goals'"), (LANGUAGE, "text='In the morning'")),
        (EVENTS, "text='order by letter,open the case,oil the pivots'"),
    ],
    ids=["speech", "text", "language", "events"],
)
def test_the_last_answer_is_that_of_the_whole(
    compose: Compose, run_of: RunOf, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], given: str
) -> None:
    run = run_of(*SMALL, *words)
    (whole,) = lines_of(compose, capsys, run, given)
    for chunk in (1, 7):
        followed = lines_of(compose, capsys, run, given, "follow=true", f"chunk={chunk}")
        steps = [line["step"] for line in followed]
        assert steps == [*range(chunk, steps[-1], chunk), steps[-1]]
        for key in ("prediction", "next"):
            assert followed[-1].get(key) == whole.get(key)
        (chance,) = {"confidence", "next_probability"} & whole.keys()
        assert followed[-1][chance] == pytest.approx(whole[chance], rel=1e-4)
        assert all(line["latency_ms"] > 0 for line in followed)


def test_standard_input_is_answered_as_it_comes(
    compose: Compose, run_of: RunOf, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(*SMALL, *TEXT)
    shown: list[int] = []

    def coming() -> Any:
        yield "the cup\n"
        shown.append(capsys.readouterr().out.count("\n"))
        yield "is won\n"

    monkeypatch.setattr("sys.stdin", coming())
    predict(compose(f"run={run}", "input='-'", "follow=true", "format=json", config_name="predict"))
    rest = capsys.readouterr()
    assert shown == [2] and rest.out.count("\n") == 2
    monkeypatch.setattr("sys.stdin", io.StringIO("the cup is won"))
    (whole,) = lines_of(compose, capsys, run, "input='-'")
    assert json.loads(rest.out.splitlines()[-1])["confidence"] == pytest.approx(whole["confidence"], rel=1e-4)
    assert "4 steps in 4 answers" in rest.err


def test_pieces_come_row_by_row_below_the_names_of_their_keys(
    compose: Compose, run_of: RunOf, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(*SMALL, "data=music", "model=gru", "tuned=null", "model.recurrence.hidden_size=8")
    (file, *_) = sorted((SAMPLES / "music" / "test").glob("*.csv"))
    lines = file.read_text().splitlines(keepends=True)[:9]
    monkeypatch.setattr("sys.stdin", iter(lines))
    assert [line["step"] for line in lines_of(compose, capsys, run, "input='-'", "follow=true")] == list(range(1, 9))
    monkeypatch.setattr("sys.stdin", iter([*lines[:4], "1,0,1\n"]))
    with pytest.raises(ValueError, match=r"line 5|\b5\b"):
        predict(compose(f"run={run}", "input='-'", "follow=true", config_name="predict"))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            ("data=speech", "model=birnn", "tuned=null", "frontend=direct", "model.recurrence.hidden_size=5"),
            "model=birnn reads each sequence",
        ),
        (("data=speech", "model=baseline"), "reads whole sequences"),
    ],
    ids=["birnn", "baseline"],
)
def test_what_must_see_all_is_refused_before_anything_is_read(compose: Compose, run_of: RunOf, words: tuple[str, ...], reason: str) -> None:
    run = run_of(*SMALL, *words)
    with pytest.raises(ValueError, match=reason):
        predict(compose(f"run={run}", "input=nowhere.wav", "follow=true", config_name="predict"))


def test_a_chunk_without_steps_is_refused(compose: Compose, run_of: RunOf) -> None:
    run = run_of(*SMALL, *TEXT)
    with pytest.raises(ConfigError, match="chunk=0"):
        predict(compose(f"run={run}", "text=a", "follow=true", "chunk=0", config_name="predict"))


def test_recordings_are_not_read_line_by_line(compose: Compose, run_of: RunOf) -> None:
    run = run_of(*SMALL, *SPEECH)
    with pytest.raises(ConfigError, match="data of the kind speech cannot be read line by line"):
        predict(compose(f"run={run}", "input='-'", "follow=true", config_name="predict"))


def test_the_latency_of_a_step_is_tracked_where_a_sequence_can_be_read_as_it_comes(compose: Compose, run_of: RunOf) -> None:
    from rnnlab.tracking.store import connect, get_run

    paths = compose("data=text").paths
    client = connect(None, paths.root)
    found = {name: get_run(client, run_of(*SMALL, *words)).data.metrics for name, words in (("speech", SPEECH), ("text", TEXT))}
    assert 0 < found["speech"]["latency/p50_ms"] <= found["speech"]["latency/p99_ms"] and found["speech"]["latency/real_time_factor"] > 0
    assert "latency/p50_ms" in found["text"] and "latency/real_time_factor" not in found["text"]
