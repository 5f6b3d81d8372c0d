"""A sequence of tokens per sequence: dictation, translation, summaries, pronunciation."""

import numpy as np
import pandas as pd
import torch
import torchmetrics
from torch import Tensor
from torchmetrics import MetricCollection

from rnnlab.contracts import SPECIALS, UNKNOWN, Batch, DataSpec, Decoded, Goal, Hypothesis
from rnnlab.tasks.base import TASKS_OWN, Columns, Loss, Regularisation, Task, object_array
from rnnlab.tasks.metrics import Metric
from rnnlab.tasks.table_metrics import of_texts
from rnnlab.tasks.text_metrics import UNKNOWN_SIGN, is_mostly_ascii, join_tokens, row_scores, score, signatures


class Transduce(Task[Decoded]):
    """A sequence of tokens per sequence; the model says how it was trained and searches, the task scores texts.

    Args:
        regularisation: label smoothing (the model applies it) and l1; class weights are for classes.
    """

    name = "transduce"

    def __init__(self, spec: DataSpec, regularisation: Regularisation, loss: Loss = TASKS_OWN) -> None:
        super().__init__(spec, regularisation, loss)
        if loss.kind is not None:
            raise ValueError(
                f"model.loss.kind={loss.kind} is not for data={spec.name}, whose targets are sequences of tokens: the model says how they "
                "are trained, by CTC or cross entropy. Allowed: null"
            )
        if regularisation.class_weights != "none":
            raise ValueError(
                f"data={spec.name} has sequences of tokens, for which model.regularisation.class_weights mean nothing: leave them out"
            )
        if spec.goal is None:
            raise ValueError(f"data={spec.name} has sequences of tokens but no goal: transcribe, translate, summarise or pronounce")
        self.goal: Goal = spec.goal
        self.has_rouge = self.goal == "summarise" and is_mostly_ascii(spec.label_names[len(SPECIALS) :])
        names: dict[Goal, str] = {"transcribe": "wer", "pronounce": "wer", "translate": "sacrebleu", "summarise": "chrf"}
        self.metric = Metric.named("rougeL" if self.has_rouge else names[self.goal])

    def text(self, tokens: list[int], copied: tuple[str, ...] = ()) -> str:
        """Return tokens as text; an unknown word shows as ⁇, other special words not at all.

        `copied` are the words of the input that numbers beyond the vocabulary stand for (`Hypothesis.words`).
        """
        known = self.spec.label_names
        names = (known[token] if token < len(known) else copied[token - len(known)] for token in tokens)
        words = [
            UNKNOWN_SIGN if token == UNKNOWN else name
            for token, name in zip(tokens, names, strict=True)
            if token == UNKNOWN or token >= len(SPECIALS)
        ]
        return join_tokens(words, self.spec.joined, self.spec.target_language)

    def loss(self, outputs: Decoded, batch: Batch, is_training: bool = True) -> Tensor:
        """Return the loss that the model gave, NaN where it gave none."""
        return torch.tensor(torch.nan) if outputs.loss is None else outputs.loss

    def num_answers(self, batch: Batch) -> int:
        """Count target tokens, and one stop each."""
        return int(batch.target_lengths.sum()) + batch.size

    def num_counted(self, outputs: Decoded, batch: Batch) -> int:
        return self.num_answers(batch) if outputs.num_counted is None else outputs.num_counted

    def metrics(self) -> MetricCollection:
        """Return what `text_metrics.score` gives for the goal."""
        return MetricCollection({"texts": TextScores(self.goal, self.spec.target_language, self.has_rouge)})

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names of all metrics, known before anything is computed."""
        return tuple(score(self.goal, ["a"], [("a",)], self.spec.target_language, self.has_rouge))

    def answers(self, outputs: Decoded, batch: Batch) -> tuple[list[str], list[tuple[str, ...]]]:
        """Return the text of each example's best hypothesis, and its references.

        Raises:
            ValueError: where the batch brings no references.
        """
        if batch.references is None:
            raise ValueError("the batch brings no references, so nothing can be scored: measure on plain batches, not on training ones")
        return [self.text(found[0].tokens, found[0].words) for found in outputs.hypotheses], list(batch.references)

    def table_metrics(self, table: pd.DataFrame) -> dict[str, float]:
        """Return intervals, and error rates of examples whose right text never occurs in training."""
        return of_texts(table, self.goal, self.spec.target_language)

    def columns(self, outputs: Decoded, batch: Batch) -> Columns:
        """Return text, score and number of tokens of the best hypothesis, text and score of the others (`prediction_2`, ...).

        Hypotheses that read the same are one answer, with the score of the best. Where references are known, `text_metrics.row_scores`
        are added. A batch has as many others as its longest list; where an example has fewer they are "" and NaN.
        """
        answers = [self._different(hypotheses) for hypotheses in outputs.hypotheses]
        texts = [row[0][0] for row in answers]
        found: Columns = {
            "prediction": object_array(texts),
            "score": np.array([row[0][1].score for row in answers], dtype=float),
            "num_tokens": np.array([len(row[0][1].tokens) for row in answers], dtype=np.int64),
        }
        for place in range(1, max(map(len, answers))):
            others = [row[place] if place < len(row) else None for row in answers]
            found[f"prediction_{place + 1}"] = object_array(["" if other is None else other[0] for other in others])
            found[f"score_{place + 1}"] = np.array([np.nan if other is None else other[1].score for other in others], dtype=float)
        if batch.references is not None:
            found |= row_scores(self.goal, texts, batch.references, self.has_rouge)
        return found

    def _different(self, hypotheses: list[Hypothesis]) -> list[tuple[str, Hypothesis]]:
        """Return hypotheses with their texts, best first, of those that read the same the best alone."""
        kept: dict[str, Hypothesis] = {}
        for hypothesis in hypotheses:
            kept.setdefault(self.text(hypothesis.tokens, hypothesis.words), hypothesis)
        return list(kept.items())

    def target_columns(self, batch: Batch) -> Columns:
        """Return the first reference, all of them as a list, and their number; nothing where references are unknown."""
        if batch.references is None:
            return {}
        return {
            "target": object_array([texts[0] for texts in batch.references]),
            "references": object_array([list(texts) for texts in batch.references]),
            "num_references": np.array([len(texts) for texts in batch.references], dtype=np.int64),
        }

    def signature(self, num_references: np.ndarray) -> dict[str, str]:
        """Return sacreBLEU's signatures by metric name, for the table's column `num_references`, (N,)."""
        return signatures(self.goal, self.spec.target_language, [int(number) for number in np.unique(num_references)])


class TextScores(torchmetrics.Metric):
    """Collect texts and score them together, see `text_metrics.score`; of one process only (texts are not gathered from others)."""

    is_differentiable = False
    full_state_update = False

    def __init__(self, goal: Goal, language: str, has_rouge: bool) -> None:
        super().__init__()
        self.goal: Goal = goal
        self.language = language
        self.has_rouge = has_rouge
        self.hypotheses: list[str] = []
        self.references: list[tuple[str, ...]] = []

    def update(self, hypotheses: list[str], references: list[tuple[str, ...]]) -> None:
        """Add a batch's texts."""
        self.hypotheses.extend(hypotheses)
        self.references.extend(references)

    def compute(self) -> dict[str, Tensor]:
        """Score all texts together.

        Raises:
            ValueError: where there are none.
        """
        if not self.hypotheses:
            raise ValueError("there are no texts to score: update before computing")
        numbers = score(self.goal, self.hypotheses, self.references, self.language, self.has_rouge)
        return {name: torch.tensor(value, dtype=torch.double) for name, value in numbers.items()}

    def reset(self) -> None:
        """Forget all texts."""
        super().reset()
        self.hypotheses, self.references = [], []
