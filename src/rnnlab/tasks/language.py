"""Language models: which token comes next?

With p the softmax of the outputs at a step and y the token that follows, a text of n tokens costs  N = -sum ln p_y  nats, and

    bits_per_character   N / (ln 2 * characters)
    perplexity           exp(N / words)

Both divide by what the text holds, not by the tokens it was cut into, so that models of characters, subwords and words compare. A line
end is a character and, of words, a token of its own that counts as a word (as is usual for the Penn Treebank).
"""

import math

import numpy as np
import pandas as pd
import torch
import torchmetrics
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection

from rnnlab.contracts import IGNORED_TARGET, SPECIALS, UNKNOWN, Batch, DataSpec
from rnnlab.tasks.base import TASKS_OWN, Columns, Loss, Regularisation, object_array
from rnnlab.tasks.classify import Label
from rnnlab.tasks.metrics import Metric
from rnnlab.tasks.table_metrics import of_language

BLANK = "▁"
LINE_ENDS = ("\n", "<eos>")
NUM_NEXT = 5
LARGEST = math.log(float(np.finfo(np.float64).max))
COUNTS = ("nats", "num_targets", "num_characters", "num_words", "num_right", "num_unknown")
"""What the metrics of a language model are ratios of, by the names of their columns."""


class NextToken(Label):
    """The token that follows each step; see the top of this file.

    accuracy   fraction of tokens that were the most probable
    unknown    fraction of tokens that the vocabulary lacks: each is predicted as one word, which makes perplexity too low
    """

    name = "next_token"

    def __init__(self, spec: DataSpec, regularisation: Regularisation, loss: Loss = TASKS_OWN) -> None:
        super().__init__(spec, regularisation, loss)
        is_by_word = spec.joined == "words"
        self.metric = Metric.named("perplexity" if is_by_word else "bits_per_character")
        num_characters, begins_word = _sizes(spec)
        self.has_words = any(begins_word)
        with torch.device("cpu"):  # also where a model is only sketched
            self.num_characters_V, self.begins_word_V = torch.tensor(num_characters), torch.tensor(begins_word)
            self.is_end_V = torch.tensor([word in LINE_ENDS for word in spec.label_names])

    def metrics(self) -> MetricCollection:
        """Bits per character, perplexity per word, accuracy, and the fraction of unknown tokens, as far as they can be told."""
        return MetricCollection({"tokens": TokenSums(self.spec.joined == "words", self.has_words)})

    def flatten(self, computed: dict[str, Tensor]) -> dict[str, float]:
        return {name: float(value) for name, value in computed.items()}

    def update(self, metrics: MetricCollection, outputs: Tensor, batch: Batch) -> None:
        metrics.update(self._sums(outputs, batch)[1].sum(0))

    def answers(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        raise NotImplementedError("a language model is measured by what it costs, see `update`")

    def _sums(self, outputs_BTV: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the nats of each token, (B, T), and of each sequence the numbers of `COUNTS`, (B, 6) float64."""
        targets_BT = batch.targets.to(outputs_BTV.device)
        is_known_BT = targets_BT != IGNORED_TARGET
        nats_BT = F.cross_entropy(outputs_BTV.mT, targets_BT, ignore_index=IGNORED_TARGET, reduction="none").double()
        tokens_BT = targets_BT.clamp(min=0)
        characters_BT = self.num_characters_V.to(targets_BT.device)[tokens_BT]
        words_BT = self.begins_word_V.to(targets_BT.device)[tokens_BT]
        if self.spec.joined == "characters":  # a letter begins a word where none stands before it; a line end is a word by itself
            is_end_V = self.is_end_V.to(targets_BT.device)
            is_inside_BT = (self.begins_word_V.to(targets_BT.device) & ~is_end_V)[batch.inputs.to(targets_BT.device)]
            words_BT = words_BT & (~is_inside_BT | is_end_V[tokens_BT])
        right_BT, unknown_BT = outputs_BTV.argmax(-1) == targets_BT, targets_BT == UNKNOWN
        counted = (nats_BT, torch.ones_like(nats_BT), characters_BT, words_BT, right_BT, unknown_BT)
        sums_B6 = torch.stack([(part.double() * is_known_BT).sum(1) for part in counted], -1)
        return nats_BT * is_known_BT, sums_B6

    def table_metrics(self, table: pd.DataFrame) -> dict[str, float]:
        return of_language(table, self.spec.joined == "words", self.has_words)

    def columns(self, outputs: Tensor, batch: Batch) -> Columns:
        """Return what each sequence costs, the log-probability of each of its tokens, and the most probable tokens after its last."""
        nats_BT, sums_B6 = (part.cpu().numpy() for part in self._sums(outputs, batch))
        lengths_B = batch.input_lengths.tolist()
        last_BV = outputs[torch.arange(len(outputs)), torch.as_tensor(lengths_B) - 1].float().softmax(-1)
        chances_BN, tokens_BN = (part.cpu().numpy() for part in last_BV.topk(min(NUM_NEXT, self.spec.target_size), -1))
        names = np.array(self.spec.label_names, dtype=object)
        known_B = (batch.targets != IGNORED_TARGET).sum(1).tolist()
        found: Columns = {name: sums_B6[:, place] for place, name in enumerate(COUNTS) if name != "num_targets"}
        rows = [dict(zip(COUNTS, row, strict=True)) for row in sums_B6.tolist()]
        each = [ratios(row, self.spec.joined == "words", self.has_words) for row in rows]
        found |= {name: np.array([row[name] for row in each]) for name in each[0] if name not in ("accuracy", "unknown")}
        found["log_probability"] = object_array([(-row[:length]).tolist() for row, length in zip(nats_BT, known_B, strict=True)])
        found["next"] = object_array([names[row].tolist() for row in tokens_BN])
        found["next_probability"] = object_array(chances_BN.tolist())
        return found

    def target_columns(self, batch: Batch) -> Columns:
        """Return how many tokens of each sequence are predicted."""
        return {"num_targets": (batch.targets != IGNORED_TARGET).sum(1).cpu().numpy().astype(np.int64)}


class TokenSums(torchmetrics.Metric):
    """Sum what the metrics of `NextToken` are ratios of."""

    full_state_update = False
    sums_6: Tensor

    def __init__(self, is_by_word: bool, has_words: bool) -> None:
        super().__init__()
        self.is_by_word, self.has_words = is_by_word, has_words
        self.add_state("sums_6", torch.zeros(len(COUNTS), dtype=torch.double), dist_reduce_fx="sum")

    def update(self, sums_6: Tensor) -> None:
        """Add a batch's numbers of `COUNTS`."""
        self.sums_6 += sums_6.double()

    def compute(self) -> dict[str, Tensor]:
        """Return the metrics; not a number before anything is known."""
        found = ratios(dict(zip(COUNTS, self.sums_6.tolist(), strict=True)), self.is_by_word, self.has_words)
        return {name: torch.tensor(value, dtype=torch.double) for name, value in found.items()}


def ratios(sums: dict[str, float], is_by_word: bool, has_words: bool) -> dict[str, float]:
    """Return the metrics of these sums, by name; see the top of this file."""

    def per(numerator: str, denominator: str) -> float:
        return sums[numerator] / sums[denominator] if sums[denominator] else math.nan

    found = {"accuracy": per("num_right", "num_targets"), "unknown": per("num_unknown", "num_targets")}
    if not is_by_word:
        found["bits_per_character"] = per("nats", "num_characters") / math.log(2)
    if has_words:
        nats = per("nats", "num_words")
        found["perplexity"] = math.inf if nats > LARGEST else math.exp(nats)
    return found


def _sizes(spec: DataSpec) -> tuple[list[int], list[bool]]:
    """Return how many characters each token stands for, (V,), and whether it begins a word, or of characters is part of one, (V,)."""
    words = spec.label_names
    if spec.joined == "words":
        return [0] * len(words), [True] * len(words)
    is_end = [word in LINE_ENDS for word in words]
    if spec.joined == "characters":
        has_blanks = " " in words
        is_letter = [word not in SPECIALS and not word.isspace() for word in words]
        begins = [has_blanks and (end or letter) for end, letter in zip(is_end, is_letter, strict=True)]
        return [1] * len(words), begins
    # The blank that stands for the beginning of a line is no character of the text; the line's end, which is one, takes its place.
    num_characters = [0 if end else 1 if word in SPECIALS else len(word) for word, end in zip(words, is_end, strict=True)]
    return num_characters, [end or word.startswith(BLANK) for word, end in zip(words, is_end, strict=True)]
