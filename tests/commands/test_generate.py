"""`python src/generate.py`: texts that can be written again, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.commands.conftest import RunOf

from rnnlab.commands.generate import generate
from rnnlab.config import ConfigError
from rnnlab.paths import SAMPLES

SMALL = ("model=gru", "data.source=sample", "model.recurrence.hidden_size=24", "frontend.embedding_size=8", "trainer.max_epochs=1",
         "tracking.log_model=false", "optimizer.lr=0.01", "tracking.tensorboard=false")  # fmt: skip
Compose = Callable[..., Any]


def written(compose: Compose, capsys: pytest.CaptureFixture[str], run: str, *words: str) -> str:
    capsys.readouterr()
    generate(compose(f"run={run}", *words, config_name="generate"))
    return capsys.readouterr().out


def test_the_same_words_write_the_same_text_which_begins_with_the_prompt(
    compose: Compose, run_of: RunOf, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(*SMALL, "data=language")
    first, again, other = (
        written(compose, capsys, run, "prompt=Monday. In", "num_tokens=40", seed) for seed in ("seed=1", "seed=1", "seed=2")
    )
    assert first == again != other
    assert first.startswith("Monday. In") and len(first) == len("Monday. In") + 40 + 1


def test_several_samples_have_the_seeds_that_follow(compose: Compose, run_of: RunOf, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(*SMALL, "data=language")
    both = written(compose, capsys, run, "prompt=The", "num_tokens=20", "num_samples=2", "seed=3")
    assert both == "".join(written(compose, capsys, run, "prompt=The", "num_tokens=20", f"seed={seed}") for seed in (3, 4))


def test_without_a_prompt_a_line_begins_and_a_file_takes_the_text(
    compose: Compose, run_of: RunOf, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = run_of(*SMALL, "data=language")
    shown = written(compose, capsys, run, "num_tokens=15")
    assert written(compose, capsys, run, "num_tokens=15", f"output={tmp_path / 'new' / 'text.txt'}") == ""
    assert (tmp_path / "new" / "text.txt").read_text(encoding="utf-8") == shown


def test_words_stand_apart(compose: Compose, run_of: RunOf, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(*SMALL, "data=language", "data.prepare.tokens=word")
    text = written(compose, capsys, run, "prompt='In the'", "num_tokens=6", "temperature=0")
    assert len(text.replace("\n", " <eos> ").split()) >= 8 and text.startswith("In the ")


def test_unknown_tokens_of_a_prompt_are_told(compose: Compose, run_of: RunOf, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(*SMALL, "data=language")
    capsys.readouterr()
    generate(compose(f"run={run}", "prompt='Zürich'", "num_tokens=3", config_name="generate"))
    assert "2 of 6 tokens of the prompt are unknown to this run: 'Z', 'ü'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("temperature=-1", "temperature=-1 is not allowed: 0 or more"),
        ("temperature=hot", "temperature=hot is not allowed"),
        ("top_k=0", "top_k=0"),
        ("top_p=1.5", r"top_p=1\.5 is not allowed"),
        ("top_p=0", "top_p=0 leaves no token"),
        ("num_tokens=0", "num_tokens=0"),
        ("num_samples=-2", "num_samples=-2"),
        ("seed=-1", "seed=-1"),
    ],
)
def test_settings_that_mean_nothing_are_refused_before_the_run_is_opened(compose: Compose, word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        generate(compose("run=nobody", word, config_name="generate"))


def test_a_missing_run_is_the_first_thing_said(compose: Compose) -> None:
    with pytest.raises(ConfigError, match="give the run: run=RUN_ID"):
        generate(compose("temperature=-1", config_name="generate"))


def test_only_a_language_model_writes(compose: Compose, run_of: RunOf) -> None:
    run = run_of("model=baseline", "data=text", "data.source=sample", "tracking.log_model=false")
    with pytest.raises(ConfigError, match="is on data of the kind text: only a language model"):
        generate(compose(f"run={run}", config_name="generate"))


def test_samples_stand_beside_each_validation_with_what_training_holds_of_them(compose: Compose, run_of: RunOf) -> None:
    run = run_of(*SMALL, "data=language")
    folder = compose("run=x", config_name="generate").paths.outputs / run / "artifacts" / "samples"
    (file,) = folder.glob("*.txt")
    text = file.read_text(encoding="utf-8")
    passage = text.partition("tokens: '")[2].partition("'\n")[0]
    assert text.count("its longest passage that training holds has") == 2
    assert passage.encode().decode("unicode_escape") in (SAMPLES / "language" / "story.txt").read_text(encoding="utf-8")


def test_an_n_gram_model_writes_too(compose: Compose, run_of: RunOf, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of("model=baseline", "data=language", "data.source=sample", "tracking.log_model=false")
    text = written(compose, capsys, run, "prompt='In the morning'", "num_tokens=60", "temperature=0.5")
    assert "wind from the" in text
