"""Sequence to sequence: an encoder of any cell reads the input, a decoder of any cell says the answer step by step, attention between them.

What is said depends on the data:

    tokens   the target's tokens, each from a softmax over its vocabulary, with copying also from the words of the input
             (`layers/copying.py`); searched for greedily or with a beam
    class    the letters of the label; a label's score is its summed log-probability, normalised over all labels
    real     the D numbers one after another, each entering the next step (several days ahead, the nearest first)

Sutskever et al. (2014) without attention; Bahdanau et al. (2015) and Luong et al. (2015) with it: see `layers/decoder.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.base import Cell
from rnnlab.config import Probability
from rnnlab.contracts import PAD, SPECIALS, START, STOP, UNKNOWN, Batch, DataSpec, Decoded, valid_mask
from rnnlab.layers.attention import AttentionKind, coverage, coverage_losses, sharpness
from rnnlab.layers.beam_search import Decoding, search
from rnnlab.layers.copying import mixed, mixed_at
from rnnlab.layers.decoder import Bridge, Decoder, DecoderSettings, DecoderState, Looked, refuse_unattended, together
from rnnlab.layers.frontends import Embedding, Frontend
from rnnlab.layers.recurrent import Recurrence, RecurrentStack
from rnnlab.layers.refusals import refuse_copying, refuse_smoothed_copies
from rnnlab.models.base import Head, Network, Outputs
from rnnlab.tasks import TASKS_OWN, Forecast, Loss, Regularisation, class_weights, make_task

Tied = Literal["none", "target", "all"]
MORE_TOKENS = 10
"""An answer may have so many tokens more than the longest target of training."""


@dataclass(frozen=True)
class TeacherForcing:
    """How often the true token, not the predicted one, enters the next step, from first to last (Bengio et al. 2015, linear schedule).

    Args:
        first: fraction when training begins.
        last: fraction when it ends.
    """

    first: Probability
    last: Probability


@final
class Seq2Seq(Network):
    """Read with an encoder, answer with a decoder.

    Args:
        cell: makes the encoder's cells from (input_size, hidden_size).
        is_bidirectional: whether the encoder reads both ways.
        decoder_cell: makes the decoder's cells, likewise.
        attention: how the decoder looks at the encoder's steps.
        tied_embeddings: `none`; `target`: the decoder's embedding is also its output's matrix (Press & Wolf 2017); `all`: the encoder's
            embedding, too, where both sides share a vocabulary.
        head: dropout before the last linear layer, and quantiles; its pooling is unused.
        loss: what is minimised, of numbers.

    Raises:
        ValueError: if sizes or parts do not fit.
    """

    def __init__(
        self,
        spec: DataSpec,
        cell: Callable[..., Cell],
        recurrence: Recurrence,
        is_bidirectional: bool,
        frontend: Callable[..., Frontend],
        decoder_cell: Callable[..., Cell],
        decoder: DecoderSettings,
        attention: AttentionKind,
        tied_embeddings: Tied,
        teacher_forcing: TeacherForcing,
        head: Head,
        regularisation: Regularisation,
        decoding: Decoding,
        loss: Loss = TASKS_OWN,
    ) -> None:
        super().__init__(spec, make_task(spec, regularisation, head.quantiles, loss), frontend, decoding)
        if spec.target_kind == "class":
            loss.kind_for(spec, "whose labels model=seq2seq spells letter by letter", ("cross_entropy",))
        if self.task.is_per_step:
            models = "srnn, lstm or gru" if spec.is_causal else "srnn, lstm, gru or birnn"
            raise ValueError(f"data={spec.name} has a target at every step: choose model={models}, which answer step by step")
        self.teacher_forcing, self.attention, self.num_encoder_layers = teacher_forcing, attention, recurrence.num_layers
        refuse_copying(spec, self.frontend, decoder, regularisation)
        self.recurrence = RecurrentStack(self.frontend.output_size, cell, recurrence, is_bidirectional)
        readout_size = decoder.embedding_size if tied_embeddings != "none" else decoder.hidden_size
        self.decoder = Decoder(self.recurrence.output_size, decoder_cell, attention, decoder, readout_size)
        for layer in self.decoder.cells:  # dropout and zoneout are the encoder's
            layer.run_with(recurrence.backend, recurrent_dropout=0.0, zoneout=0.0)
        self.bridge = Bridge(self.recurrence.output_size, recurrence.num_layers, self.recurrence.num_directions, self.decoder)
        self.dropout = nn.Dropout(head.dropout)
        size = decoder.embedding_size
        if spec.target_kind == "real":
            self.entry: nn.Module = nn.Linear(1, size)
            self.output = nn.Linear(readout_size, self.task.output_size // spec.target_size)
        else:
            words = spec.label_names if spec.target_kind == "tokens" else spelling(spec.label_names)
            self.entry = nn.Embedding(len(words), size)
            nn.init.normal_(self.entry.get_parameter("weight"), std=size**-0.5)
            self.output = nn.Linear(readout_size, len(words))
            self.most = spec.max_target_length + MORE_TOKENS
            self.spelled = [spell(name, words) for name in spec.label_names] if spec.target_kind == "class" else []
        self.class_weights = class_weights(regularisation.class_weights, spec) if spec.target_kind == "class" else None
        self._tie(tied_embeddings)

    @property
    def has_copying(self) -> bool:
        """Whether it may say words of the input."""
        return self.decoder.settings.has_copying

    @classmethod
    def check_settings(cls, settings: Mapping[str, object]) -> None:
        decoder, regularisation = settings["decoder"], settings["regularisation"]
        assert isinstance(decoder, DecoderSettings) and isinstance(regularisation, Regularisation)
        refuse_unattended(cast(AttentionKind, settings["attention"]), decoder)
        refuse_smoothed_copies(decoder, regularisation)

    def _tie(self, tied: Tied) -> None:
        if tied == "none":
            return
        if not isinstance(self.entry, nn.Embedding):
            raise ValueError(f"model.tied_embeddings={tied}: data={self.spec.name} has numbers as targets, not tokens: set it to none")
        if tied == "all":
            if not self.spec.is_joint:
                raise ValueError(
                    f"model.tied_embeddings=all needs one vocabulary for inputs and targets, which data={self.spec.name} does not have "
                    "here: set data.prepare.is_joint=true where there is such a key, or model.tied_embeddings=target"
                )
            table = self.frontend.table if isinstance(self.frontend, Embedding) else None
            if table is None or table.weight.shape != self.entry.weight.shape:
                raise ValueError(
                    "model.tied_embeddings=all needs frontend=embedding with frontend.embedding_size equal to "
                    f"model.decoder.embedding_size={self.entry.embedding_dim}"
                )
            table.weight = self.entry.weight
        self.output.weight = self.entry.weight

    # -- the two halves ------------------------------------------------------------------------------------------------

    def read(self, batch: Batch) -> tuple[DecoderState, Tensor]:
        """Encode a batch; return the state before the first step, and how many encoder steps of each sequence are valid."""
        values, lengths_B = self.frontend(batch.inputs, batch.input_lengths)
        values_BTM, finals = self.recurrence.with_final_states(values, lengths_B)
        state = self.decoder.begin(values_BTM, lengths_B, self.bridge(finals))
        if self.has_copying:
            if batch.copies is None:
                raise ValueError("this run copies words of its inputs, but the batch does not say which words they are: see Batch.copies")
            num_unknown = max(map(len, batch.copies.words), default=0)
            state.memory.copies, state.memory.num_numbers = batch.copies.numbers, len(self.spec.label_names) + num_unknown
        return state, lengths_B

    def next_tokens(self, tokens_N: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Return log-probabilities of the next tokens, (N, V), and the next state: the step that a search takes.

        With copying the vocabulary is the extended one (see `contracts.Copies`); an unknown word that was copied enters as unknown.
        """
        readout_NR, looked, state = self.decoder.step(self.entry(self._known(tokens_N)), state)
        return self._log_probs(readout_NR, looked, state), state

    def _log_probs(self, readout_NR: Tensor, looked: Looked | None, state: DecoderState) -> Tensor:
        own_NV: Tensor = self.output(self.dropout(readout_NR)).log_softmax(-1)
        memory = state.memory
        if looked is None or looked.gate is None or memory.copies is None:
            return own_NV
        numbers_NT = memory.copies.repeat_interleave(len(own_NV) // memory.size, 0)
        return mixed(own_NV, looked.gate, looked.weights, numbers_NT, memory.num_numbers)

    def _known(self, tokens: Tensor) -> Tensor:
        return tokens.masked_fill(tokens >= len(self.spec.label_names), UNKNOWN) if self.has_copying else tokens

    def training_loss(self, batch: Batch) -> Tensor:
        """Return the task's loss of numbers, or the mean cross entropy of tokens."""
        state, _ = self.read(batch)
        if isinstance(self.task, Forecast):
            forced_BD = self.task.standardised(batch)
            return self.task.loss(self._numbers(state, forced_BD), batch)
        if self.spec.target_kind == "tokens":
            targets_BS, lengths_B = with_stop(batch.targets, batch.target_lengths)
            weights_B = None
        else:
            targets_BS, lengths_B = self._spelled(batch.targets)
            weights_B = None if self.class_weights is None else self.class_weights.to(targets_BS.device)[batch.targets]
        readouts_BSR, looked = self._readouts(targets_BS, state)
        loss = self._cross_entropy(readouts_BSR, looked, batch, targets_BS, lengths_B, self.task.regularisation.label_smoothing, weights_B)
        weight = self.decoder.settings.coverage_weight
        if weight is None or looked is None:
            return loss
        return loss + weight * coverage_losses(looked.weights)[valid_mask(lengths_B, targets_BS.shape[1])].mean()

    def loss_weight(self, batch: Batch) -> Tensor:
        """Return the task's; of spelled labels, which the task does not know of, their letters times the class's weight."""
        if self.spec.target_kind != "class":
            return super().loss_weight(batch)
        _, lengths_B = self._spelled(batch.targets)
        weights_B = 1.0 if self.class_weights is None else self.class_weights.to(lengths_B.device)[batch.targets]
        return (lengths_B * weights_B).sum(dtype=torch.double)

    @property
    def has_idle_parameters(self) -> bool:
        """Whether the encoder has layers above those that the decoder begins from, and is not looked at either."""
        return self.attention == "none" and len(self.decoder.layers) < self.num_encoder_layers

    def predict(self, batch: Batch) -> Outputs:
        return self._answer(batch, self.decoding)

    def predict_greedy(self, batch: Batch) -> Outputs:
        """Predict a batch, sequences of tokens greedily."""
        return self._answer(batch, Decoding(beam_size=1, length_penalty=self.decoding.length_penalty, num_best=1))

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Outputs]:
        """Evaluate a batch of the validation split, and how sharply and completely the decoder attends to the input."""
        found = super().validation_step(batch, batch_idx)
        if self.attention == "none" or self.spec.target_kind != "tokens":
            return found
        weights_BST, lengths_B = self.weights(batch, batch.targets, batch.target_lengths)
        said_B = batch.target_lengths + 1
        self.log("val/attention_sharpness", sharpness(weights_BST, said_B), batch_size=batch.size)
        self.log("val/attention_coverage", coverage(weights_BST, said_B, lengths_B), batch_size=batch.size)
        return found

    def weights(self, batch: Batch, tokens_BS: Tensor, token_lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the decoder looks at while it says these tokens and stops.

        Returns:
            (B, S + 1, T') weights, and how many encoder steps of each sequence are valid, (B,).

        Raises:
            ValueError: where there is no attention.
        """
        if self.attention == "none":
            raise ValueError("attention maps need attention, but this run's model.attention=none: train with bahdanau or luong_general")
        state, lengths_B = self.read(batch)
        targets_BS, _ = with_stop(tokens_BS, token_lengths_B)
        _, looked = self.decoder.run(self.entry(self._known(shifted(targets_BS))), state)
        assert looked is not None
        return looked.weights, lengths_B

    # -- tokens --------------------------------------------------------------------------------------------------------

    def _answer(self, batch: Batch, decoding: Decoding) -> Outputs:
        state, _ = self.read(batch)
        if self.spec.target_kind == "real":
            return self._numbers(state, None)
        if self.spec.target_kind == "class":
            return self._label_scores(state)
        loss = None
        if batch.target_lengths.any():
            targets_BS, lengths_B = with_stop(batch.targets, batch.target_lengths)
            readouts_BSR, looked = self.decoder.run(self.entry(shifted(targets_BS)), state)
            loss = self._cross_entropy(readouts_BSR, looked, batch, targets_BS, lengths_B, 0.0, None)
        found = search(self.next_tokens, state, self.most, decoding)
        if self.has_copying and batch.copies is not None:
            for hypotheses, words in zip(found, batch.copies.words, strict=True):
                for hypothesis in hypotheses:
                    hypothesis.words = words
        return Decoded(found, loss)

    def _readouts(self, targets_BS: Tensor, state: DecoderState) -> tuple[Tensor, Looked | None]:
        """Return readouts (B, S, R) for targets and what was looked at, fed the truth as often as the schedule says."""
        forced = self._forced_fraction()
        truth_BS = shifted(targets_BS)
        if forced >= 1:
            return self.decoder.run(self.entry(truth_BS), state)
        readouts, looks, said_B = [], [], truth_BS[:, 0]
        for step, true_B in enumerate(truth_BS.unbind(1)):
            is_true_B = torch.rand(len(true_B), device=true_B.device) < forced
            entering_B = torch.where(is_true_B, true_B, said_B) if step else true_B
            readout_BR, looked, state = self.decoder.step(self.entry(entering_B), state)
            readouts.append(readout_BR)
            looks.append(looked)
            with torch.no_grad():
                said_B = self._said(readout_BR, looked, state)
        return torch.stack(readouts, 1), together(looks)

    def _said(self, readout_BR: Tensor, looked: Looked | None, state: DecoderState) -> Tensor:
        """Return the most probable tokens, (B,), as they enter the next step."""
        if not self.has_copying:
            return self.output(readout_BR).argmax(-1)
        return self._known(self._log_probs(readout_BR, looked, state).argmax(-1))

    def _forced_fraction(self) -> float:
        first, last = self.teacher_forcing.first, self.teacher_forcing.last
        if first == last:
            return first
        done = self.trainer.global_step / max(1.0, float(self.trainer.estimated_stepping_batches))
        return first + (last - first) * min(1.0, done)

    def _cross_entropy(
        self,
        readouts_BSR: Tensor,
        looked: Looked | None,
        batch: Batch,
        targets_BS: Tensor,
        lengths_B: Tensor,
        smoothing: float,
        weights_B: Tensor | None,
    ) -> Tensor:
        """Return the mean over valid target steps; the output is computed only there."""
        is_valid_BS = valid_mask(lengths_B, targets_BS.shape[1])
        logits_MV = self.output(self.dropout(readouts_BSR[is_valid_BS]))
        if looked is not None and looked.gate is not None and batch.copies is not None:
            extended_BS, _ = with_stop(batch.copies.targets, batch.target_lengths)
            rows_M = is_valid_BS.nonzero()[:, 0]
            at = (looked.gate[is_valid_BS], looked.weights[is_valid_BS], batch.copies.numbers[rows_M], extended_BS[is_valid_BS])
            return -mixed_at(logits_MV.log_softmax(-1), *at).mean()
        if weights_B is None:
            return F.cross_entropy(logits_MV, targets_BS[is_valid_BS], label_smoothing=smoothing)
        losses_M = F.cross_entropy(logits_MV, targets_BS[is_valid_BS], label_smoothing=smoothing, reduction="none")
        weights_M = weights_B[:, None].expand_as(is_valid_BS)[is_valid_BS]
        return (losses_M * weights_M).sum() / weights_M.sum()

    # -- labels --------------------------------------------------------------------------------------------------------

    def _spelled(self, classes_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the letters of labels and the stop, (B, S) padded, and lengths."""
        rows = [self.spelled[label] for label in classes_B.tolist()]
        lengths_B = torch.tensor([len(row) for row in rows], device=classes_B.device)
        padded = nn.utils.rnn.pad_sequence([torch.tensor(row, device=classes_B.device) for row in rows], True, PAD)
        return padded, lengths_B

    def _label_scores(self, state: DecoderState) -> Tensor:
        """Return (B, C): each label's log-probability; the task's softmax normalises over labels."""
        num, num_labels = state.memory.size, len(self.spelled)
        device = state.parts[0].device
        targets_CS, lengths_C = self._spelled(torch.arange(num_labels, device=device))
        targets_NS = targets_CS.repeat(num, 1)
        state = state.select(torch.arange(num, device=device).repeat_interleave(num_labels))
        scores = torch.zeros(num * num_labels, device=device)
        for step, entering_N in enumerate(shifted(targets_NS).unbind(1)):
            log_probs_NV, state = self.next_tokens(entering_N, state)
            is_valid_N = (step < lengths_C).repeat(num)
            scores = scores + log_probs_NV.gather(1, targets_NS[:, step, None])[:, 0] * is_valid_N
        return scores.view(num, num_labels)

    # -- numbers -------------------------------------------------------------------------------------------------------

    def _numbers(self, state: DecoderState, forced_BD: Tensor | None) -> Tensor:
        """Return standardised forecasts, (B, D) or (B, D * Q), each fed with the one before: the true one where it is given."""
        num_quantiles = max(1, len(self.task.quantiles)) if isinstance(self.task, Forecast) else 1
        forced = 0.0 if forced_BD is None else self._forced_fraction()
        previous_B1 = state.parts[0].new_zeros(state.memory.size, 1)
        outputs = []
        for step in range(self.spec.target_size):
            readout_BR, _, state = self.decoder.step(self.entry(previous_B1), state)
            output_BQ = self.output(self.dropout(readout_BR))
            outputs.append(output_BQ)
            previous_B1 = output_BQ[:, num_quantiles // 2, None].detach()
            if forced_BD is not None:
                is_true_B1 = torch.rand_like(previous_B1) < forced
                previous_B1 = torch.where(is_true_B1, forced_BD[:, step, None].to(previous_B1), previous_B1)
        return torch.cat(outputs, -1)


def spelling(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the vocabulary in which labels are spelled: the letters that occur in them."""
    return (*SPECIALS, *sorted(set("".join(names))))


def spell(name: str, words: tuple[str, ...]) -> list[int]:
    """Return a label's letters and the stop, as numbers."""
    return [*(words.index(letter) for letter in name), STOP]


def with_stop(tokens_BS: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
    """Put the stop behind each sequence: (B, S + 1) and lengths + 1."""
    longer = F.pad(tokens_BS, (0, 1), value=PAD)
    return longer.scatter(1, lengths_B[:, None], STOP), lengths_B + 1


def shifted(targets_BS: Tensor) -> Tensor:
    """Return what enters the decoder while it says the targets: the start, then each token but the last."""
    return F.pad(targets_BS[:, :-1], (1, 0), value=START)
