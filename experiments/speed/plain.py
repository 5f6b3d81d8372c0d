"""The plain loop that a person would write instead: the same network of PyTorch's own modules, the same batches, no framework."""

import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from rnnlab.contracts import Batch


class Plain(nn.Module):
    """An embedding if there is a vocabulary, recurrent layers of PyTorch, the last valid step (or the mean over steps), a linear layer."""

    def __init__(self, kind: str, input_size: int, vocabulary: int, hidden: int, layers: int, is_two_way: bool, outputs: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, input_size) if vocabulary else None
        made = {"lstm": nn.LSTM, "gru": nn.GRU, "srnn": nn.RNN}[kind]
        self.layers = made(input_size, hidden, layers, batch_first=True, bidirectional=is_two_way)
        self.output = nn.Linear(hidden * (2 if is_two_way else 1), outputs)

    def forward(self, inputs: Tensor, lengths_B: Tensor) -> Tensor:
        values = inputs if self.table is None else self.table(inputs)
        steps_BTH, _ = self.layers(values)
        if self.layers.bidirectional:
            return self.output(steps_BTH.mean(1))
        return self.output(steps_BTH[torch.arange(len(steps_BTH)), lengths_B - 1])


def seconds_of(model: Plain, batches: Iterator[Batch], num_steps: int, precision: str, is_classifying: bool) -> tuple[float, int]:
    """Train some steps with fused Adam and clipping; return seconds and examples."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    loss_of = nn.CrossEntropyLoss() if is_classifying else nn.MSELoss()
    num_examples, begun = 0, 0.0
    for step, batch in enumerate(batches):
        if step == 1:
            begun = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            outputs = model(batch.inputs, batch.input_lengths)
            loss = loss_of(outputs.float(), batch.targets if is_classifying else batch.targets.float())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        num_examples += batch.size if step else 0
        if step == num_steps:
            break
    return time.perf_counter() - begun, num_examples
