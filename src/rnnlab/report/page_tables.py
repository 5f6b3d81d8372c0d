"""Tables of the page: cells with what they are sorted by, links, colours and small intervals."""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import numpy as np

from rnnlab.report.agreement import Disagreements
from rnnlab.report.comparison import Comparison, Group, RunResult, Verdict
from rnnlab.report.style import best_by_validation, count, duration, in_unit, looks, scale_of
from rnnlab.report.tables import VERDICT_HEADINGS, costs, headings, row, verdict_row
from rnnlab.tasks.metrics import is_averaged

WIDTH_PX = 104  # of a small interval


@dataclass(frozen=True)
class Bar:
    """A small interval, in pixels from the left of its box.

    Args:
        low, high: its ends.
        dot: the value.
        zero: a line to compare with; None for none.
        colour: as CSS writes it.
        is_hollow: whether the dot is a ring.
    """

    low: float
    high: float
    dot: float
    zero: float | None
    colour: str
    is_hollow: bool = False


@dataclass(frozen=True)
class TableCell:
    """A cell.

    Args:
        text: shown.
        key: what it is sorted by; None and what is no number sort last, either way.
        url: to link to, only of a web page.
        colour: of a mark before the text.
        bar: drawn after the text.
        is_strong: whether it stands out.
        title: shown on hover.
    """

    text: str
    key: float | str | None
    url: str = ""
    colour: str = ""
    bar: Bar | None = None
    is_strong: bool = False
    title: str = ""

    @property
    def sort_key(self) -> str:
        """The key as the page writes it, empty where there is none."""
        return "" if self.key is None or self.key != self.key else str(self.key)


@dataclass(frozen=True)
class Heading:
    """A heading: `number` columns are set right and sorted as numbers."""

    text: str
    kind: Literal["text", "number"] = "number"


@dataclass(frozen=True)
class PageTable:
    """A table with its id in the page; the first cell of a row is its heading, and `baselines` are the rows of baselines."""

    key: str
    caption: str
    headings: list[Heading]
    rows: list[list[TableCell]]
    baselines: frozenset[int] = frozenset()


def web(url: str) -> str:
    """Return an address if it is one of the web, else nothing: a link must not run anything."""
    return url if urlsplit(url).scheme in ("http", "https") else ""


def signs(text: str) -> str:
    """Set the minus of numbers and the times of counts as signs of their own, not as letters."""
    text = text.replace(" x ", " \N{MULTIPLICATION SIGN} ")
    return re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)


def groups_table(comparison: Comparison) -> PageTable:
    """Return the table of groups, with intervals drawn on one scale."""
    styles, best = looks(comparison), best_by_validation(comparison)
    bars = _bars(comparison)
    rows = []
    for group in comparison.groups:
        summary, texts = comparison.summaries[group.name], row(comparison, group)
        keys = [
            *(group.name, summary.num_runs, summary.validation, summary.mean, summary.low),
            *(summary.num_parameters, summary.seconds, summary.examples_per_second, summary.memory_mb),
        ]
        cells = [TableCell(signs(text), key, is_strong=group.name == best) for text, key in zip(texts, keys, strict=True)]
        settings = ", ".join(f"{key}={value}" for key, value in group.settings.items())
        cells[0] = TableCell(group.name, group.name, colour=styles[group.name].colour, is_strong=group.name == best, title=settings)
        cells[4] = TableCell(signs(texts[4]), summary.low, bar=bars.get(group.name))
        rows.append(cells)
    names = [Heading(text, "number" if place else "text") for place, text in enumerate(headings(comparison))]
    caption = "Groups, by validation; in bold the best there. Baselines are in italics"
    simple = frozenset(place for place, group in enumerate(comparison.groups) if group.is_baseline)
    return PageTable("groups", caption, names, rows, simple)


def _bars(comparison: Comparison) -> dict[str, Bar]:
    styles = looks(comparison)
    known = {name: (s.low, s.high, s.mean) for name, s in comparison.summaries.items() if s.low is not None and s.high is not None}
    if not known:
        return {}
    low, high = min(value[0] for value in known.values()), max(value[1] for value in known.values())
    return {name: _bar(values, None, (low, high), styles[name].colour) for name, values in known.items()}


def _bar(
    low_high_dot: tuple[float, float, float], zero: float | None, ends: tuple[float, float], colour: str, is_hollow: bool = False
) -> Bar:
    low, high, dot = (_place(value, *ends) for value in low_high_dot)
    return Bar(low, high, dot, None if zero is None else _place(zero, *ends), colour, is_hollow)


def _place(value: float, low: float, high: float) -> float:
    return round(6 + (WIDTH_PX - 12) * (value - low) / max(high - low, 1e-12), 1)


def verdicts_table(comparison: Comparison) -> PageTable:
    """Return the table of verdicts, with the intervals of gains drawn on one scale around zero."""
    verdicts = comparison.verdicts
    ends = [value for v in verdicts for value in (0.0, v.gain, v.low, v.high) if value is not None and np.isfinite(value)]
    rows = []
    for verdict in verdicts:
        texts = verdict_row(comparison, verdict)
        keys = [
            *(texts[0], verdict.gain, verdict.low, verdict.p, verdict.p_corrected, verdict.effect_size, verdict.num_seeds),
            texts[7],
        ]
        cells = [TableCell(texts[0], texts[0]), *(TableCell(signs(text), key) for text, key in zip(texts[1:], keys[1:], strict=True))]
        cells[2] = TableCell(signs(texts[2]), verdict.low, bar=_gain_bar(verdict, min(ends), max(ends)))
        cells[3] = TableCell(signs(texts[3]), verdict.p, title=verdict.method)
        cells[7] = TableCell(texts[7], texts[7], is_strong=verdict.is_shown)
        rows.append(cells)
    names = [Heading(text, "number" if place else "text") for place, text in enumerate(VERDICT_HEADINGS[:-1])]
    names.append(Heading(VERDICT_HEADINGS[-1], "text"))
    return PageTable("verdict-table", "Pairs of groups. A positive gain: the first is better, whatever the metric's direction", names, rows)


def _gain_bar(verdict: Verdict, low: float, high: float) -> Bar | None:
    if verdict.low is None or verdict.high is None:
        return None
    colour = "var(--accent)" if verdict.is_shown else "var(--faint)"
    return _bar((verdict.low, verdict.high, verdict.gain), 0.0, (low, high), colour, is_hollow=not verdict.is_shown)


def runs_table(comparison: Comparison) -> PageTable:
    """Return the table of runs, each linked to its page in the MLflow UI where that is known."""
    scale, styles = scale_of(comparison), looks(comparison)
    titles = ["run", "group", "seed", "fold", *headings(comparison)[2:3], in_unit("test", scale.unit), *headings(comparison)[5:]]
    names = [Heading(text, "text" if text in ("run", "group", "fold") else "number") for text in titles]
    rows = [_run_row(comparison, group, run, styles[group.name].colour) for group in comparison.groups for run in group.runs]
    return PageTable("runs", "Runs. A run's name leads to its page in MLflow, where the interface runs", names, rows)


def _run_row(comparison: Comparison, group: Group, run: RunResult, colour: str) -> list[TableCell]:
    scale, name = scale_of(comparison), comparison.metric.name
    values = [run.metrics.get(f"{split}/{name}") for split in ("best", "test")]
    cost = costs(run)
    written = [
        *((signs(scale.value(value)), value) for value in values),
        (count(cost["num_parameters"]), cost["num_parameters"]),
        (duration(cost["seconds"]), cost["seconds"]),
        (count(cost["examples_per_second"]), cost["examples_per_second"]),
        (count(cost["memory_mb"]), cost["memory_mb"]),
    ]
    return [
        TableCell(run.name or run.run_id[:8], run.name or run.run_id, url=web(run.url), title=run.run_id),
        TableCell(group.name, group.name, colour=colour),
        TableCell(str(run.seed), run.seed),
        TableCell(run.fold or "-", run.fold or None),
        *(TableCell(text, value) for text, value in written),
    ]


def metrics_table(comparison: Comparison) -> PageTable | None:
    """Return every metric on test, means over a group's runs; None where there is but the compared one."""
    found = {name for group in comparison.groups for run in group.runs for name in run.metrics if name.startswith("test/")}
    kept = sorted(name for name in found if is_averaged(name.removeprefix("test/")))
    if len(kept) < 2:
        return None
    styles, rows = looks(comparison), []
    for group in comparison.groups:
        means = [np.mean(values) if (values := [r.metrics[name] for r in group.runs if name in r.metrics]) else None for name in kept]
        cells = [TableCell("-" if mean is None else f"{mean:.4g}", None if mean is None else float(mean)) for mean in means]
        rows.append([TableCell(group.name, group.name, colour=styles[group.name].colour), *cells])
    names = [Heading("group", "text"), *(Heading(name.removeprefix("test/")) for name in kept)]
    return PageTable("metrics", "All metrics on test, means over runs, as recorded (fractions from 0 to 1)", names, rows)


def disagreements_table(comparison: Comparison, found: Disagreements) -> PageTable:
    """Return the examples on which the two best groups differ most; ids only, never data."""
    styles = looks(comparison)
    what = "mean loss" if found.is_loss else "share of runs that are right (%)"
    rows = [
        [TableCell(example, example), *(TableCell(f"{value:.4g}" if found.is_loss else f"{100 * value:.0f}", value) for value in values)]
        for example, *values in found.rows
    ]
    rows = [[*cells, _better(found, cells, styles[found.first].colour, styles[found.second].colour)] for cells in rows]
    names = [Heading("example", "text"), Heading(found.first), Heading(found.second), Heading("better", "text")]
    return PageTable("examples", f"Test examples on which the two best groups differ most: {what}", names, rows)


def _better(found: Disagreements, cells: list[TableCell], first: str, second: str) -> TableCell:
    ours, theirs = (float(cell.key or 0.0) for cell in cells[1:3])
    is_first = (ours < theirs) if found.is_loss else (ours > theirs)
    return TableCell(found.first, found.first, colour=first) if is_first else TableCell(found.second, found.second, colour=second)
