"""Real numbers per sequence: forecasts of one step or several, as points or quantiles.

With e = y - f, target and forecast standardised (of positive targets their logarithms are), the loss of one number (`model.loss.kind`) is

    mse     e^2                                                   at best the mean
    mae     |e|                                                   at best the median
    huber   e^2 / 2 where |e| < delta, else delta (|e| - delta / 2)   Huber (1964): outliers count by their size alone
    qlike   y / f - ln(y / f) - 1, as they are                    of positive targets, see `qlike`: at best the mean

and that of a batch the mean. Where the head gives quantiles it is the pinball loss.
"""

import pandas as pd
import torch
import torchmetrics
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection

from rnnlab.contracts import Batch, DataSpec
from rnnlab.tasks.base import TASKS_OWN, Columns, Loss, Regularisation, Task
from rnnlab.tasks.forecast_metrics import CRPS, MASE, Pinball, Qlike, ScaledAbsoluteError, ScaledError, Skill, Smape
from rnnlab.tasks.forecast_metrics import pinball as pinball
from rnnlab.tasks.forecast_metrics import qlike as qlike
from rnnlab.tasks.metrics import Metric
from rnnlab.tasks.table_metrics import of_forecasts, of_paths


class Forecast(Task[Tensor]):
    """D real numbers per sequence, in the target's own unit; networks work on standardised ones (see `contracts.Reference`).

    Args:
        regularisation: l1 only: the others are for classes.
        quantiles: which quantiles the head gives (empty: one point forecast per dimension).
        loss: of point forecasts.
    """

    name = "forecast"

    def __init__(self, spec: DataSpec, regularisation: Regularisation, quantiles: tuple[float, ...] = (), loss: Loss = TASKS_OWN) -> None:
        super().__init__(spec, regularisation, loss)
        if regularisation.label_smoothing or regularisation.class_weights != "none":
            raise ValueError(
                f"data={spec.name} has real targets, for which model.regularisation.label_smoothing and class_weights mean nothing: "
                "leave them out"
            )
        if quantiles and loss.kind is not None:
            raise ValueError(
                f"model.loss.kind={loss.kind} is for point forecasts, but model.head.quantiles take the pinball loss: leave one of them out"
            )
        is_positive = spec.link == "exp"
        what = "whose targets are positive numbers" if is_positive else "whose targets are real numbers"
        self.loss_kind = loss.kind_for(spec, what, ("qlike", "mse", "mae", "huber") if is_positive else ("mse", "mae", "huber"))
        self.quantiles = quantiles
        self.output_size = spec.target_size * max(1, len(quantiles))
        self._point = Metric.named("qlike" if is_positive else "scaled_mse" if spec.is_scaled_apart else "mse")
        self.metric = Metric.named("pinball", spec.unit) if quantiles else self._point

    @property
    def compared(self) -> Metric:
        """A metric of point forecasts, so that results with and without quantiles can be compared."""
        return self._point

    def loss(self, outputs: Tensor, batch: Batch, is_training: bool = True) -> Tensor:
        """Mean loss of (B, D) or (B, D * quantiles) against (B, D)."""
        targets_BD = self.standardised(batch).to(outputs.dtype)
        if self.quantiles:
            return pinball(outputs.unflatten(-1, (self.spec.target_size, -1)), targets_BD, self.quantiles)
        if self.loss_kind == "qlike":
            return qlike(self._unlinked(outputs, batch), batch.targets).to(outputs.dtype)
        if self.loss_kind == "mae":
            return F.l1_loss(outputs, targets_BD)
        if self.loss_kind == "huber":
            return F.huber_loss(outputs, targets_BD, delta=self.loss_settings.delta)
        return F.mse_loss(outputs, targets_BD)

    def metrics(self) -> MetricCollection:
        """Squared error, its root, absolute error, skill against persistence; of series MASE, sMAPE and CRPS; others where they apply."""
        found: dict[str, torchmetrics.Metric | MetricCollection] = {
            "mse": MeanSquaredError(),
            "rmse": MeanSquaredError(squared=False),
            "mae": MeanAbsoluteError(),
            "skill": Skill(),
        }
        if self.spec.is_scaled_apart:
            found["scaled_mse"] = ScaledError()
        if self.spec.is_path:
            found["scaled_mae"] = ScaledAbsoluteError()
        if self.spec.horizons:
            found |= {"smape": Smape(), "crps": CRPS(self.quantiles)} | ({"mase": MASE()} if self.spec.season else {})
        if self.spec.link == "exp":
            found["qlike"] = Qlike()
        if self.quantiles:
            found["pinball"] = Pinball(self.quantiles)
        return MetricCollection(found)

    def flatten(self, computed: dict[str, Tensor]) -> dict[str, float]:
        """Leave out what is measured in errors of persistence or of a season where these make none."""
        unknown = {name for name in ("skill", "mase") if name in computed and bool(computed[name].isnan())}
        return {name: value for name, value in super().flatten(computed).items() if name not in unknown}

    def answers(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return point forecasts (the median of quantiles) and targets, in the target's unit."""
        forecasts_BDQ = self.forecasts(outputs, batch)
        return forecasts_BDQ[..., self._median].contiguous(), batch.targets.contiguous()

    def update(self, metrics: MetricCollection, outputs: Tensor, batch: Batch) -> None:
        """Let the metrics see a batch, persistence and quantiles included."""
        point_BD, targets_BD = self.answers(outputs, batch)
        none_BD, reference = torch.zeros_like(targets_BD), batch.reference
        persistence_BD = none_BD if reference is None else reference.persistence
        scale_BD = reference.scale if reference is not None and self.spec.is_scaled_apart else none_BD + 1
        quantiles_BDQ = self.forecasts(outputs, batch)
        season_error_B = none_BD[:, 0] if batch.past is None else batch.past.season_error
        given = {"persistence": persistence_BD, "quantiles": quantiles_BDQ, "scale": scale_BD, "season_error": season_error_B}
        metrics.update(preds=point_BD, target=targets_BD, **given)

    def forecasts(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return (B, D, Q) in the target's unit; quantiles in order (rearranged, Chernozhukov et al. 2010)."""
        outputs_BDQ = outputs.to(batch.targets.dtype).unflatten(-1, (self.spec.target_size, -1)).sort(-1).values
        values_BDQ = torch.stack([self._unlinked(part, batch) for part in outputs_BDQ.unbind(-1)], -1)
        return values_BDQ.exp() if self.spec.link == "exp" else values_BDQ

    def table_metrics(self, table: pd.DataFrame) -> dict[str, float]:
        """Return what `of_forecasts` gives for each dimension, named after it if there are several; of a path what it gives as a whole."""
        if self.spec.is_path:
            return of_paths(table, self.spec.label_names, self.quantiles)
        names, numbers = self.spec.label_names, dict[str, float]()
        for name in names:
            found = of_forecasts(table, name, self.spec.link == "exp", self.quantiles)
            numbers |= {key if len(names) == 1 else f"{key}/{name}": value for key, value in found.items()}
        return numbers

    def columns(self, outputs: Tensor, batch: Batch) -> Columns:
        """Return one column per dimension, one more per quantile, and what persistence forecasts and the scale of a series of its own.

        Of a path the last two are the same for all steps, and one column each.
        """
        values_BDQ = self.forecasts(outputs, batch).cpu().numpy()
        found = {}
        if self.spec.is_path and batch.reference is not None:
            found = {name: getattr(batch.reference, name)[:, 0].cpu().numpy() for name in ("persistence", "scale")}
        for index, name in enumerate(self.spec.label_names):
            found[f"prediction/{name}"] = values_BDQ[:, index, self._median]
            found |= {f"quantile/{name}/{level:g}": values_BDQ[:, index, q] for q, level in enumerate(self.quantiles)}
            if batch.reference is not None and not self.spec.is_path:
                found[f"persistence/{name}"] = batch.reference.persistence[:, index].cpu().numpy()
                if self.spec.is_scaled_apart:
                    found[f"scale/{name}"] = batch.reference.scale[:, index].cpu().numpy()
        return found

    def target_columns(self, batch: Batch) -> Columns:
        values = batch.targets.cpu().numpy()
        return {f"target/{name}": values[:, index] for index, name in enumerate(self.spec.label_names)}

    @property
    def _median(self) -> int:
        return len(self.quantiles) // 2

    def _unlinked(self, outputs_BD: Tensor, batch: Batch) -> Tensor:
        """Return forecasts before the link."""
        return outputs_BD if batch.reference is None else batch.reference.offset + batch.reference.scale * outputs_BD

    def standardised(self, batch: Batch) -> Tensor:
        """Return targets as an output should be, (B, D)."""
        targets_BD = batch.targets.log() if self.spec.link == "exp" else batch.targets
        return targets_BD if batch.reference is None else (targets_BD - batch.reference.offset) / batch.reference.scale


def check_quantiles(quantiles: tuple[float, ...]) -> None:
    """Refuse quantiles that are none, or have no median in the middle."""
    is_odd = len(quantiles) % 2 == 1 or not quantiles
    if not is_odd or list(quantiles) != sorted(set(quantiles)) or any(not 0 < level < 1 for level in quantiles):
        raise ValueError(
            f"model.head.quantiles={list(quantiles)} is not allowed: rising numbers between 0 and 1, an odd count of them, the median "
            "in the middle, e.g. [0.05,0.25,0.5,0.75,0.95]"
        )
    if quantiles and quantiles[len(quantiles) // 2] != 0.5:
        raise ValueError(f"model.head.quantiles={list(quantiles)}: the middle one is the point forecast and must be 0.5")
