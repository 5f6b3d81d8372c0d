"""Studies under experiments/: what stands in their READMEs is what their recorded rows say, and every job of theirs composes."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from rnnlab.paths import HOME

STUDIES = HOME / "experiments"


def script(name: str) -> dict[str, Any]:
    """Return the names of a study's script, which is not run."""
    return runpy.run_path(str(STUDIES / name), run_name="study")


def recorded(study: str, name: str = "results.csv") -> pd.DataFrame:
    return pd.read_csv(STUDIES / study / name)


def readme(study: str) -> str:
    return (STUDIES / study / "README.md").read_text(encoding="utf-8")


# What is printed is what was recorded ---------------------------------------------------------------------------------------------


def test_the_table_of_families_is_that_of_its_rows() -> None:
    assert script("families/run.py")["table"](recorded("families").to_dict("records")) in readme("families")


def test_the_table_on_own_texts_is_that_of_its_rows() -> None:
    assert script("own_texts/run.py")["table"](recorded("own_texts")) in readme("own_texts")


def test_the_table_of_next_events_is_that_of_its_rows() -> None:
    assert script("next_events/run.py")["table"](recorded("next_events")) in readme("next_events")


def test_the_table_on_normalisation_is_that_of_its_rows() -> None:
    assert script("batch_norm/summarise.py")["written"](recorded("batch_norm")) in readme("batch_norm")


def test_the_sentences_on_gradient_flow_are_those_of_its_rows() -> None:
    in_words = script("gradient_flow/run.py")["in_words"]
    kept_as_text = {"first_step_share_before": str, "first_step_share_after": str}
    rows = pd.read_csv(STUDIES / "gradient_flow/results.csv", dtype=kept_as_text).astype({"reached_at": "Int64", "half_error_at": "Int64"})
    for row in rows.astype(object).where(rows.notna(), None).to_dict("records"):
        assert in_words(row) in readme("gradient_flow")


def test_the_tables_on_memory_are_those_of_its_rows() -> None:
    summarise = script("memory/summarise.py")
    table = recorded("memory")
    found = summarise["longest"](table)
    pd.testing.assert_frame_equal(found.round(4), recorded("memory", "longest.csv"), check_dtype=False)
    for said in (summarise["table_of"](found), summarise["sentences"](found), summarise["with_other_budgets"](table)):
        assert said and said in readme("memory")


def test_the_table_on_faults_is_that_of_its_trials() -> None:
    summarise = script("faults/summarise.py")
    trials = {part: recorded("faults", f"trials_{part}.csv") for part in summarise["WHAT"]}
    found = summarise["table"](STUDIES / "faults")
    pd.testing.assert_frame_equal(found, recorded("faults"), check_dtype=False)
    assert summarise["written"](found) in readme("faults")
    for row in found.to_dict("records"):
        assert row["tried"] == len(trials[row["part"]]) and row["survived"] == trials[row["part"]]["went"].sum()


@pytest.mark.parametrize("data", ["speech", "trec"])
def test_means_of_knobs_are_those_of_their_rows(data: str) -> None:
    knobs = script("knobs/run.py")["MAIN"][data]
    rows = recorded("knobs").query("data == @data").assign(value=lambda table: table["value"].astype(str).str.lower())
    for knob in knobs:
        means = 100 * rows[rows["knob"] == knob.name].groupby("value")["test"].mean()
        values = [value if value in means.index else str(float(value)) for value in knob.levels]
        said = f"| `{knob.key}` | {' / '.join(knob.levels)} | {' / '.join(f'{means[value]:.1f}' for value in values)} % |"
        assert said in readme("knobs")


# How it is computed ---------------------------------------------------------------------------------------------------------------


def test_differences_of_normalisation_have_welchs_p_value() -> None:
    against_none = script("batch_norm/summarise.py")["against_none"]
    samples = {"none": [0.50, 0.52, 0.57], "batch": [0.60, 0.66, 0.61]}
    rows = [{"kind": kind, "rate": 0.1, "test": value} for kind, values in samples.items() for value in values]
    spread = {kind: np.var(values, ddof=1) / 3 for kind, values in samples.items()}
    by_hand = (np.mean(samples["batch"]) - np.mean(samples["none"])) / np.sqrt(sum(spread.values()))
    freedom = sum(spread.values()) ** 2 / sum(value**2 / 2 for value in spread.values())
    p = 2 * t.sf(by_hand, freedom)
    assert against_none(pd.DataFrame(rows)) == f"- rate 0.1, against none: batch +9.3 points (p = {p:.2g})"


@pytest.mark.parametrize(
    ("curve", "since"),
    [([1, 5, 6], 100), ([5, 1, 6], 200), ([5, 6, 1], None), ([5, 5, 5], 0), ([3, 3, 3], None)],
)
def test_a_curve_is_beyond_a_limit_from_where_it_stays_there(curve: list[float], since: int | None) -> None:
    first_beyond = script("gradient_flow/run.py")["first_beyond"]
    assert first_beyond([(100 * number, value) for number, value in enumerate(curve)], 3) == since


def test_a_sweep_of_a_knob_replaces_the_centres_word_for_it() -> None:
    knobs = script("knobs/run.py")
    (size,) = (knob for knob in knobs["MAIN"]["trec"] if knob.name == "size")
    assert knobs["words_of"]("trec", size) == ["model=gru", "data=trec", "epochs=6", "model.recurrence.hidden_size=24,64,160", "seed=0,1,2"]
    (model,) = (knob for knob in knobs["EXAMPLES"] if knob.name == "model")
    assert knobs["words_of"]("trec", model)[-2:] == ["model=srnn,lstm,gru", "seed=0,1"]


def test_a_measured_knob_stands_in_the_row_of_its_key_and_nowhere_else(tmp_path: Path) -> None:
    page = tmp_path / "knobs.md"
    rows = ("| rate | `optimizer.lr` | 0.003 | how far | - |", "| decay | `optimizer.weight_decay` | 0 | pulls | - |")
    page.write_text("\n".join(rows), encoding="utf-8")
    script("knobs/summarise.py")["fill_column"](page, {"optimizer.lr": "80 / 90 %"})
    rate, decay = page.read_text(encoding="utf-8").splitlines()
    assert rate == "| rate | `optimizer.lr` | 0.003 | how far | 80 / 90 % |"
    assert decay.endswith("| pulls | - |")


def test_a_measurement_that_dies_ends_the_table_of_families() -> None:
    in_own_process = script("families/run.py")["in_own_process"]
    assert in_own_process(lambda: {"train_ms": 2.5}) == {"train_ms": 2.5}
    with pytest.raises(SystemExit, match="a measurement failed"):
        in_own_process(lambda: sys.exit(3))


# What is run ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_sweep_of_the_knobs_study_composes(compose: Callable[..., Any]) -> None:
    knobs = script("knobs/run.py")
    for data, knob in knobs["sweeps"]([*knobs["MAIN"], "examples"]):
        *words, turned, _ = knobs["words_of"](data, knob)
        config = compose(*(word.partition(",")[0] for word in words), f"{turned.partition('=')[0]}={knob.levels[-1]}")
        assert config.data.values["name"] == data, knob


def test_every_training_on_gradient_flow_composes(compose: Callable[..., Any]) -> None:
    flow = script("gradient_flow/run.py")
    for words in flow["SETTINGS"].values():
        assert compose(*flow["WORDS"], *words.split()).data.values["num_steps"] == flow["NUM_STEPS"]


def test_every_training_on_normalisation_composes(compose: Callable[..., Any]) -> None:
    study = script("batch_norm/run.py")
    centre = study["CENTRE"].replace("seed=0,1,2", "seed=0").split()
    found = {kind: compose(*centre, *words.split()).model.values["recurrence"] for kind, words in study["KINDS"].items()}
    assert [(part["has_batch_norm"], part["has_layer_norm"]) for part in found.values()] == [(False, False), (True, False), (False, True)]


def test_the_table_on_serving_is_that_of_its_rows() -> None:
    rows = pd.read_csv(STUDIES / "serving/results.csv", dtype=str).to_dict("records")
    assert script("serving/run.py")["table"](rows) in readme("serving")
    assert {row["clients"] for row in rows if row["what"] == "served"} == {"1", "16"}
