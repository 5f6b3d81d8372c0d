"""Texts from tokens, and scores against numbers worked out by hand or by another library's own interface."""

from importlib.util import find_spec
from math import exp, isnan
from typing import Any

import jiwer
import numpy as np
import pytest
import sacrebleu

from rnnlab.tasks import text_metrics
from rnnlab.tasks.text_metrics import Errors

MANY = [("the cat sat on the mat", "a cat sat on the mat"), ("two dogs run in the park today",)]
ANSWERS = ["the cat sat on a mat", "two dogs are in the park"]


def test_words_are_joined_with_blanks() -> None:
    assert text_metrics.join_tokens(["K", "AE1", "T"], "words", "") == "K AE1 T"


def test_pieces_are_joined_with_nothing_and_their_marks_become_blanks() -> None:
    assert text_metrics.join_tokens(["▁the", "▁ca", "t", "s"], "pieces", "en") == "the cats"
    assert text_metrics.join_tokens([], "pieces", "en") == ""


@pytest.mark.parametrize("language", ["en", ""])
def test_words_of_moses_are_put_together_by_its_rules(language: str) -> None:
    words = ["a", "man", "(", "left", ")", "doesn", "'t", "wave", ",", "it", "'s", "fine", "."]
    assert text_metrics.join_tokens(words, "moses", language) == "a man (left) doesn't wave, it's fine."


@pytest.mark.parametrize("text", ['He said: "no" & left, Mr. Smith.', "it isn't [sic] 5 | 6 < 7."])
def test_text_cut_into_moses_words_and_put_together_again_is_the_same(text: str) -> None:
    assert text_metrics.join_tokens(text_metrics.moses_words(text, "en").split(), "moses", "en") == text
    assert text_metrics.join_tokens(["&amp;"], "moses", "en") == "&amp;"  # what was not escaped is not unescaped


def test_an_unknown_way_of_joining_is_named() -> None:
    with pytest.raises(ValueError, match=r"joined='bytes' is not known: words, pieces, moses"):
        text_metrics.join_tokens([], "bytes", "en")  # type: ignore[arg-type]  # a wrong value, on purpose


def test_a_text_s_words_are_found_by_the_rules_of_moses_and_nothing_is_escaped() -> None:
    assert text_metrics.moses_words('Das ist "gut" & schön, z.B. hier.', "de") == 'Das ist " gut " & schön , z.B. hier .'


@pytest.mark.parametrize(
    ("hypothesis", "reference", "errors"),
    [
        ("a x c d", "a b c", Errors(2, 3)),  # one wrong, one too many
        ("", "a b c", Errors(3, 3)),
        ("a b c", "a b c", Errors(0, 3)),
        ("b c", "a b c", Errors(1, 3)),
        ("a", "", Errors(1, 0)),
        ("  a   b ", "a b", Errors(0, 2)),  # blanks are no words
    ],
)
def test_word_errors_equal_those_counted_by_hand(hypothesis: str, reference: str, errors: Errors) -> None:
    assert text_metrics.word_errors(hypothesis, reference) == errors


def test_character_errors_count_blanks() -> None:
    assert text_metrics.char_errors("ab c", "abc") == Errors(1, 3)
    assert text_metrics.char_errors("abc", "ab c") == Errors(1, 4)


def test_the_nearest_reference_is_the_one_with_the_fewest_edits_and_the_first_of_several() -> None:
    assert text_metrics.nearest_reference("T AH M EY T OW", ["T AH M AA T OW", "T OW M EY"], text_metrics.word_errors) == Errors(1, 6)
    assert text_metrics.nearest_reference("a", ["a b", "a b c d", "c"], text_metrics.word_errors) == Errors(1, 2)


def test_an_error_rate_is_over_all_lengths_together() -> None:
    assert text_metrics.error_rate([Errors(1, 2), Errors(0, 8)]) == 0.1
    assert isnan(text_metrics.error_rate([]))
    assert isnan(text_metrics.error_rate([Errors(1, 0)]))


def test_dictation_is_scored_as_jiwer_scores_a_corpus() -> None:
    right, said = ["the quick brown fox", "jumps over", "a lazy dog"], ["the quick brow fox", "jumps over", "lazy dog today"]
    found = text_metrics.score("transcribe", said, [(text,) for text in right], "en", has_rouge=False)
    assert found == pytest.approx({"wer": jiwer.wer(right, said), "cer": jiwer.cer(right, said), "sentence_error": 2 / 3})
    assert found["wer"] == pytest.approx(3 / 9)


def test_a_pronunciation_is_right_where_any_is_matched_and_phones_count_against_the_nearest() -> None:
    references = [("T AH M EY T OW", "T AH M AA T OW"), ("K AE T",), ("R EH D", "R IY D")]
    found = text_metrics.score("pronounce", ["T AH M AA T OW", "K AH T", "R IY"], references, "", has_rouge=False)
    assert found == pytest.approx({"wer": 2 / 3, "per": (0 + 1 + 1) / (6 + 3 + 3)})


def test_bleu_of_one_sentence_equals_that_worked_out_by_hand() -> None:
    # of 1 to 4 words: 5 of 6, 3 of 5, 2 of 4, 1 of 3 are right; lengths are equal
    expected = 100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25
    assert text_metrics.score("translate", ["the cat sat on a mat"], [("the cat sat on the mat",)], "en", False)[
        "sacrebleu"
    ] == pytest.approx(expected)


def test_a_translation_that_is_too_short_pays_the_brevity_penalty() -> None:
    found = text_metrics.score("translate", ["a b c d e"], [("a b c d e f g h",)], "en", has_rouge=False)
    assert found["sacrebleu"] == pytest.approx(100 * exp(1 - 8 / 5))
    assert found["length_ratio"] == pytest.approx(5 / 8)


def test_translations_are_scored_as_sacrebleu_does_and_references_may_differ_in_number() -> None:
    found = text_metrics.score("translate", ANSWERS, MANY, "en", has_rouge=False)
    streams: list[Any] = [["the cat sat on the mat", "two dogs run in the park today"], ["a cat sat on the mat", None]]
    assert found["sacrebleu"] == pytest.approx(sacrebleu.corpus_bleu(ANSWERS, streams).score)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(ANSWERS, streams).score)
    assert set(found) == {"sacrebleu", "chrf", "bleu_tok_lc", "length_ratio"}


def test_a_right_translation_scores_100() -> None:
    right = ["Ein Mann (links) geht, schnell."] * 3
    found = text_metrics.score("translate", right, [(text,) for text in right], "de", has_rouge=False)
    assert found == pytest.approx({"sacrebleu": 100, "chrf": 100, "bleu_tok_lc": 100, "length_ratio": 1})


def test_bleu_tok_lc_ignores_case_and_how_marks_stand() -> None:
    right = "Ein Mann ( links ) geht sehr schnell ."
    assert text_metrics.bleu_tok_lc(["ein mann (links) geht sehr schnell."], [(right,)], "de") == pytest.approx(100)
    assert text_metrics.score("translate", ["ein mann (links) geht sehr schnell."], [(right,)], "de", False)["sacrebleu"] < 100


@pytest.mark.parametrize(("language", "text"), [("zh", "我们喜欢喝绿茶。"), ("ja", "私は緑茶が好きです。"), ("th", "ฉันชอบชาเขียว")])
def test_languages_without_blanks_are_scored_by_their_own_tokenizer_and_not_by_moses(language: str, text: str) -> None:
    found = text_metrics.score("translate", [text[:-2]], [(text,)], language, has_rouge=False)
    assert 50 < found["sacrebleu"] < 100
    assert "bleu_tok_lc" not in found
    japanese = "ja-mecab" if find_spec("MeCab") else "char"
    assert text_metrics.bleu_tokenizer(language) == {"zh": "zh", "ja": japanese, "th": "char"}[language]


def test_signatures_name_tokenizer_and_number_of_references() -> None:
    found = text_metrics.signatures("translate", "zh", [1, 1])
    assert set(found) == {"sacrebleu", "chrf"}
    assert found["sacrebleu"].startswith("nrefs:1|case:mixed|eff:no|tok:zh|smooth:exp|version:")
    varying = text_metrics.signatures("translate", "de", [1, 2, 4])
    assert varying["sacrebleu"].startswith("nrefs:var|case:mixed|eff:no|tok:13a|")
    assert varying["bleu_tok_lc"].startswith("nrefs:var|case:mixed|eff:no|tok:none|")
    assert text_metrics.signatures("transcribe", "en", [1]) == {}


def test_sums_of_a_sentence_s_statistics_give_a_corpus_s_bleu() -> None:
    statistics = text_metrics.bleu_statistics(ANSWERS, MANY, "en")
    assert statistics.shape == (2, 10)
    assert text_metrics.bleu_of(statistics.sum(0)) == pytest.approx(
        text_metrics.score("translate", ANSWERS, MANY, "en", False)["sacrebleu"]
    )


def test_rouge_equals_that_worked_out_by_hand_against_the_best_reference() -> None:
    # against the first: 3 of 4 words and 2 of 3 pairs of both are right, the longest common subsequence has 3 words
    found = text_metrics.rouge(["Police killed the gunman."], [("police shot the gunman", "nothing like it")])
    assert found == pytest.approx({"rouge1": 3 / 4, "rouge2": 1 / 3, "rougeL": 3 / 4})
    assert text_metrics.rouge(["a b", ""], [("a b",), ("c",)]) == pytest.approx({"rouge1": 0.5, "rouge2": 0.5, "rougeL": 0.5})


def test_rouge_is_left_out_of_summaries_in_letters_that_it_does_not_know() -> None:
    assert set(text_metrics.score("summarise", ["a b"], [("a b",)], "en", has_rouge=True)) == {"sacrebleu", "chrf", *text_metrics.ROUGE}
    assert set(text_metrics.score("summarise", ["绿茶"], [("绿茶",)], "zh", has_rouge=False)) == {"sacrebleu", "chrf"}
    assert text_metrics.is_mostly_ascii(["▁the", "ü", "cat", "7"])
    assert not text_metrics.is_mostly_ascii(["绿", "茶", "我们", "a"])


def test_an_unknown_goal_is_named() -> None:
    with pytest.raises(ValueError, match=r"goal='sing' is not known: transcribe, translate, summarise, pronounce"):
        text_metrics.score("sing", ["a"], [("a",)], "en", has_rouge=False)  # type: ignore[arg-type]  # a wrong value, on purpose


def test_rows_of_dictation_and_pronunciation_sum_to_the_corpus_s_rates() -> None:
    references = [("a b c", "a b"), ("c d",)]
    rows = text_metrics.row_scores("transcribe", ["a x", "c d"], references, has_rouge=False)
    assert {name: values.tolist() for name, values in rows.items()} == {
        **{"word_errors": [1, 0], "num_words": [2, 2]},
        **{"char_errors": [1, 0], "num_chars": [3, 3]},
    }
    rows = text_metrics.row_scores("pronounce", ["a x", "c d"], references, has_rouge=False)
    assert {name: values.tolist() for name, values in rows.items()} == {
        **{"word_errors": [1, 0], "num_words": [1, 1]},
        **{"phone_errors": [1, 0], "num_phones": [2, 2]},
    }


def test_rows_of_summaries_average_to_rouge_and_rows_of_translations_hold_sentence_chrf() -> None:
    rows = text_metrics.row_scores("summarise", ANSWERS, MANY, has_rouge=True)
    for name, value in text_metrics.rouge(ANSWERS, MANY).items():
        assert rows[name].mean() == pytest.approx(value)

    expected = [sacrebleu.sentence_chrf(text, list(right)).score for text, right in zip(ANSWERS, MANY, strict=True)]
    np.testing.assert_allclose(text_metrics.row_scores("translate", ANSWERS, MANY, has_rouge=False)["chrf"], expected)


def test_each_rouge_takes_the_reference_that_is_best_for_it() -> None:
    said, references = "a b c d", ("a b x y", "d c b a")  # one word pair in order; all words in no order
    assert text_metrics.rouge([said], [references]) == pytest.approx({"rouge1": 1.0, "rouge2": 1 / 3, "rougeL": 0.5})
