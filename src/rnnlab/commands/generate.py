"""Let a model go on with a text or a piece of music (`src/generate.py`)."""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from rnnlab.commands.finished import NO_RUN, open_run, output_file, write_text
from rnnlab.config import ConfigError, whole
from rnnlab.contracts import UNKNOWN
from rnnlab.data.files import home_of
from rnnlab.data.inputs import tell
from rnnlab.data.streams import TextWriter
from rnnlab.evaluation.bundle import Bundle
from rnnlab.insight.continuation import continue_steps, piano_rolls
from rnnlab.insight.generation import Sampling, continue_text
from rnnlab.paths import printable
from rnnlab.settings import LARGEST_SEED, Paths, Store

MOST_TOKENS, MOST_SAMPLES = 1_000_000, 10_000
DEFAULT_PIECE = "generated.mid"
MOST_DRAWN = 8
"""Pieces in a picture."""


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

    def request(self) -> "Request":
        """Return what is asked, checked.

        Raises:
            ConfigError: for values that mean nothing.
        """
        temperature = _number(self.temperature, "temperature", 0.0, math.inf, "0 or more, such as 0.8")
        top_k = None if self.top_k is None else whole(self.top_k, 1, "top_k", most=MOST_TOKENS)
        top_p = None if self.top_p is None else _number(self.top_p, "top_p", 0.0, 1.0, "a number above 0 up to 1, such as 0.9")
        if top_p == 0:
            raise ConfigError("top_p=0 leaves no token: give a number above 0 up to 1, such as 0.9")
        return Request(
            "" if self.prompt is None else str(self.prompt),
            Sampling(temperature, top_k, top_p, whole(self.seed, 0, "seed", most=LARGEST_SEED)),
            whole(self.num_tokens, 1, "num_tokens", most=MOST_TOKENS),
            whole(self.num_samples, 1, "num_samples", most=MOST_SAMPLES),
            output_file(self.output),
        )


@dataclass(frozen=True)
class Request:
    """What is to be generated.

    Args:
        prompt: the text, or the file of a piece, to go on with; empty where none is given.
        sampling: how tokens or keys are drawn; each sample adds its number, from 0, to the seed.
        num_tokens: tokens or steps of a sample, at most.
        num_samples: so many.
        output: the file to write; None: the screen.
    """

    prompt: str
    sampling: Sampling
    num_tokens: int
    num_samples: int
    output: Path | None

    def samples(self) -> Iterator[Sampling]:
        """Yield how each sample is drawn, after its heading is printed where there are several."""
        for number in range(self.num_samples):
            if self.num_samples > 1 and not self.output:
                print(f"{'' if number == 0 else chr(10)}--- sample {number + 1} of {self.num_samples}", file=sys.stderr, flush=True)
            yield replace(self.sampling, seed=self.sampling.seed + number)


def generate(settings: GenerateSettings) -> None:
    """Write texts, token by token on the screen, or to a file; of music steps on the screen, and a MIDI file with a picture.

    Raises:
        ValueError: the user's to mend.
    """
    if not settings.run:
        raise ConfigError(NO_RUN)
    request = settings.request()
    bundle = open_run(settings.run, settings.tracking, settings.paths).bundle
    reader = bundle.reader
    if isinstance(reader, TextWriter):
        _write_texts(bundle, reader, request)
    elif reader.written_as:
        _write_pieces(bundle, request)
    else:
        raise ConfigError(
            f"run={settings.run} is on data of the kind {reader.kind}: only a language model (data=language) goes on with a text, and only "
            "a run on music (data=music) with a piece"
        )


def _write_texts(bundle: Bundle, reader: TextWriter, request: Request) -> None:
    prompt, texts = _encoded(reader, request.prompt), []
    for sampling in request.samples():
        pieces = _written(bundle, reader, prompt, sampling, request.num_tokens, is_behind_text=bool(request.prompt))
        if request.output:
            texts.append(request.prompt + "".join(pieces))
        else:
            _show(request.prompt, pieces)
    if request.output:
        write_text("\n\n".join(texts) + "\n", request.output)


def _write_pieces(bundle: Bundle, request: Request) -> None:
    """Go on with a piece: print the keys of each step as they are drawn; write each whole piece, and draw all in one picture."""
    if request.sampling.top_k is not None or request.sampling.top_p is not None:
        raise ConfigError("each key of music is drawn by itself, so top_k and top_p mean nothing: choose temperature")
    if not request.prompt:
        raise ConfigError("give the beginning of a piece: prompt=FILE (MIDI, CSV or npy, as `data.source` takes them)")
    file, suffixes = request.output or Path(DEFAULT_PIECE), bundle.reader.written_as
    if file.suffix not in suffixes:
        raise ConfigError(f"output={file}: this run's music is written as {' or '.join(suffixes)}")
    if not home_of(request.prompt).exists():
        raise ConfigError(f"prompt={request.prompt}: no such file; of music give a file with the beginning of a piece")
    pieces = bundle.reader.collect([request.prompt], None)
    if len(pieces) != 1:
        raise ConfigError(f"prompt={request.prompt} holds {len(pieces)} pieces: give one")
    _, batch = bundle.reader.read(pieces)
    given_TK, keys, ways = batch.inputs[0, : int(batch.input_lengths[0])], bundle.model.spec.label_names, dict[str, np.ndarray]()
    for number, sampling in enumerate(replace(request, output=None).samples(), start=1):
        steps = continue_steps(bundle.model, given_TK, sampling.seed, sampling.temperature)
        added_SK = np.stack([_shown(step_K.numpy(), keys) for step_K in islice(steps, request.num_tokens)])
        ways[f"seed {sampling.seed}"] = added_SK
        place = file if request.num_samples == 1 else file.with_stem(f"{file.stem}_{number}")
        bundle.reader.write(np.concatenate([given_TK.numpy(), added_SK]), place)
        print(f"written: {place}", file=sys.stderr)
    picture = file.with_suffix(".png")
    piano_rolls(given_TK.numpy(), dict(islice(ways.items(), MOST_DRAWN)), None, keys, picture)
    print(f"written: {picture}", file=sys.stderr)


def _shown(step_K: np.ndarray, keys: tuple[str, ...]) -> np.ndarray:
    """Print the keys of a step, and return it."""
    print(printable(" ".join(key for key, is_on in zip(keys, step_K, strict=True) if is_on)) or "(silence)", flush=True)
    return step_K


def _show(text: str, pieces: Iterator[str]) -> None:
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
