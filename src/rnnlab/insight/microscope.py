"""`callbacks=insight`: looks into a network while it trains, and changes nothing of the training; docs/insight.md says how to read it."""

import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from rnnlab.config import PositiveInt
from rnnlab.contracts import Batch
from rnnlab.data.base import SequenceDataModule
from rnnlab.insight import microscope_figures
from rnnlab.insight.flow import flow, horizon, relative, typical
from rnnlab.insight.gates import gate_numbers, gates_by_step
from rnnlab.insight.gradients import ClipCount, norms, parts_of
from rnnlab.insight.observations import Observation, flow_table
from rnnlab.insight.replay import Replay, cells_of, fixed_batch, replay
from rnnlab.insight.spectrum import radii
from rnnlab.models.base import Network
from rnnlab.tasks import Classify, Label
from rnnlab.tracking.tracker import Tracker


class Insight(Callback):
    """Observe what gradients, gates and states do, log it as `insight/...`, and draw it when the training ends.

    Args:
        tracker: of the run; pictures are its artifacts `insight/*.png`.
        data: where the fixed validation sequences come from.
        every_num_steps: optimizer steps from one sample to the next; there is always one before the first step and one after the last.
        num_sequences: how many are replayed.
        num_trajectories: of how many the way of the hidden state is drawn.
    """

    def __init__(
        self,
        tracker: Tracker,
        data: SequenceDataModule,
        every_num_steps: PositiveInt,
        num_sequences: PositiveInt,
        num_trajectories: PositiveInt,
    ) -> None:
        self.tracker, self.data = tracker, data
        self.every_num_steps, self.num_sequences, self.num_trajectories = every_num_steps, num_sequences, num_trajectories
        self.samples: list[Observation] = []
        self.seconds = 0.0
        self.before_clipping: dict[str, float] = {}
        self.clipping = ClipCount(None, False)

    def state_dict(self) -> dict[str, Any]:
        return {"samples": [sample.state() for sample in self.samples], "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.samples = [Observation.of_state(state) for state in state_dict["samples"]]
        self.seconds = state_dict["seconds"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        begun = time.perf_counter()
        is_by_value = str(trainer.gradient_clip_algorithm or "norm").endswith("value")
        self.clipping = ClipCount(trainer.gradient_clip_val, is_by_value)
        model = cast(Network, pl_module)
        self.parts = parts_of(model)
        self.batch = fixed_batch(self.data, self.num_sequences).to(model.device)
        self.seconds += time.perf_counter() - begun
        if not self.samples:
            self._sample(trainer, model, {})

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer) -> None:
        """Count whether clipping will act; note the norms where a sample is due after this step."""
        begun = time.perf_counter()
        self.clipping.look(parameter for parameters in self.parts.values() for parameter in parameters)
        self.before_clipping = norms(self.parts) if self._is_due(trainer.global_step + 1) else {}
        self.seconds += time.perf_counter() - begun

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if self._is_due(trainer.global_step) and self.samples[-1].step < trainer.global_step:
            begun = time.perf_counter()
            numbers = {f"grad_norm/{name}": value for name, value in self.before_clipping.items()}
            numbers |= {f"grad_norm_clipped/{name}": value for name, value in norms(self.parts).items()}
            numbers |= {"clipped_share": self.clipping.fraction()}
            self.seconds += time.perf_counter() - begun
            self._sample(trainer, cast(Network, pl_module), numbers)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        model = cast(Network, pl_module)
        if self.samples[-1].step < trainer.global_step:
            self._sample(trainer, model, {})
        self._draw_samples(model)
        if cells_of(model):
            self._draw_states(trainer, model)
        self.tracker.log_metrics({"time/insight_seconds": self.seconds}, 0)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Draw what there is: of a training that failed it is wanted most."""
        if self.samples:
            self._draw_samples(cast(Network, pl_module))
            self.tracker.log_files(self.folder, "insight")

    def _is_due(self, step: int) -> bool:
        return step % self.every_num_steps == 0

    def _sample(self, trainer: pl.Trainer, model: Network, numbers: dict[str, float]) -> None:
        """Replay, and note what was seen."""
        begun = time.perf_counter()
        with trainer.precision_plugin.forward_context():
            replayed = replay(model, trainer.precision_plugin.convert_input(self.batch))
        curves: dict[str, np.ndarray] = {}
        numbers = dict(numbers)
        for found in flow(replayed):
            numbers[f"gradient_horizon_{found.name}"] = horizon(found.from_last_BK)
            curves |= {f"{found.name}/total": typical(found.total_BK), f"{found.name}/from_last": relative(found.from_last_BK)}
        horizons = [value for name, value in numbers.items() if name.startswith("gradient_horizon_") and not np.isnan(value)]
        if horizons:  # a gradient may take any layer: the one that reaches farthest
            numbers["gradient_horizon"] = max(horizons)
        for trace in replayed.traces:
            numbers |= gate_numbers(trace)
        numbers |= {f"spectral_radius/{name}": value for name, value in radii(cells_of(model)).items()}
        numbers = {name: value for name, value in numbers.items() if np.isfinite(value)}
        self.samples.append(Observation(trainer.global_step, numbers, curves))
        self.seconds += time.perf_counter() - begun
        self.tracker.log_metrics({f"insight/{name}": value for name, value in numbers.items()}, trainer.global_step)

    @property
    def folder(self) -> Path:
        """Where pictures are written."""
        return self.tracker.folder / "artifacts" / "insight"

    def _draw_samples(self, model: Network) -> None:
        """Draw what was seen over the training, and write the curves beside it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        flow_table(self.samples).to_parquet(self.folder / "gradient_flow.parquet", index=False)
        microscope_figures.gradient_flow(self.samples, _step_ms(model), self.folder / "gradient_flow.png")
        microscope_figures.gradient_norms(self.samples, self.clipping.limit, self.folder / "gradient_norms.png")
        microscope_figures.recurrent_matrices(self.samples, self.folder / "recurrent_matrices.png")
        microscope_figures.gates(self.samples, self.folder / "gates.png")

    def _draw_states(self, trainer: pl.Trainer, model: Network) -> None:
        """Draw what gates and hidden states do within sequences, now that the training has ended."""
        batch = fixed_batch(self.data, self.num_trajectories).to(model.device)
        with trainer.precision_plugin.forward_context():
            replayed = replay(model, trainer.precision_plugin.convert_input(batch))
        means = {name: mean for trace in replayed.traces for name, mean in gates_by_step(trace).items()}
        microscope_figures.gates_in_time(means, _step_ms(model), self.folder / "gates_in_time.png")
        microscope_figures.trajectories(_hidden_of_top(replayed), _labels(model, batch), _step_ms(model), self.folder / "trajectories.png")


def _step_ms(model: Network) -> float | None:
    """Return the duration of a recurrent step, where steps are time."""
    return None if model.spec.step_ms is None else model.spec.step_ms * model.frontend.subsampling


def _hidden_of_top(replayed: Replay) -> list[np.ndarray]:
    """Return the hidden states of the last layer's first direction, (T, H) of each sequence."""
    forward = [trace for trace in replayed.traces if not trace.name.endswith("_backward")][-1]
    states = forward.hidden.detach().float().cpu().numpy()
    return [states[row, :length] for row, length in enumerate(forward.lengths_B.tolist())]


def _labels(model: Network, batch: Batch) -> list[str] | None:
    """Return each sequence's class, where it has one."""
    if not isinstance(model.task, Classify) or isinstance(model.task, Label):
        return None
    return [model.spec.label_names[number] for number in batch.targets.tolist()]
