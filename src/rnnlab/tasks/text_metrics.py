"""Texts put together from tokens, and texts scored against the texts that are right.

    transcribe   wer, cer (edits / reference length, over all utterances together), sentence_error
    pronounce    wer (fraction of words none of whose pronunciations was given), per (edits / length of the nearest pronunciation)
    translate    sacrebleu, chrf (chrF2), bleu_tok_lc (on lower-cased words by Moses' rules, as older papers give it), length_ratio
    summarise    rouge1, rouge2, rougeL (F-measure, mean over summaries), sacrebleu, chrf

BLEU and chrF go from 0 to 100, everything else is a fraction. BLEU's tokenizer is sacreBLEU's 13a; for Chinese `zh`, for Japanese
`ja-mecab` where MeCab is installed, else characters, as for Thai. ROUGE knows the letters a-z and digits alone: where a vocabulary is
mostly of other letters it is left out.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import pandas as pd

from rnnlab.contracts import Goal, Joined

if TYPE_CHECKING:  # both cost more to import than all else here, and only some runs need them
    from sacrebleu.metrics.bleu import BLEU, BLEUScore
    from sacremoses import MosesDetokenizer, MosesTokenizer

References = Sequence[Sequence[str]]
WITHOUT_BLANKS = ("zh", "ja", "th")
"""Languages whose words Moses' rules do not find."""
UNKNOWN_SIGN = "⁇"
UNITS = {"wer": "word", "cer": "char", "per": "phone"}
"""What each error rate counts."""
TITLES = {"rougeL": "ROUGE-L, mean over examples", "chrf": "chrF2, mean over sentences"}
ROUGE = ("rouge1", "rouge2", "rougeL")
MAX_NGRAM = 4


class Errors(NamedTuple):
    """Count what an edit distance counts: substitutions, insertions and deletions; `length` is the reference's."""

    edits: int
    length: int


# Texts ----------------------------------------------------------------------------------------------------------------------------


def join_tokens(words: list[str], joined: Joined, language: str) -> str:
    """Put the words of a vocabulary together as text (see `contracts.DataSpec.joined`)."""
    if joined == "pieces":
        return "".join(words).replace("▁", " ").strip()
    if joined == "moses":
        text: str = _detokenizer(language or "en").detokenize(words, unescape=False)
        return text
    if joined == "words":
        return " ".join(words)
    raise ValueError(f"joined={joined!r} is not known: words, pieces, moses")


def moses_words(text: str, language: str) -> str:
    """Return a text's words and marks by the rules of Moses, a blank between, nothing escaped."""
    words: list[str] = _tokenizer(language or "en").tokenize(text, escape=False)
    return " ".join(words)


def is_mostly_ascii(vocabulary: Iterable[str]) -> bool:
    """Say whether most letters and digits in these words are those that ROUGE knows."""
    signs = [sign for word in vocabulary for sign in word if sign.isalnum()]
    return sum(sign.isascii() for sign in signs) * 2 >= len(signs)


@lru_cache
def _tokenizer(language: str) -> "MosesTokenizer":
    from sacremoses import MosesTokenizer

    return MosesTokenizer(language)


@lru_cache
def _detokenizer(language: str) -> "MosesDetokenizer":
    from sacremoses import MosesDetokenizer

    return MosesDetokenizer(language)


# Edit distances -------------------------------------------------------------------------------------------------------------------


def word_errors(hypothesis: str, reference: str) -> Errors:
    """Count edits of words (what blanks part); of pronunciations, whose words are phones, too."""
    from jiwer import process_words

    found = process_words(reference, hypothesis)
    return Errors(found.substitutions + found.deletions + found.insertions, found.hits + found.substitutions + found.deletions)


phone_errors = word_errors


def char_errors(hypothesis: str, reference: str) -> Errors:
    """Count edits of characters, blanks included."""
    from jiwer import process_characters

    found = process_characters(reference, hypothesis)
    return Errors(found.substitutions + found.deletions + found.insertions, found.hits + found.substitutions + found.deletions)


def nearest_reference(hypothesis: str, references: Sequence[str], count: Callable[[str, str], Errors]) -> Errors:
    """Return the errors against the reference that needs the fewest edits, the first of several."""
    return min((count(hypothesis, reference) for reference in references), key=lambda errors: errors.edits)


def error_rate(errors: Iterable[Errors]) -> float:
    """Return all edits over all references' length; NaN where there is no length."""
    counts = np.array(list(errors), dtype=np.int64).reshape(-1, len(Errors._fields))
    edits, length = counts.sum(0)
    return float(edits / length) if length else float("nan")


# sacreBLEU ------------------------------------------------------------------------------------------------------------------------


def bleu_tok_lc(hypotheses: Sequence[str], references: References, language: str) -> float:
    """Return BLEU of lower-cased words by Moses' rules, 0 to 100: comparable to papers that tokenise both sides themselves."""
    words = [moses_words(text.lower(), language) for text in hypotheses]
    right = [[moses_words(text.lower(), language) for text in texts] for texts in references]
    return float(_corpus_bleu(words, right, "none").score)


def chrf(hypotheses: Sequence[str], references: References) -> float:
    """Return sacreBLEU's chrF2 of a corpus, 0 to 100."""
    from sacrebleu.metrics.chrf import CHRF

    return float(CHRF().corpus_score(hypotheses, _streams(references)).score)


def sentence_chrf(hypotheses: Sequence[str], references: References) -> np.ndarray:
    """Return chrF2 of each sentence, (N,), 0 to 100."""
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF()
    scores = [metric.sentence_score(text, list(texts)).score for text, texts in zip(hypotheses, references, strict=True)]
    return np.array(scores, dtype=float)


def bleu_tokenizer(language: str) -> str:
    """Name sacreBLEU's tokenizer for a language."""
    if language == "zh":
        return "zh"
    if language == "ja":
        return "ja-mecab" if find_spec("MeCab") is not None else "char"
    return "char" if language in WITHOUT_BLANKS else "13a"


def bleu_statistics(hypotheses: Sequence[str], references: References, language: str) -> np.ndarray:
    """Return each sentence's part of BLEU, (N, 10): matches of 1 to 4 words, all of 1 to 4 words, both lengths; sums give a corpus's."""
    metric = _bleu(bleu_tokenizer(language), is_sentence=True)
    found = [metric.sentence_score(text, list(texts)) for text, texts in zip(hypotheses, references, strict=True)]
    return np.array([[*score.counts, *score.totals, score.sys_len, score.ref_len] for score in found], dtype=np.int64)


def bleu_of(statistics: np.ndarray) -> float:
    """Return BLEU of summed statistics, (10,)."""
    from sacrebleu.metrics.bleu import BLEU

    counts = [int(number) for number in statistics]
    right, total, lengths = counts[:MAX_NGRAM], counts[MAX_NGRAM : 2 * MAX_NGRAM], counts[2 * MAX_NGRAM :]
    return float(BLEU.compute_bleu(right, total, lengths[0], lengths[1], smooth_method="exp").score)


def signatures(goal: Goal, language: str, num_references: Iterable[int]) -> dict[str, str]:
    """Return what sacreBLEU asks to be named beside its numbers, by metric; empty for goals that it does not score.

    Of `num_references`, of each example, only which numbers occur matters.
    """
    if goal not in ("translate", "summarise"):
        return {}
    from sacrebleu.metrics.chrf import CHRF

    # A metric knows its number of references once it has scored something.
    streams = _streams([["a"] * number for number in sorted(set(num_references))])
    texts = ["a"] * len(streams[0])
    metrics = {"sacrebleu": _bleu(bleu_tokenizer(language)), "chrf": CHRF()}
    if _has_moses_bleu(goal, language):
        metrics["bleu_tok_lc"] = _bleu("none")
    for metric in metrics.values():
        metric.corpus_score(texts, streams)
    return {name: str(metric.get_signature().format()) for name, metric in metrics.items()}


def _corpus_bleu(hypotheses: Sequence[str], references: References, tokenizer: str) -> "BLEUScore":
    return _bleu(tokenizer).corpus_score(hypotheses, _streams(references))


def _bleu(tokenizer: str, is_sentence: bool = False) -> "BLEU":
    from sacrebleu.metrics.bleu import BLEU

    # `force` only silences a warning that full stops stand alone; `effective_order` one that a sentence is short.
    return BLEU(tokenize=tokenizer, force=True, effective_order=is_sentence)


def _has_moses_bleu(goal: Goal, language: str) -> bool:
    return goal == "translate" and language not in WITHOUT_BLANKS


def _streams(references: References) -> list[list[str]]:
    """Turn each example's references into streams, as sacreBLEU wants them; None where an example has fewer than others."""
    most = max(map(len, references))
    streams = [[texts[place] if place < len(texts) else None for texts in references] for place in range(most)]
    return cast("list[list[str]]", streams)  # sacreBLEU takes None, its signatures do not say so


# ROUGE ----------------------------------------------------------------------------------------------------------------------------


def rouge(hypotheses: Sequence[str], references: References) -> dict[str, float]:
    """Return the F-measures of ROUGE-1, -2 and -L (Lin 2004), each summary against its best reference, mean over summaries, 0 to 1."""
    from torchmetrics.functional.text.rouge import rouge_score

    right = [list(texts) for texts in references]
    found = rouge_score(list(hypotheses), right, accumulate="best", rouge_keys=ROUGE)
    return {name: float(found[f"{name}_fmeasure"]) for name in ROUGE}


# Goals ----------------------------------------------------------------------------------------------------------------------------


def score(goal: Goal, hypotheses: Sequence[str], references: References, language: str, has_rouge: bool) -> dict[str, float]:
    """Score a corpus by its goal, see the head of this file: one text an example against one or more right ones.

    `has_rouge` is whether their letters are those that ROUGE knows (`summarise` only).
    """
    pairs = list(zip(hypotheses, references, strict=True))
    if goal == "transcribe":
        words = [nearest_reference(*pair, word_errors) for pair in pairs]
        chars = [nearest_reference(*pair, char_errors) for pair in pairs]
        return {"wer": error_rate(words), "cer": error_rate(chars), "sentence_error": _fraction_wrong(words)}
    if goal == "pronounce":
        phones = [nearest_reference(*pair, phone_errors) for pair in pairs]
        return {"wer": _fraction_wrong(phones), "per": error_rate(phones)}
    both = _corpus_bleu(hypotheses, references, bleu_tokenizer(language))
    numbers = {"sacrebleu": float(both.score), "chrf": chrf(hypotheses, references)}
    if goal == "summarise":
        return numbers | (rouge(hypotheses, references) if has_rouge else {})
    if goal == "translate":
        numbers["length_ratio"] = float(both.sys_len / both.ref_len) if both.ref_len else float("nan")
        if _has_moses_bleu(goal, language):
            numbers["bleu_tok_lc"] = bleu_tok_lc(hypotheses, references, language)
        return numbers
    raise ValueError(f"goal={goal!r} is not known: transcribe, translate, summarise, pronounce")


def row_scores(goal: Goal, hypotheses: Sequence[str], references: References, has_rouge: bool) -> dict[str, np.ndarray]:
    """Return what each example adds to a corpus's scores, as columns of (N,).

    transcribe   word_errors, num_words, char_errors, num_chars
    pronounce    word_errors (0 or 1), num_words (1), phone_errors, num_phones
    translate    chrf of the sentence
    summarise    chrf of the sentence, rouge1, rouge2, rougeL, each of the best reference
    """
    pairs = list(zip(hypotheses, references, strict=True))
    if goal == "transcribe":
        words = _columns("word", [nearest_reference(*pair, word_errors) for pair in pairs])
        return words | _columns("char", [nearest_reference(*pair, char_errors) for pair in pairs])
    if goal == "pronounce":
        phones = [nearest_reference(*pair, phone_errors) for pair in pairs]
        return _columns("word", [Errors(int(errors.edits > 0), 1) for errors in phones]) | _columns("phone", phones)
    found = {"chrf": sentence_chrf(hypotheses, references)}
    if goal == "summarise" and has_rouge:
        scores = [rouge([text], [texts]) for text, texts in pairs]
        found |= {name: np.array([score[name] for score in scores], dtype=float) for name in ROUGE}
    return found


def row_sums(table: pd.DataFrame) -> tuple[np.ndarray, str, bool]:
    """Return by what the rows of a table are best told apart: numerator and denominator of each, (N, 2), a title, whether more is better.

    Args:
        table: with columns of `row_scores`: errors of phones or words, else rougeL or chrf.

    Raises:
        ValueError: if the table has none of these.
    """
    for unit in ("phone", "word"):
        if f"{unit}_errors" in table:
            return table[[f"{unit}_errors", f"num_{unit}s"]].to_numpy(float), f"{unit} error rate", False
    for column, title in TITLES.items():
        if column in table:
            return np.stack([table[column].to_numpy(float), np.ones(len(table))], axis=1), title, True
    raise ValueError(f"the table has none of phone_errors, word_errors, {', '.join(TITLES)}: it was not scored as text")


def _columns(unit: str, errors: list[Errors]) -> dict[str, np.ndarray]:
    counts = np.array(errors, dtype=np.int64).reshape(-1, len(Errors._fields))
    return {f"{unit}_errors": counts[:, 0], f"num_{unit}s": counts[:, 1]}


def _fraction_wrong(errors: list[Errors]) -> float:
    return float(np.mean([error.edits > 0 for error in errors]))
