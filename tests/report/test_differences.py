"""Two runs side by side: on which examples which of them is better."""

import pandas as pd

from rnnlab.report.differences import gains


def test_a_transcript_without_errors_beats_one_with_errors() -> None:
    ids = ["a", "b", "c"]
    first = pd.DataFrame({"example_id": ids, "group": ids, "word_errors": [0, 1, 0], "num_words": [4, 2, 3]})
    second = first.assign(word_errors=[2, 0, 0])
    assert gains(first, second, "wer")["gain"].tolist() == [1, -1, 0]


def test_a_smaller_error_beats_a_larger_one() -> None:
    first = pd.DataFrame({"example_id": ["a", "b"], "group": ["a", "b"], "prediction/y": [1.0, 5.0], "target/y": [2.0, 2.0]})
    second = first.assign(**{"prediction/y": [4.0, 2.0]})
    assert gains(first, second, "mse")["gain"].tolist() == [4 - 1, 0 - 9]
