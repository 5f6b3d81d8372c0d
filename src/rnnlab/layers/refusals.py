"""What a network refuses: front ends, losses and ways of training that do not go with the data."""

from typing import Any

import numpy as np

from rnnlab.contracts import DataSpec
from rnnlab.layers.decoder import DecoderSettings
from rnnlab.layers.frontends import Frontend
from rnnlab.tasks import Loss, Regularisation, Task


def unordered_targets(name: str) -> str:
    """Say why CTC cannot train on these data, and what can."""
    return (
        f"data={name} has targets that don't come in the order of the inputs: CTC, by which all networks but seq2seq give sequences, "
        "cannot train them; choose model=seq2seq"
    )


def refuse_without_ctc(spec: DataSpec, regularisation: Regularisation) -> None:
    """Raise ValueError where CTC cannot train such targets, or not so."""
    if not spec.is_monotonic:
        raise ValueError(unordered_targets(spec.name))
    if regularisation.label_smoothing:
        raise ValueError("model.regularisation.label_smoothing means nothing to CTC: leave it out, or choose model=seq2seq")


def refuse_crf(spec: DataSpec, regularisation: Regularisation, loss: Loss) -> None:
    """Raise ValueError where a conditional random field cannot be trained on such targets, or not so."""
    if spec.scheme is None:
        raise ValueError(f"model.head.has_crf=true is for tags, which data={spec.name} does not have: set it to false")
    if regularisation.label_smoothing or regularisation.class_weights != "none" or loss.kind not in (None, "cross_entropy"):
        raise ValueError(
            "model.head.has_crf=true is trained on the chance of whole sentences, for which model.regularisation.label_smoothing, "
            "class_weights and other model.loss.kind mean nothing: leave them out"
        )


def refuse_copying(spec: DataSpec, frontend: Frontend, decoder: DecoderSettings, regularisation: Regularisation) -> None:
    """Raise ValueError where answers cannot copy words of the inputs, or not so, and where coverage has no tokens to cover."""
    if decoder.coverage_weight is not None and spec.target_kind != "tokens":
        raise ValueError(
            f"model.decoder.coverage_weight={decoder.coverage_weight:g} is for answers of tokens, which data={spec.name} does not have: "
            "set it to null"
        )
    if not decoder.has_copying:
        return
    if not spec.can_copy:
        raise ValueError(
            f"model.decoder.has_copying=true: answers to data={spec.name} are not made of the words of the inputs. Copying is for "
            "summaries and translations; set it to false"
        )
    refuse_smoothed_copies(decoder, regularisation)
    if frontend.steps_out(np.array([12]))[0] != 12:
        raise ValueError("model.decoder.has_copying=true needs one encoder step for each token of the input: set frontend.repeats=1")


def refuse_smoothed_copies(decoder: DecoderSettings, regularisation: Regularisation) -> None:
    """Raise ValueError where label smoothing has no vocabulary to spread over."""
    if decoder.has_copying and regularisation.label_smoothing:
        raise ValueError(
            f"model.regularisation.label_smoothing={regularisation.label_smoothing:g} spreads over one vocabulary, but with "
            "model.decoder.has_copying=true each input has its own: set it to 0"
        )


def refuse_misfit(frontend: Frontend, spec: DataSpec, task: Task[Any]) -> None:
    """Raise ValueError where the front end cannot take these inputs or answer these targets."""
    name = f"frontend={type(frontend).__name__.lower()}"
    if frontend.accepts != spec.input_kind:
        raise ValueError(f"{name} takes {frontend.accepts}, but data={spec.name} gives {spec.input_kind}: choose another frontend")
    if spec.is_stream and frontend.looks_back:
        raise ValueError(
            f"frontend.num_ngrams: data={spec.name} is read in parts, at whose beginning the tokens before are not there: set it to []"
        )
    if frontend.needs_characters and not spec.num_characters:
        raise ValueError(
            f"frontend=words_and_characters takes words with their characters, but data={spec.name} gives tokens alone: choose "
            "frontend=embedding, or of data=tags set data.loader.max_characters to 1 or more"
        )
    if spec.is_causal and frontend.looks_ahead:
        raise ValueError(f"data={spec.name} has targets that are its own later inputs, which {name} would read: choose frontend=direct")
    if task.is_per_step and frontend.steps_out(np.array([12]))[0] != 12:
        raise ValueError(
            f"data={spec.name} has a target at every step, but {name} gives another number of steps: give time_strides (or repeats) of 1, "
            "or choose another frontend"
        )
