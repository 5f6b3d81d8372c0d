"""What is measured from whole tables, against other libraries and numbers worked out by hand."""

from math import log, sqrt

import numpy as np
import pandas as pd
import pytest
from sacrebleu.metrics.bleu import BLEU
from scipy.stats import binomtest, bootstrap, spearmanr
from statsmodels.stats.proportion import proportion_confint

from rnnlab.contracts import SPECIALS, DataSpec
from rnnlab.tasks import Regularisation, make_task, text_metrics
from rnnlab.tasks.table_metrics import direction, information, of_classes, of_forecasts, of_sets, of_texts, resampled_sums, wilson_interval

NONE = Regularisation(0.0, "none", 0.0)


def classes(targets: str, predictions: str, confidences: list[float]) -> pd.DataFrame:
    """Return a table of two classes, a and b."""
    scores = [value if label == "a" else 1 - value for label, value in zip(predictions, confidences, strict=True)]
    table = pd.DataFrame({"target": list(targets), "prediction": list(predictions), "confidence": confidences})
    return table.assign(**{"score/a": scores, "score/b": [1 - score for score in scores]})


def forecasts(prediction: list[float], target: list[float], persistence: list[float] | None = None) -> pd.DataFrame:
    table = pd.DataFrame({"prediction/x": prediction, "target/x": target})
    return table if persistence is None else table.assign(**{"persistence/x": persistence})


# Classes


@pytest.mark.parametrize(("num_right", "count"), [(0, 5), (3, 7), (50, 60), (9, 9), (1, 1)])
def test_the_interval_of_accuracy_is_wilsons(num_right: int, count: int) -> None:
    table = classes("a" * count, "a" * num_right + "b" * (count - num_right), [0.9] * count)
    found = of_classes(table, ("a", "b"))
    expected = proportion_confint(num_right, count, alpha=0.05, method="wilson")
    assert (found["accuracy_low"], found["accuracy_high"]) == pytest.approx(expected, abs=1e-12)


def test_the_calibration_error_is_the_gap_of_each_bin_weighted_by_its_share() -> None:
    # bins of 1/15: .61, .62 in the tenth (9/15 .. 10/15), .95 and .97 in the last, .7 in the eleventh
    table = classes("aabba", "abbba", [0.61, 0.62, 0.95, 0.97, 0.7])
    gaps = [abs(1 / 2 - (0.61 + 0.62) / 2) * 2, abs(1 - (0.95 + 0.97) / 2) * 2, abs(1 - 0.7) * 1]
    assert of_classes(table, ("a", "b"))["ece"] == pytest.approx(sum(gaps) / 5, abs=1e-6)


def test_who_is_always_right_and_always_certain_is_calibrated() -> None:
    assert of_classes(classes("aabb", "aabb", [1.0] * 4), ("a", "b"))["ece"] == pytest.approx(0, abs=1e-6)


def test_classes_are_measured_by_their_names_whatever_their_order() -> None:
    spec = DataSpec("toy", "features", 1, "class", 2, ("b", "a"), (1, 1))
    table = classes("aabba", "abbba", [0.61, 0.62, 0.95, 0.97, 0.7])
    assert make_task(spec, NONE).table_metrics(table) == pytest.approx(of_classes(table, ("a", "b")), abs=1e-6)


# Forecasts


def test_errors_of_a_dimension_are_those_worked_out_by_hand() -> None:
    found = of_forecasts(forecasts([1, 2, 3], [1, 4, 2], [2, 2, 2]), "x", False, ())
    assert found["mse"] == pytest.approx((0 + 4 + 1) / 3)
    assert found["rmse"] == pytest.approx(sqrt(5 / 3))
    assert found["mae"] == pytest.approx(1)
    assert found["skill"] == pytest.approx(1 - 5 / (1 + 4 + 0))
    assert "qlike" not in found and "ic" not in found


def test_qlike_of_a_table_is_that_worked_out_by_hand() -> None:
    found = of_forecasts(forecasts([4.0, 1.0], [2.0, 3.0]), "x", True, ())
    assert found["qlike"] == pytest.approx(((0.5 - log(0.5) - 1) + (3 - log(3) - 1)) / 2)
    assert "skill" not in found and "direction_accuracy" not in found


def test_direction_counts_only_where_something_changed_and_a_change_was_forecast() -> None:
    forecast, truth = np.array([1.0, -2, 0, 3, -1, 0.5, 0]), np.array([2.0, 1, 1, 0, -5, 0.1, 0])
    found = direction(forecast, truth)  # left: right, wrong, right, right
    assert found["direction_accuracy"] == 3 / 4
    expected = proportion_confint(3, 4, method="wilson")
    assert (found["direction_low"], found["direction_high"]) == pytest.approx(expected, abs=1e-12)


def test_where_nothing_ever_changes_there_is_no_direction() -> None:
    assert direction(np.zeros(3), np.ones(3)) == {}
    assert direction(np.ones(3), np.zeros(3)) == {}


def test_direction_is_seen_from_persistence() -> None:
    found = of_forecasts(forecasts([101.0, 99.0], [105.0, 103.0], [100.0, 100.0]), "x", False, ())
    assert found["direction_accuracy"] == 0.5


def drawn(num_dates: int = 12, num_tickers: int = 6) -> pd.DataFrame:
    random = np.random.default_rng(0)
    dates = np.repeat(pd.date_range("2020-01-01", periods=num_dates).to_numpy(), num_tickers)
    target = random.normal(size=len(dates)).round(1)  # with ties
    order = random.permutation(len(dates))
    table = pd.DataFrame({"date": dates, "target": target, "forecast": (target + 2 * random.normal(size=len(dates))).round(1)})
    return table.iloc[order].reset_index(drop=True)


def information_of(table: pd.DataFrame) -> dict[str, float]:
    return information(table["date"].to_numpy(), table["forecast"].to_numpy(), table["target"].to_numpy())


def test_information_coefficients_are_the_mean_correlations_of_dates() -> None:
    table = drawn()
    by_date = [part for _, part in table.groupby("date")]
    pearson = pd.Series([part["forecast"].corr(part["target"]) for part in by_date])
    spearman = pd.Series([spearmanr(part["forecast"], part["target"]).statistic for part in by_date])
    assert information_of(table) == pytest.approx(
        {
            "ic": pearson.mean(),
            "ic_ir": pearson.mean() / pearson.std(),
            "rank_ic": spearman.mean(),
            "rank_ic_ir": spearman.mean() / spearman.std(),
        }
    )


def test_dates_with_fewer_than_three_tickers_or_with_one_value_only_do_not_count() -> None:
    table = drawn(4)
    days = pd.date_range("2021-01-01", periods=2)
    few = pd.DataFrame({"date": [days[0]] * 2, "forecast": [1.0, 2.0], "target": [2.0, 1.0]})
    constant = pd.DataFrame({"date": [days[1]] * 4, "forecast": [0.1 + 0.2] * 4, "target": [2.0, 1.0, 4.0, 3.0]})
    assert information_of(pd.concat([table, few, constant], ignore_index=True)) == pytest.approx(information_of(table))
    assert information_of(few) == {}
    assert information_of(constant) == {}


def test_one_date_gives_a_correlation_but_no_ratio_of_it_to_its_spread() -> None:
    assert set(information_of(drawn(1))) == {"ic", "rank_ic"}


def test_coverage_is_the_share_inside_and_width_the_mean_size_of_an_interval() -> None:
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    table = forecasts([0.0] * 4, [-5.0, -1.0, 0.5, 2.0])
    edges = {0.05: [-4.0, -4, -4, -4], 0.25: [-1.0, -1, -1, -1], 0.5: [0.0] * 4, 0.75: [1.0, 1, 1, 1], 0.95: [2.0, 2, 2, 6]}
    table = table.assign(**{f"quantile/x/{level:g}": values for level, values in edges.items()})
    found = of_forecasts(table, "x", False, levels)
    assert found["coverage/90"] == 3 / 4  # edges count as inside
    assert found["coverage/50"] == 2 / 4
    assert found["width/90"] == pytest.approx((6 + 6 + 6 + 10) / 4)
    assert found["width/50"] == 2


def test_the_true_quantiles_of_a_normal_cover_what_they_say() -> None:
    levels, z = (0.05, 0.25, 0.5, 0.75, 0.95), (-1.6448536, -0.6744898, 0.0, 0.6744898, 1.6448536)
    target = np.random.default_rng(0).normal(size=20_000)
    table = pd.DataFrame({"prediction/x": 0.0, "target/x": target}).assign(
        **{f"quantile/x/{level:g}": edge for level, edge in zip(levels, z, strict=True)}
    )
    found = of_forecasts(table, "x", False, levels)
    assert found["coverage/90"] == pytest.approx(0.9, abs=0.01)
    assert found["coverage/50"] == pytest.approx(0.5, abs=0.01)


def test_of_several_horizons_each_is_measured_by_itself_and_named() -> None:
    spec = DataSpec("toy", "features", 1, "real", 2, ("x_1d", "x_5d"))
    near, far = forecasts([1, 2], [1, 4], [0, 0]), forecasts([0, 0], [3, 4], [1, 1])
    table = near.rename(columns=lambda name: f"{name}_1d").join(far.rename(columns=lambda name: f"{name}_5d"))
    found = make_task(spec, NONE).table_metrics(table)
    assert found == {
        **{f"{key}/x_1d": value for key, value in of_forecasts(near, "x", False, ()).items()},
        **{f"{key}/x_5d": value for key, value in of_forecasts(far, "x", False, ()).items()},
    }
    assert found["mse/x_1d"] == 2 and found["mse/x_5d"] == 12.5


def test_targets_at_every_step_have_nothing_that_only_the_whole_table_gives() -> None:
    spec = DataSpec("toy", "features", 1, "class_per_step", 2, ("a", "b"), (1, 1))
    assert make_task(spec, NONE).table_metrics(pd.DataFrame()) == {}


def test_a_series_that_never_moves_has_no_skill_but_all_other_numbers() -> None:
    found = of_forecasts(forecasts([1.0, 1.5], [1.0, 1.0], [1.0, 1.0]), "x", False, ())
    assert found["mse"] == 0.125
    assert "skill" not in found or not np.isfinite(found["skill"])


# Texts


def dictated(num_rows: int = 200) -> pd.DataFrame:
    """Return counts of errors in utterances of unequal length."""
    random = np.random.default_rng(1)
    num_words = random.integers(1, 30, num_rows)
    num_chars = 5 * num_words
    errors = {"word_errors": random.binomial(num_words, 0.2), "char_errors": random.binomial(num_chars, 0.1)}
    return pd.DataFrame({**errors, "num_words": num_words, "num_chars": num_chars})


@pytest.mark.parametrize(("name", "unit"), [("wer", "word"), ("cer", "char")])
def test_intervals_of_error_rates_are_those_of_a_bootstrap_over_utterances(name: str, unit: str) -> None:
    table = dictated()
    found = of_texts(table, "transcribe", "en")
    expected = bootstrap(
        (table[f"{unit}_errors"].to_numpy(), table[f"num_{unit}s"].to_numpy()),
        lambda errors, lengths, axis: errors.sum(axis) / lengths.sum(axis),
        paired=True,
        method="percentile",
        n_resamples=4000,
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert (found[f"{name}_low"], found[f"{name}_high"]) == pytest.approx((expected.low, expected.high), abs=0.004)
    assert found[f"{name}_low"] < table[f"{unit}_errors"].sum() / table[f"num_{unit}s"].sum() < found[f"{name}_high"]
    assert found == of_texts(table, "transcribe", "en")  # nothing is left to chance
    assert set(found) == {"wer_low", "wer_high", "cer_low", "cer_high"}


def test_resampled_sums_of_equal_examples_are_the_sum_itself() -> None:
    sums = resampled_sums(np.full((7, 2), [3, 10]), num_resamples=5)
    np.testing.assert_array_equal(sums, np.full((5, 2), [21, 70]))


def test_utterances_never_heard_in_training_are_measured_alone() -> None:
    table = pd.DataFrame({"word_errors": [0, 3, 1], "num_words": [10, 4, 4], "char_errors": [0, 6, 0], "num_chars": [40, 15, 15]})
    found = of_texts(table.assign(is_new=[False, True, True]), "transcribe", "en")
    assert (found["wer_new"], found["cer_new"], found["num_new"]) == (4 / 8, 6 / 30, 2)
    none_new = of_texts(table.assign(is_new=False), "transcribe", "en")
    assert none_new["num_new"] == 0
    assert "wer_new" not in none_new


def test_pronunciations_have_intervals_of_words_and_phones() -> None:
    table = pd.DataFrame({"word_errors": [0, 1, 1, 0] * 20, "num_words": 1, "phone_errors": [0, 1, 3, 0] * 20, "num_phones": 5})
    found = of_texts(table, "pronounce", "")
    assert found["wer_low"] < 0.5 < found["wer_high"]
    assert found["per_low"] < 0.2 < found["per_high"]


def test_the_interval_of_bleu_is_close_to_sacrebleu_s_own() -> None:
    right = [f"the {colour} dog sees a {size} cat number {n}" for n in range(10) for colour in ("red", "blue") for size in ("big", "tiny")]
    said = [text.replace("blue dog", "cat") if place % 3 else text.replace("number", "the") for place, text in enumerate(right)]
    table = pd.DataFrame({"prediction": said, "references": [[text] for text in right]})
    found = of_texts(table, "translate", "en")
    score = BLEU().corpus_score(said, [right], n_bootstrap=1000)
    assert (found["sacrebleu_low"] + found["sacrebleu_high"]) / 2 == pytest.approx(score.score, abs=1.0)
    assert (found["sacrebleu_high"] - found["sacrebleu_low"]) / 2 == pytest.approx(score._ci, rel=0.1)


def test_a_task_of_summaries_is_measured_by_its_table() -> None:
    spec = DataSpec("toy", "tokens", 6, "tokens", 6, (*SPECIALS, "a", "b"), goal="summarise", target_language="en")
    said, right = ["a b", "a a", "b b"], [("a b",), ("a b", "b"), ("a",)]
    rows = text_metrics.row_scores("summarise", said, right, has_rouge=True)
    table = pd.DataFrame({"prediction": said, "references": [list(texts) for texts in right], **rows})
    found = make_task(spec, NONE).table_metrics(table)
    assert set(found) == {f"{name}_{end}" for name in ("sacrebleu", "rouge1", "rouge2", "rougeL") for end in ("low", "high")}
    for name, value in text_metrics.rouge(said, right).items():
        assert 0 <= found[f"{name}_low"] < value < found[f"{name}_high"] <= 1


# Units that may leak


def by_scipy(right: list[float], answers: list[float]) -> tuple[float, float]:
    """Return the percentile interval of sums of right answers over answers, by resampling units, from SciPy."""
    found = bootstrap(
        (np.array(right), np.array(answers)),
        lambda top, bottom, axis: top.sum(axis) / bottom.sum(axis),
        paired=True,
        method="percentile",
        n_resamples=9999,
        rng=np.random.default_rng(3),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def alike(num_units: int = 40, largest: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Return units of unequal size, and answers that are nearly all right or nearly all wrong within one."""
    random = np.random.default_rng(5)
    sizes = random.integers(1, largest, num_units)
    chance = np.repeat(np.where(random.random(num_units) < 0.6, 0.95, 0.1), sizes)
    return np.repeat(np.arange(num_units), sizes), random.random(len(chance)) < chance


def summed(units: np.ndarray, values: np.ndarray) -> list[float]:
    return [float(values[units == unit].sum()) for unit in range(units.max() + 1)]


def test_the_interval_of_direction_draws_whole_dates() -> None:
    units, is_right = alike()
    days = pd.date_range("2024-01-01", periods=units.max() + 1, freq="D")
    table = forecasts(np.where(is_right, 1.0, -1.0).tolist(), [1.0] * len(units), [0.0] * len(units)).assign(
        date=days[units], group=[f"ticker {place % 7}" for place in range(len(units))]
    )
    shuffled = table.sample(frac=1, random_state=1).reset_index(drop=True)
    found = of_forecasts(shuffled, "x", False, ())
    low, high = by_scipy(summed(units, is_right), summed(units, np.ones(len(units))))
    assert (found["direction_low"], found["direction_high"]) == pytest.approx((low, high), abs=0.02)
    narrow = proportion_confint(is_right.sum(), len(is_right), method="wilson")
    assert high - low > 2.5 * (narrow[1] - narrow[0])  # what examples alone would say
    assert found == of_forecasts(shuffled, "x", False, ())


def test_the_interval_of_accuracy_draws_whole_speakers_and_those_unknown_are_units_of_their_own() -> None:
    units, is_right = alike()
    names = [f"speaker {unit}" if unit else "" for unit in units]  # of the first unit nobody knows who spoke
    table = classes("a" * len(units), "".join("a" if right else "b" for right in is_right), [0.9] * len(units))
    found = of_classes(table.assign(group=names, example_id=[str(place) for place in range(len(units))]), ("a", "b"))
    first, answers = units == 0, np.ones(len(units))
    low, high = by_scipy([*is_right[first].astype(float), *summed(units, is_right)[1:]], [*answers[first], *summed(units, answers)[1:]])
    assert (found["accuracy_low"], found["accuracy_high"]) == pytest.approx((low, high), abs=0.02)


def test_where_each_example_is_a_unit_the_interval_is_wilsons_still() -> None:
    table = classes("aaaaa", "aabab", [0.9] * 5).assign(group=list("vwxyz"))
    found = of_classes(table, ("a", "b"))
    assert (found["accuracy_low"], found["accuracy_high"]) == pytest.approx(proportion_confint(3, 5, method="wilson"))


def test_where_all_are_right_a_unit_counts_for_an_answer_and_one_unit_has_no_interval() -> None:
    table = classes("a" * 12, "a" * 12, [0.9] * 12).assign(group=list("xxxxyyyyzzzz"))
    found = of_classes(table, ("a", "b"))
    assert (found["accuracy_low"], found["accuracy_high"]) == pytest.approx(proportion_confint(3, 3, method="wilson"))
    assert set(of_classes(table.assign(group="x"), ("a", "b"))) == {"ece"}


def test_the_intervals_of_texts_and_of_sets_draw_units_too() -> None:
    units, _ = alike()
    random = np.random.default_rng(6)
    rate = np.repeat(random.uniform(0, 0.6, units.max() + 1), np.bincount(units))
    words = random.integers(1, 30, len(units))
    errors = random.binomial(words, rate)
    table = pd.DataFrame({"word_errors": errors, "num_words": words, "char_errors": errors, "num_chars": words, "group": units})
    found = of_texts(table, "transcribe", "en")
    expected = by_scipy(summed(units, errors), summed(units, words))
    assert (found["wer_low"], found["wer_high"]) == pytest.approx(expected, abs=0.01)
    assert "wer_low" not in of_texts(table.assign(group="one"), "transcribe", "en")
    sets = of_sets(pd.DataFrame({"nll": errors / words, "num_targets": words, "group": units}))
    assert (sets["nll_low"], sets["nll_high"]) == pytest.approx(expected, abs=0.01)


def test_units_that_happen_to_be_alike_make_no_interval_narrower_than_that_of_examples() -> None:
    table = classes("ab" * 20, "a" * 40, [0.9] * 40).assign(group=[place // 10 for place in range(40)])  # each speaker has 5 of 10 right
    found = of_classes(table, ("a", "b"))
    assert (found["accuracy_low"], found["accuracy_high"]) == pytest.approx(proportion_confint(20, 40, method="wilson"))
    errors = pd.DataFrame({"word_errors": [0, 2] * 20, "num_words": 4, "char_errors": 0, "num_chars": 9, "group": np.arange(40) // 10})
    alone = of_texts(errors.drop(columns="group"), "transcribe", "en")
    assert of_texts(errors, "transcribe", "en") == alone and alone["wer_low"] < 0.25 < alone["wer_high"]


def test_our_score_interval_is_scipys_to_the_bit() -> None:
    for num_trials in (*range(1, 60), 100, 1000, 25_000):
        for num_right in range(0, num_trials + 1, max(1, num_trials // 40)):
            theirs = binomtest(num_right, num_trials).proportion_ci(method="wilson")
            assert wilson_interval(num_right, num_trials) == (float(theirs.low), float(theirs.high))
