"""Tables hold what was measured, and text from data stays text in Markdown, LaTeX and on the screen."""

import re
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console
from tests.report.example import HOSTILE, comparison

from rnnlab.report.comparison import Comparison, Group
from rnnlab.report.tables import headings, latex, markdown, print_table, results_frame

NASTY = "a|b*c_d`e~$#{}[x](http://x.y)<b>\\&%^ \n1"


def renamed(name: str, found: Comparison) -> Comparison:
    """Give the first group another name everywhere."""
    first = found.groups[0]
    groups = [Group(name, {"model": name}, first.runs), *found.groups[1:]]
    summaries = {name if key == first.name else key: value for key, value in found.summaries.items()}
    verdicts = [replace(v, first=name, sentence=f"{name} is better.") if v.first == first.name else v for v in found.verdicts]
    return replace(found, groups=groups, summaries=summaries, verdicts=verdicts, conclusions=[f"{name} is best."])


def printed(found: Comparison, width: int = 150) -> str:
    file = StringIO()
    console = Console(file=file, width=width)
    print_table(found, console)
    return file.getvalue()


def test_results_have_a_row_a_run_with_every_test_metric() -> None:
    found = comparison(False)
    table = results_frame(found)
    assert len(table) == 4 * 3 * 2
    assert list(table.columns[:3]) == ["group", "settings/model", "settings/note"]
    assert {"seed", "fold", "run_id", "validation", "test", "test/accuracy", "test/f1_macro", "test/num_examples", "seconds"} <= {*table}
    row = table[(table["group"] == "lstm") & (table["seed"] == 2) & (table["fold"] == "west")].iloc[0]
    run = next(run for run in found.groups[1].runs if (run.seed, run.fold) == (2, "west"))
    assert (row["run_id"], row["num_parameters"], row["memory_mb"]) == (run.run_id, 50_954, 431.0)
    assert (row["validation"], row["test"]) == (run.metrics["best/accuracy"], run.metrics["test/accuracy"])


def test_what_a_run_lacks_is_missing() -> None:
    found = comparison(False)
    bare = replace(found.groups[0].runs[0], metrics={})
    other = Group("other", {"hidden_size": "3"}, [bare])
    table = results_frame(replace(found, groups=[found.groups[1], other]))
    last = table.iloc[-1]
    assert last[["test", "seconds", "settings/model"]].isna().all()
    assert last["settings/hidden_size"] == "3"


def test_the_screen_shows_every_number_then_what_follows() -> None:
    text = printed(comparison(False))
    row = next(line for line in text.splitlines() if line.startswith("gru"))
    written = ["gru", "3 x 2", "95.10", "94.33 ± 0.41", "[93.1, 95.5]", "38,282", "61.2 s", "5,312", "412"]
    assert [cell.strip() for cell in row.split("\N{BOX DRAWINGS LIGHT VERTICAL}")] == written
    assert (
        text.index("Conclusions")
        < text.index("- Every network is better")
        < text.index("Verdicts")
        < text.index("- gru is better than srnn")
    )


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_a_narrow_window_breaks_no_heading_and_no_number(width: int) -> None:
    found = comparison(False)
    lines = printed(found, width).splitlines()
    shown = [heading for heading in headings(found) if heading in ("group", "n") or any(heading.split()[0] in line for line in lines[:5])]
    words = {word for line in lines[1:12] for word in re.split(r"[\s│┃]+", line)}
    assert {word for heading in shown for word in heading.split()} <= words
    assert {"95.10", "[93.1,", "95.5]", "94.33", "0.41"} <= words
    told = next((line for line in lines if line.startswith("For ")), "For  widen")
    left = told.removeprefix("For ").partition(" widen")[0].split(", ") if len(told) > 10 else []
    assert [*shown, *left] == headings(found)
    assert all(len(line) <= width for line in lines[:6])


def test_markup_of_the_screen_stays_text() -> None:
    text = printed(renamed("[bold]x[/bold] [link=a]", comparison(False)), width=220)
    assert "[bold]x[/bold] [link=a]" in text
    assert "- [bold]x[/bold] [link=a] is best." in text


def test_markdown_has_all_parts_in_order() -> None:
    text = markdown(comparison(False), ["figures/learning_curves.png"])
    parts = [
        "# cells_speech: accuracy on speech",
        "## Conclusions",
        "- On speech, gru",
        "## Notes",
        "## Results",
        "| gru | 3 x 2 | 95.10 |",
    ]
    parts += [
        "![Learning curves](figures/learning_curves.png)",
        "## Verdicts",
        "| gru against lstm | +0.42 points |",
        "Tested by:\n\n- paired by groups\n\n## ",
    ]
    parts += ["How to repeat it", "```bash\npython src/train.py", "## Provenance", "| commit | 9144d0d |"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_markdown_of_nothing_has_no_empty_parts() -> None:
    found = replace(comparison(False), verdicts=[], conclusions=[], notes=[], commands=[], provenance={})
    assert re.findall("^##? .*", markdown(found, []), re.M) == ["# cells_speech: accuracy on speech", "## Results"]


@pytest.mark.parametrize("name", [NASTY, HOSTILE])
def test_text_stays_text_in_markdown(name: str) -> None:
    text = markdown(renamed(name, comparison(True)), [])
    outside = re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.M | re.S)
    assert not re.search(r"<\w", outside)
    assert not re.search(r"(?<!\\)\[x(?<!\\)\]", outside)
    assert "http://" not in outside
    tables = [re.split(r"(?<!\\)\|", line) for line in outside.splitlines() if line.startswith("|")]
    assert {len(cells) for cells in tables} == {9 + 2, 8 + 2, 2 + 2}


def test_a_fence_is_longer_than_any_in_a_command() -> None:
    text = markdown(replace(comparison(False), commands=["a", "````", "b"]), [])
    assert "\n`````bash\na\n````\nb\n`````\n" in text


def test_the_best_by_validation_and_nothing_else_is_bold_in_latex() -> None:
    found = comparison(False)
    better = replace(found.summaries["srnn"], validation=0.99)
    lines = latex(replace(found, summaries=found.summaries | {"srnn": better})).splitlines()
    assert [line.split(" & ")[0] for line in lines if "bfseries" in line] == [r"{\bfseries srnn}"]
    assert next(line for line in lines if line.startswith("{gru}")).endswith(
        r"{94.33 $\pm$ 0.41} & {[93.1, 95.5]} & {38,282} & {61.2 s} \\"
    )


def test_latex_is_a_whole_fragment() -> None:
    text = latex(comparison(True))
    begun, ended = re.findall(r"\\begin{(\w+)}", text), re.findall(r"\\end{(\w+)}", text)
    assert begun == ["table", "tabular"] == ended[::-1]
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 2, 1]
    assert r"\label{tab:cells-speech}" in text


@pytest.mark.parametrize("name", [NASTY, HOSTILE])
def test_text_stays_text_in_latex(name: str) -> None:
    text = latex(renamed(name, comparison(True))).replace("% needs", "needs")
    bare = re.sub(r"\\[&%$#_{}]|\\\\", "", text)
    assert bare.count("{") == bare.count("}")
    assert not set("%#_~^<>|") & set(bare)
    assert {line.count("&") for line in bare.splitlines() if "&" in line} == {6}
    assert bare.count("$") == 2 * (bare.count(r"$\pm$"))
