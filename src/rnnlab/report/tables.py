"""Tables of a comparison: as data (results.csv), on the screen, in Markdown (report.md) and in LaTeX (table.tex)."""

import re
from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnnlab.report.comparison import Comparison, Group, RunResult, Verdict
from rnnlab.report.style import NO_NUMBER, best_by_validation, count, duration, in_unit, num_runs, p_value, scale_of, wish

NUM_LATEX_COLUMNS = 7  # what fits across a page
NUM_NEEDED, LEAST_NAME, GUTTER = 5, 8, 3
"""Columns that are always printed, the narrowest name of a group, and the room between columns."""
VERDICT_HEADINGS = ("compared", "gain", "95 % interval", "p", "p corrected", "effect size", "seeds", "difference")


def results_frame(comparison: Comparison) -> pd.DataFrame:
    """Return one row a run, in order of groups: what results.csv holds. What a run lacks is missing.

    The columns are group, `settings/<key>` of each setting that varies, seed, fold, run_id, validation, test, each `test/<metric>`,
    num_parameters, seconds, examples_per_second, memory_mb.
    """
    keys = list(dict.fromkeys(key for group in comparison.groups for key in group.settings))
    tests = sorted({name for group in comparison.groups for run in group.runs for name in run.metrics if name.startswith("test/")})
    rows = [
        {
            "group": group.name,
            **{f"settings/{key}": group.settings.get(key) for key in keys},
            **{"seed": run.seed, "fold": run.fold, "run_id": run.run_id},
            "validation": run.metrics.get(f"best/{comparison.metric.name}"),
            "test": run.metrics.get(f"test/{comparison.metric.name}"),
            **{name: run.metrics.get(name) for name in tests},
            **costs(run),
        }
        for group in comparison.groups
        for run in group.runs
    ]
    return pd.DataFrame(rows)


def costs(run: RunResult) -> dict[str, float | None]:
    """Return what a run took: num_parameters, seconds, examples_per_second and memory_mb, None where it is not recorded."""
    names = {
        "num_parameters": "model/num_parameters",
        "seconds": "time/fit_seconds",
        "examples_per_second": "speed/examples_per_second",
        "memory_mb": "memory/peak_mb",
    }
    return {name: run.metrics.get(recorded) for name, recorded in names.items()}


def headings(comparison: Comparison) -> list[str]:
    """Return the headings of the table of groups."""
    unit = scale_of(comparison).unit
    written = [in_unit("validation", unit), in_unit("test", unit)]
    return ["group", "n", *written, "95 % interval", "parameters", "time", "examples/s", "memory (MB)"]


def row(comparison: Comparison, group: Group) -> list[str]:
    """Return a group's row of the table, as text, under `headings`."""
    summary, scale = comparison.summaries[group.name], scale_of(comparison)
    return [
        group.name,
        num_runs(summary),
        scale.value(summary.validation),
        scale.spread(summary.mean, summary.std),
        scale.interval(summary.low, summary.high),
        count(summary.num_parameters),
        duration(summary.seconds),
        count(summary.examples_per_second),
        count(summary.memory_mb),
    ]


def verdict_row(comparison: Comparison, verdict: Verdict) -> list[str]:
    """Return a verdict's row, as text, under `VERDICT_HEADINGS`."""
    scale = scale_of(comparison)
    gain = scale.gain(verdict.gain)
    return [
        f"{verdict.first} against {verdict.second}",
        gain if gain == NO_NUMBER else f"{gain} {scale.unit_of_gain}".rstrip(),
        scale.gains(verdict.low, verdict.high),
        p_value(verdict.p),
        p_value(verdict.p_corrected),
        NO_NUMBER if verdict.effect_size is None else f"{verdict.effect_size:.2f}",
        str(verdict.num_seeds) + (f" of {verdict.seeds_needed} needed" if verdict.seeds_needed else ""),
        said(verdict),
    ]


def said(verdict: Verdict) -> str:
    """Say in a word or two what came of a pair."""
    return "shown" if verdict.is_shown else "not tested" if verdict.p is None else "not shown"


def methods(comparison: Comparison) -> list[str]:
    """Return the ways in which pairs were tested, without what differs from pair to pair: what stands after the semicolon."""
    return list(dict.fromkeys(verdict.method.partition(";")[0] for verdict in comparison.verdicts))


def legend(comparison: Comparison) -> str:
    """Say in a sentence or two how the table of groups is to be read."""
    has_folds = any(summary.num_folds > 1 for summary in comparison.summaries.values())
    return (
        f"{comparison.metric.name}: {wish(comparison.metric)}. n: {'seeds x folds' if has_folds else 'seeds'}; test: mean ± standard "
        "deviation between seeds; interval: over seeds and units; ordered by validation, baselines last. "
        "Costs are means over runs."
    )


def print_table(comparison: Comparison, console: Console) -> None:
    """Print the table of groups, then what may be concluded; markup in names stays text.

    Columns of costs that a narrow window has no room for are left out: no word or number is broken but a group's long name.
    """
    table = Table(title=Text(title(comparison)), title_justify="left", show_edge=False, pad_edge=False)
    best, names, rows = best_by_validation(comparison), headings(comparison), [row(comparison, group) for group in comparison.groups]
    widths = _widths(names, rows, console.width)
    for place, (heading, width) in enumerate(zip(names, widths, strict=False)):
        table.add_column(Text(heading), justify="right" if place else "left", overflow="fold", width=width)
    for group, cells in zip(comparison.groups, rows, strict=True):
        style = "bold" if group.name == best else "dim" if group.is_baseline else ""
        table.add_row(*(Text(cell, style) for cell in cells[: len(widths)]))
    console.print(table)
    if left := names[len(widths) :]:
        console.print(Text(f"For {', '.join(left)} widen the window, or see the report.", "dim"), soft_wrap=True)
    console.print(Text(legend(comparison), "dim"), soft_wrap=True)
    for heading, sentences in (("Conclusions", comparison.conclusions), ("Verdicts", [v.sentence for v in comparison.verdicts])):
        if sentences:
            console.print(Text(f"\n{heading}", "bold"))
        for sentence in sentences:
            console.print(Text(f"- {sentence}"), soft_wrap=True)


def _widths(names: list[str], rows: list[list[str]], most: int) -> list[int]:
    """Return the widths of the columns that fit into a window: first headings are wrapped, then the group's name, then costs left out."""
    cells = [max(len(cells[place]) for cells in rows) if rows else 0 for place in range(len(names))]
    widths = [max(cell, len(name)) for cell, name in zip(cells, names, strict=True)]
    if _total(widths) > most:
        widths = [max(cell, *map(len, name.split())) for cell, name in zip(cells, names, strict=True)]
    widths[0] = max(min(widths[0], LEAST_NAME), widths[0] - max(_total(widths) - most, 0))
    num_shown = max((num for num in range(len(names) + 1) if _total(widths[:num]) <= most), default=0)
    return widths[: max(num_shown, NUM_NEEDED)]


def _total(widths: list[int]) -> int:
    return sum(widths) + GUTTER * (len(widths) - 1)


def title(comparison: Comparison) -> str:
    """Return the report's title."""
    return f"{comparison.study}: {comparison.metric.name} on {comparison.data}"


def markdown(comparison: Comparison, figures: Sequence[str]) -> str:
    """Return the report as GitHub's Markdown; figures are named by path relative to it."""
    parts = [f"# {_escape_markdown(title(comparison))}"]
    parts += _items("Conclusions", comparison.conclusions)
    parts += _items("Notes", comparison.notes)
    rows = [row(comparison, group) for group in comparison.groups]
    parts += ["## Results", _markdown_table(headings(comparison), rows), _escape_markdown(legend(comparison))]
    parts += [f"![{_escape_markdown(_caption(figure))}]({figure})" for figure in figures]
    if comparison.verdicts:
        verdicts = [verdict_row(comparison, verdict) for verdict in comparison.verdicts]
        parts += ["## Verdicts", _markdown_table(VERDICT_HEADINGS, verdicts)]
        parts += ["\n".join(f"- {_escape_markdown(verdict.sentence)}" for verdict in comparison.verdicts)]
        parts += ["Tested by:", "\n".join(f"- {_escape_markdown(method)}" for method in methods(comparison))]
    if comparison.commands:
        parts += ["## How to repeat it", _fenced("\n".join(comparison.commands))]
    if comparison.provenance:
        parts += ["## Provenance", _markdown_table(("what", "which"), [[*pair] for pair in comparison.provenance.items()], "---")]
    return "\n\n".join(parts) + "\n"


def _items(heading: str, sentences: list[str]) -> list[str]:
    if not sentences:
        return []
    return [f"## {heading}", "\n".join(f"- {_escape_markdown(sentence)}" for sentence in sentences)]


def _caption(figure: str) -> str:
    return figure.rpartition("/")[2].rpartition(".")[0].replace("_", " ").capitalize()


def _markdown_table(names: Sequence[str], rows: list[list[str]], side: str = "---:") -> str:
    ruler = ["---"] + [side] * (len(names) - 1)
    written = [[_escape_markdown(cell) for cell in names], ruler, *([_escape_markdown(cell) for cell in cells] for cells in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in written)


def _escape_markdown(text: str) -> str:
    r"""Make text mean itself in Markdown: no HTML, no emphasis, no link, no table cell; `_` within a word is plain as it is."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*{}\[\]#|~!$])", r"\\\1", text)
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\_", text)
    return re.sub(r"(?i)\b(https?):", r"\1&#58;", text)


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}bash\n{text}\n{fence}"


def latex(comparison: Comparison) -> str:
    r"""Return the table of groups up to time as a LaTeX fragment (it needs `\usepackage{booktabs}`), the best by validation in bold."""
    best = best_by_validation(comparison)
    lines = [_latex_row(headings(comparison)[:NUM_LATEX_COLUMNS], ""), r"\midrule"]
    for place, group in enumerate(comparison.groups):
        if group.is_baseline and place and not comparison.groups[place - 1].is_baseline:
            lines.append(r"\midrule")
        lines.append(_latex_row(row(comparison, group)[:NUM_LATEX_COLUMNS], r"\bfseries " if group.name == best else ""))
    label = re.sub(r"[^a-zA-Z0-9-]", "-", comparison.study)
    columns = "l" + "r" * (NUM_LATEX_COLUMNS - 1)
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering\small\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{_escape_latex(f'{title(comparison)}. {legend(comparison)}')}}}",
            rf"\label{{tab:{label}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$"},
}


def _latex_row(cells: Sequence[str], style: str) -> str:
    # An interval at the start of a row would be read as an optional argument of the `\\` before it: braces keep it text.
    return " & ".join(f"{{{style}{_escape_latex(cell)}}}" for cell in cells) + r" \\"


def _escape_latex(text: str) -> str:
    text = "".join(LATEX.get(sign, sign) for sign in " ".join(text.split()))
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", text)
