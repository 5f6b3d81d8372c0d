"""Attention maps of a network's own answers, as pictures."""

from pathlib import Path

import torch

from rnnlab.contracts import STOP, Batch, Decoded
from rnnlab.insight.alignments import attention_map
from rnnlab.models.base import Predictor
from rnnlab.models.seq2seq import Seq2Seq


@torch.inference_mode()
def draw_maps(model: Predictor, batch: Batch, files: list[Path]) -> None:
    """Draw for each sequence of a batch what the decoder looks at while it says its best answer.

    Args:
        model: an encoder-decoder.
        batch: on the model's device; targets may be unknown.
        files: PNG to write, one a sequence.

    Raises:
        ValueError: where there is nothing to draw: no encoder-decoder, no attention, no answers of tokens.
    """
    if not isinstance(model, Seq2Seq) or model.spec.target_kind != "tokens":
        raise ValueError("attention maps show how model=seq2seq answers with sequences; this run is of another model or kind of data")
    model.eval()
    decoded = model.respond(batch)
    assert isinstance(decoded, Decoded)
    answers = [found[0].tokens for found in decoded.hypotheses]
    lengths_B = torch.tensor([len(answer) for answer in answers], device=batch.inputs.device)
    rows = [torch.tensor(answer, dtype=torch.long, device=batch.inputs.device) for answer in answers]
    weights_BST, source_lengths_B = model.weights(batch, torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths_B)
    said, read, step_ms = model.spec.label_names, model.spec.feature_names, model.spec.step_ms
    for row, (answer, file) in enumerate(zip(answers, files, strict=True)):
        file.parent.mkdir(parents=True, exist_ok=True)
        num_steps = int(source_lengths_B[row])
        is_read = model.spec.input_kind == "tokens" and bool(read) and num_steps == int(batch.input_lengths[row])
        source = [read[number] for number in batch.inputs[row, :num_steps].tolist()] if is_read else None
        weights_ST = weights_BST[row, : len(answer) + 1, :num_steps].float().cpu().numpy()
        target = [said[token] for token in [*answer, STOP]]
        attention_map(weights_ST, source, target, file, None if step_ms is None else step_ms * model.frontend.subsampling)
