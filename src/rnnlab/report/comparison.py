"""The parts of a report: runs, groups of runs that differ only by seed and fold, verdicts on pairs of groups, and all of that together.

Everything that computes fills these; everything that draws or writes reads them and nothing else.
"""

from dataclasses import dataclass, field

import numpy as np

from rnnlab.tasks import Metric


@dataclass(frozen=True)
class UnitSums:
    """Sums of a run's test predictions over each unit that may leak (speaker, document, date).

    Args:
        units: names, (U,).
        sums_UK: of the quantities that the metric is a function of, over each unit, e.g. (right answers, answers), (errors, words).
        horizon: how many steps the farthest target lies ahead, of forecasts: errors of so many neighbouring dates overlap.
    """

    units: np.ndarray
    sums_UK: np.ndarray
    horizon: int = 1


@dataclass(frozen=True)
class RunResult:
    """One finished run.

    Args:
        run_id: in MLflow.
        name: of the run.
        seed: of training.
        fold: which part was test, as text ("" where there are no folds).
        metrics: `best/...`, `test/...`, `time/...`, `speed/...`, `memory/...`, `model/...`.
        curves: metric name to (step, value) pairs, e.g. `val/accuracy`.
        sums: of its test predictions; None where a metric cannot be taken apart by unit.
        rights: example id to whether it was right, or to its loss (smaller is better); for "what A gets right and B does not".
        url: of the run in the MLflow UI, "" where unknown.
        num_folds: of how many folds this is one, where each trains on examples that others train on, too (0: of none such).
    """

    run_id: str
    name: str
    seed: int
    fold: str
    metrics: dict[str, float]
    curves: dict[str, list[tuple[int, float]]]
    sums: UnitSums | None
    rights: dict[str, float] = field(default_factory=dict)
    url: str = ""
    num_folds: int = 0


@dataclass(frozen=True)
class Group:
    """Runs that differ by seed and fold only.

    Args:
        name: made of what varies, e.g. `gru`, `gru lr=0.003`.
        settings: what varies between groups, key to value.
        runs: in order of fold and seed.
        is_baseline: whether it is a baseline.
    """

    name: str
    settings: dict[str, str]
    runs: list[RunResult]
    is_baseline: bool = False


@dataclass(frozen=True)
class Summary:
    """A group's row of the table.

    Args:
        num_runs: of all seeds and folds.
        num_seeds, num_folds: each.
        validation: mean of the metric at the chosen checkpoints on validation: what orders the table.
        mean: of the metric on test, over runs of a fold, then over folds.
        std: between seeds (of the mean over folds); None with one seed.
        low, high: 95 % interval over seeds and units; None if it is unavailable.
        num_parameters, seconds, examples_per_second, memory_mb: means over runs (None where not recorded).
    """

    num_runs: int
    num_seeds: int
    num_folds: int
    validation: float | None
    mean: float
    std: float | None
    low: float | None
    high: float | None
    num_parameters: float | None
    seconds: float | None
    examples_per_second: float | None
    memory_mb: float | None


@dataclass(frozen=True)
class Verdict:
    """The verdict on two groups.

    Args:
        first, second: names of groups; a positive `gain` means that the first is better, whatever the metric's direction.
        gain: difference of the means, in the metric's own scale (fractions, not points).
        low, high: its 95 % interval.
        p, p_corrected: two-sided, before and after Holm's correction; None with one seed on either side.
        effect_size: the gain in standard deviations between seeds (Hedges' g); None if it is unavailable.
        method: how it was tested, in words.
        num_seeds: the smaller number of seeds of the two networks (a fitted-once method counts as it is).
        seeds_needed: seeds a side for 80 % power at the gain that was seen; None where more seeds cannot help or none are needed.
        sentence: what one may quote.
    """

    first: str
    second: str
    gain: float
    low: float | None
    high: float | None
    p: float | None
    p_corrected: float | None
    effect_size: float | None
    method: str
    num_seeds: int
    seeds_needed: int | None
    sentence: str

    @property
    def is_shown(self) -> bool:
        """Whether the difference holds after correction."""
        return self.p_corrected is not None and self.p_corrected < 0.05


@dataclass(frozen=True)
class Trial:
    """One trial of a search.

    Args:
        number: from 0.
        state: `complete`, `pruned`, `failed` or `running`.
        value: the metric on validation; of a pruned trial the last that was seen.
        settings: key to value.
        run_ids: of its runs.
    """

    number: int
    state: str
    value: float | None
    settings: dict[str, float | int | str]
    run_ids: list[str]


@dataclass(frozen=True)
class Comparison:
    """A whole comparison.

    Args:
        metric: what is compared.
        groups: ordered by validation, the best first, baselines last.
        summaries: by group name.
        verdicts: of every pair, in the order of groups.
        conclusions: sentences for the top of the report.
        notes: what a reader must know: failed runs, missing seeds, deviations from the budget.
        commands: that make the runs and this report.
        provenance: commit, hashes, packages: name to text.
        trials: of the search, by group or model name.
        parent_url: of the parent run in the MLflow UI.
    """

    study: str
    data: str
    metric: Metric
    groups: list[Group]
    summaries: dict[str, Summary]
    verdicts: list[Verdict]
    conclusions: list[str]
    notes: list[str]
    commands: list[str]
    provenance: dict[str, str]
    trials: dict[str, list[Trial]] = field(default_factory=dict)
    parent_url: str = ""
