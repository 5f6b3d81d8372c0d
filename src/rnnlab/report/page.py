"""One HTML page that holds a whole comparison: no request leaves it, and nothing in it but its own two scripts can run."""

import base64
import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from rnnlab.report import figures, page_tables, search_figures
from rnnlab.report.agreement import disagreements
from rnnlab.report.comparison import Comparison
from rnnlab.report.style import wish
from rnnlab.report.tables import legend, methods, title

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Plot:
    """The text around a figure: the heading above, the caption below, and what its buttons choose ("" where there are none)."""

    heading: str
    caption: str
    choice: str = ""


FRONT = "Bars: 95 % intervals over seeds and units. Dotted: the Pareto front, the groups that nothing cheaper matches or beats."
PLOTS: dict[str, tuple[Plot, Callable[[Comparison], go.Figure | None]]] = {
    "parameters": (Plot("Quality against parameters", FRONT), lambda comparison: figures.quality_against(comparison, "num_parameters")),
    "seconds": (Plot("Quality against training time", FRONT), lambda comparison: figures.quality_against(comparison, "seconds")),
    "spread": (Plot("Every run", "A dot is a run, its shape the fold; the upright bar is the group's mean."), figures.spread),
    "differences": (
        Plot("Gains", "Right of 0 the first is better than the second. Bars: 95 % intervals. Blue and full: shown after correction."),
        figures.differences,
    ),
    "curves": (
        Plot(
            "Learning curves",
            "Line: mean over runs, on the steps that all of them reached. Band: ±1 standard deviation. Thin lines: the runs.",
            "what is drawn",
        ),
        figures.learning_curves,
    ),
    "history": (
        Plot("How the searches went", "Dots: trials. Hollow triangles: pruned trials, at their last value. Line: the best so far."),
        search_figures.optimisation_history,
    ),
    "importance": (
        Plot(
            "Which settings mattered",
            "Share of the variance between complete trials that each setting explains (fANOVA on random trees), among the values that "
            "were tried.",
        ),
        search_figures.importance,
    ),
    "parallel": (
        Plot(
            "Settings of each trial",
            "A line is a complete trial (the best 60), through its settings to its value. The redder the better; thick: the best.",
            "which search",
        ),
        search_figures.parallel_coordinates,
    ),
    "agreement": (
        Plot(
            "What one gets right and another does not",
            "Per cent of test examples on which a run of the row is right and a run of the column is wrong, on average over pairs of runs "
            "(where answers have losses: on which the row's mean loss is smaller).",
        ),
        figures.won_by_one,
    ),
}


def write_page(comparison: Comparison, file: Path) -> None:
    """Write the report as one HTML file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render(comparison), encoding="utf-8", newline="\n")


def render(comparison: Comparison) -> str:
    """Return the page as text."""
    drawn = draw(comparison)
    found = disagreements(comparison)
    script, library = (HERE / "page.js").read_text(encoding="utf-8"), get_plotlyjs()
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    groups = comparison.groups
    return environment.get_template("page.html.j2").render(
        comparison=comparison,
        title=title(comparison),
        wish=wish(comparison.metric),
        legend=page_tables.signs(legend(comparison)),
        num_runs=sum(len(group.runs) for group in groups),
        num_baselines=sum(group.is_baseline for group in groups),
        parent_url=page_tables.web(comparison.parent_url),
        plots={key: plot for key, (plot, _) in drawn.items()},
        heights_px={key: int(figure.layout.height) for key, (_, figure) in drawn.items()},
        groups=page_tables.groups_table(comparison),
        verdicts=page_tables.verdicts_table(comparison) if comparison.verdicts else None,
        methods=methods(comparison),
        metrics=page_tables.metrics_table(comparison),
        examples=page_tables.disagreements_table(comparison, found) if found and found.rows else None,
        runs=page_tables.runs_table(comparison),
        bar_width=page_tables.WIDTH_PX,
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hashes=[content_hash(script), content_hash(library)],
        library=Markup(packed(library)),
        figures=Markup(as_json({key: figure for key, (_, figure) in drawn.items()})),
    )


def draw(comparison: Comparison) -> dict[str, tuple[Plot, go.Figure]]:
    """Draw all figures that there is something to draw for, by the id of their place in the page."""
    found = {key: (plot, drawer(comparison)) for key, (plot, drawer) in PLOTS.items()}
    return {key: (plot, figure) for key, (plot, figure) in found.items() if figure is not None}


def as_json(drawn: dict[str, go.Figure]) -> str:
    """Return figures as JSON that cannot end the script element that it is in, nor begin another."""
    text = "{" + ",".join(f"{json.dumps(key)}:{figure.to_json()}" for key, figure in drawn.items()) + "}"
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def packed(library: str) -> str:
    """Compress a script for the page, the same bytes in every report."""
    return base64.b64encode(gzip.compress(library.encode(), 9, mtime=0)).decode()


def content_hash(script: str) -> str:
    """Return by what a Content-Security-Policy knows a script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
