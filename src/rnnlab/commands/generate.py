"""Let a language model go on with a text (`src/generate.py`)."""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from rnnlab.commands.finished import NO_RUN, open_run, output_file, write_text
from rnnlab.config import ConfigError, whole
from rnnlab.contracts import UNKNOWN
from rnnlab.data.inputs import tell
from rnnlab.data.streams import TextWriter
from rnnlab.evaluation.bundle import Bundle
from rnnlab.insight.generation import Sampling, continue_text
from rnnlab.paths import printable
from rnnlab.settings import LARGEST_SEED, Paths, Store

MOST_TOKENS, MOST_SAMPLES = 1_000_000, 10_000


@dataclass(frozen=True)
class GenerateSettings:
    """What `generate.py` is asked; conf/generate.yaml says what each key means."""

    paths: Paths
    run: str | None
    prompt: object
    num_tokens: object
    num_samples: object
    temperature: object
    top_k: object
    top_p: object
    seed: object
    output: str | None
    tracking: Store

    def sampling(self) -> Sampling:
        """Return how tokens are drawn.

        Raises:
            ConfigError: for values that mean nothing.
        """
        temperature = _number(self.temperature, "temperature", 0.0, math.inf, "0 or more, such as 0.8")
        top_k = None if self.top_k is None else whole(self.top_k, 1, "top_k", most=MOST_TOKENS)
        top_p = None if self.top_p is None else _number(self.top_p, "top_p", 0.0, 1.0, "a number above 0 up to 1, such as 0.9")
        if top_p == 0:
            raise ConfigError("top_p=0 leaves no token: give a number above 0 up to 1, such as 0.9")
        return Sampling(temperature, top_k, top_p, whole(self.seed, 0, "seed", most=LARGEST_SEED))


def generate(settings: GenerateSettings) -> None:
    """Write texts, token by token on the screen, or to a file.

    Raises:
        ValueError: the user's to mend.
    """
    if not settings.run:
        raise ConfigError(NO_RUN)
    sampling = settings.sampling()
    num_tokens = whole(settings.num_tokens, 1, "num_tokens", most=MOST_TOKENS)
    num_samples = whole(settings.num_samples, 1, "num_samples", most=MOST_SAMPLES)
    output = output_file(settings.output)
    bundle = open_run(settings.run, settings.tracking, settings.paths).bundle
    reader = bundle.reader
    if not isinstance(reader, TextWriter):
        raise ConfigError(
            f"run={settings.run} is on data of the kind {reader.kind}: only a language model (data=language) goes on with a text"
        )
    text = "" if settings.prompt is None else str(settings.prompt)
    prompt = _encoded(reader, text)
    texts = []
    for number in range(num_samples):
        one = Sampling(sampling.temperature, sampling.top_k, sampling.top_p, sampling.seed + number)
        pieces = _written(bundle, reader, prompt, one, num_tokens, is_behind_text=bool(text))
        if output:
            texts.append(text + "".join(pieces))
        else:
            _show(text, pieces, number, num_samples)
    if output:
        write_text("\n\n".join(texts) + "\n", output)


def _show(text: str, pieces: Iterator[str], number: int, num_samples: int) -> None:
    if num_samples > 1:
        print(f"{'' if number == 0 else chr(10)}--- sample {number + 1} of {num_samples}", file=sys.stderr, flush=True)
    sys.stdout.write(printable(text))
    for piece in pieces:
        sys.stdout.write(printable(piece))
        sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()


def _encoded(reader: TextWriter, text: str) -> np.ndarray:
    """Return the tokens of a prompt; of none the token that begins a document or a line. Say which of them the run does not know."""
    if not text:
        return np.array([reader.first()])
    words, numbers = reader.words_of(text), reader.encode(text)
    if unknown := [word for word, number in zip(words, numbers, strict=True) if number == UNKNOWN]:
        some = ", ".join(dict.fromkeys(map(repr, unknown[:5])))
        tell(f"{len(unknown)} of {len(words)} tokens of the prompt are unknown to this run: {some}")
    if not len(numbers):
        raise ConfigError("prompt=... holds no token (it is blank): give a text, or leave prompt out")
    return numbers


def _written(
    bundle: Bundle, reader: TextWriter, prompt: np.ndarray, sampling: Sampling, most: int, *, is_behind_text: bool
) -> Iterator[str]:
    """Yield what is written for each token, until the document or the count of tokens ends."""
    before = reader.vocabulary[prompt[-1]] if is_behind_text else None
    for token in islice(continue_text(bundle.model, prompt, sampling), most):
        if token == reader.end:
            return
        word = reader.vocabulary[token]
        yield reader.written(word, before)
        before = word


def _number(value: object, name: str, least: float, most: float, allowed: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not least <= float(value) <= most:  # type: ignore[arg-type]  # it is a number
        raise ConfigError(f"{name}={value} is not allowed: {allowed}")
    return float(value)  # type: ignore[arg-type]  # it is a number
