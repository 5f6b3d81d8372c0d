"""Claims about recorded configurations: data, never code, and what is damaged is told."""

from pathlib import Path

import pytest

from rnnlab.config import ConfigError
from rnnlab.tracking.recorded import load_config, refuse_foreign_targets

WHOLE = "model: {_target_: rnnlab.models.gru.GRU}\ndata: {}\ntrainer: {}\nseed: 0\nchoices: {model: gru}\nwords: [model=gru]\n"
UNFOLDING = "x0: &x0 [1, 1]\n" + "".join(f"x{n}: &x{n} [*x{n - 1}, *x{n - 1}]\n" for n in range(1, 40))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: [1", "cannot be read"),
        ("seed: " + "[" * 5000, "cannot be read"),
        ("- seed", "is no configuration of a training"),
        (WHOLE + "x: !!python/object/apply:os.system ['touch executed']\n", "cannot be read"),
        (WHOLE + "x: {_target_: os.system, command: touch executed}\n", r"names 'os\.system', which no file in conf/ does"),
        (WHOLE + "x: &x [*x]\n", "more than 50 levels or 100000 values"),
        (WHOLE + UNFOLDING, "more than 50 levels or 100000 values"),
        (WHOLE.replace("{model: gru}", "[gru]"), r"choices of the recorded configuration of run r=\['gru'\] is not allowed"),
        (WHOLE.replace("[model=gru]", "gru"), "words of the recorded configuration of run r=gru is not allowed"),
    ],
    ids=["damaged", "deep", "a list", "a tag", "a target", "endless", "unfolding", "choices", "words"],
)
def test_what_is_no_configuration_is_told_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "config.yaml", "r")
    assert not (tmp_path / "executed").exists()


def test_targets_of_our_own_are_allowed() -> None:
    refuse_foreign_targets({"model": {"_target_": "rnnlab.models.gru.GRU", "parts": [{"_target_": "rnnlab.cells.gru.GRUCell"}]}})
