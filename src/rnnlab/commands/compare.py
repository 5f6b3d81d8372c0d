"""A comparison from selection to report: runs -> groups -> verdicts -> table, figures, page (`src/compare.py`)."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rnnlab.config import ConfigError
from rnnlab.paths import as_here
from rnnlab.report import page, runs, static_figures, tables
from rnnlab.report.comparison import Comparison, Trial
from rnnlab.report.differences import compare_two
from rnnlab.report.ranks import rank, rank_groups
from rnnlab.report.static_figures import draw_ranks
from rnnlab.report.verdicts import conclusions, order, summaries, verdicts
from rnnlab.settings import Paths
from rnnlab.studies.jobs import state_of
from rnnlab.tracking.parents import finished_run, read_plan, with_runs
from rnnlab.tracking.store import Client, Run, connect, find_baselines, find_runs, folder_of, get_run
from rnnlab.tracking.tracker import NAME_PATTERN, Tracker

console = Console(soft_wrap=True)


@dataclass(frozen=True)
class Selection:
    """What is compared.

    Args:
        runs: finished.
        notes: what a reader must know: jobs that are missing.
        words: that select it again.
        parent: of the study, where there is one.
        searches: group to the name of the search that found its setting.
    """

    study: str
    data: str
    runs: list[Run]
    notes: list[str]
    words: str
    parent: Run | None = None
    searches: Mapping[str, str] | None = None


@dataclass(frozen=True)
class CompareSettings:
    """What `compare.py` is asked; conf/compare.yaml says what each key means."""

    paths: Paths
    study_name: str | None
    data_name: str | None
    parent: str | None
    filter: str | None
    run: str | list[str] | None
    metric: str | None
    status: bool
    output: str | None
    ui: str
    uri: str | None

    @property
    def data_names(self) -> list[str] | list[None]:
        """The names of the data sets, or one None where none is named."""
        return str(self.data_name).split(",") if self.data_name else [None]

    @property
    def run_ids(self) -> list[str]:
        """The ids of the runs to compare."""
        return [str(name).strip() for name in (self.run if isinstance(self.run, list) else str(self.run).split(","))]


def compare(settings: CompareSettings) -> None:
    """Compare what the settings select, print the table and verdicts, write the report.

    Raises:
        ConfigError: where nothing is selected, or what must not be mixed.
    """
    client = connect(settings.uri, settings.paths.root)
    with tempfile.TemporaryDirectory() as scratch:
        if settings.run:
            compare_two(client, settings.run_ids, comparison_folder(settings), Path(scratch))
            return
        names = settings.data_names
        if settings.status:
            for name in names:
                print_status(client, find_parent(client, settings, name), Path(scratch))
            return
        found = [make_comparison(client, select(client, settings, name, Path(scratch)), settings, Path(scratch)) for name in names]
        for comparison, parent in found:
            write_report(client, comparison, parent, report_folder(settings, comparison, is_one=len(found) == 1))
        if len(found) > 1:
            write_ranks([comparison for comparison, _ in found], settings)


# -- what is compared --------------------------------------------------------------------------------------------------


def select(client: Client, settings: CompareSettings, data: str | None, scratch: Path) -> Selection:
    """Return the runs that a configuration asks for.

    Raises:
        ConfigError: where it selects nothing.
    """
    asked = [each for each in (settings.study_name, settings.parent, settings.filter) if each]
    if len(asked) != 1:
        raise ConfigError('give one of study=NAME, parent=RUN_ID, filter="params....", run=RUN_ID,RUN_ID; see --help')
    if settings.filter:
        return select_by_filter(client, settings.filter)
    parent = find_parent(client, settings, data)
    plan = read_plan(client, parent.info.run_id, scratch / parent.info.run_id)
    found: list[Run] = []
    missing: list[str] = []
    for job, tried in with_runs(client, plan["jobs"]):
        run = finished_run(tried)
        if run is None:
            missing.append(f"{job['group']} seed {job['seed']}: {state_of(tried)}")
            continue
        # One job may be two groups' (a search's best setting may be the default): the group is the study's to say, not the run's.
        found.append(in_study(run, job))
    if not found:
        raise ConfigError(f"study {plan['study']} has no finished run yet: see its state with status=true")
    notes = [f"{len(missing)} of {len(plan['jobs'])} jobs are missing: {'; '.join(missing[:8])}"] if missing else []
    words = f"study={plan['study']} data={','.join(plan['data'])}"
    return Selection(plan["study"], ",".join(plan["data"]), found, notes, words, parent, plan["searches"])


def in_study(run: Run, job: Mapping[str, Any]) -> Run:
    """Return a run as a study sees it: by its own setting's name."""
    setting = [word.partition("=")[2] for word in job["words"] if word.startswith("study.setting=")]
    run.data.tags.pop("setting", None)
    run.data.tags.update({"setting": setting[0]} if setting else {})
    return run


def select_by_filter(client: Client, wanted: str) -> Selection:
    """Return the finished runs that MLflow's filter finds."""
    # A rerun that checks another run is no further seed, and a trial that was stopped early no result.
    others = ("kind", "reproduces", "pruned")
    found = [run for run in find_runs(client, wanted) if not any(run.data.tags.get(tag) for tag in others)]
    finished = [run for run in found if run.info.status == "FINISHED"]
    if not finished:
        raise ConfigError(f"filter={wanted!r} finds no finished run ({len(found)} others)")
    ended = Counter(run.info.status for run in found if run.info.status != "FINISHED")
    notes = [f"left out: {', '.join(f'{count} {status.lower()}' for status, count in ended.items())}"] if ended else []
    data = sorted({run.data.params.get("data", "data") for run in finished})
    return Selection("filter", "-".join(data), finished, notes, f'filter="{wanted}"')


def find_parent(client: Client, settings: CompareSettings, data: str | None) -> Run:
    """Return a study's parent run.

    Raises:
        ConfigError: where there is none, or several.
    """
    if settings.parent:
        run = get_run(client, settings.parent)
        if run.data.tags.get("kind") != "study":
            raise ConfigError(f"parent={settings.parent} ({run.info.run_name}) is no study's parent run; two single runs: run=A,B")
        return run
    study = str(settings.study_name)
    if not NAME_PATTERN.fullmatch(study):
        raise ConfigError(f"study={study!r} is not a name: small letters, digits, - and _ only")
    known = find_runs(client, "tags.kind = 'study'")
    found = [run for run in known if run.data.tags.get("study") == study and data in (None, run.data.tags.get("data"))]
    if not found:
        listed = sorted({f"study={run.data.tags.get('study')} data={run.data.tags.get('data')}" for run in known})
        raise ConfigError(f"there is no study={study}{f' data={data}' if data else ''}. Known: {'; '.join(listed) or 'none yet'}")
    if len(found) > 1:
        listed = [f"parent={run.info.run_id} ({run.info.run_name}: {_axes(run)})" for run in found]
        raise ConfigError(f"{len(found)} studies have that name; choose one:\n  " + "\n  ".join(listed))
    return found[0]


def _axes(run: Run) -> str:
    return " ".join(f"{key.removeprefix('axis/')}={value}" for key, value in run.data.params.items() if key.startswith("axis/"))


# -- the comparison ----------------------------------------------------------------------------------------------------


def make_comparison(client: Client, selection: Selection, settings: CompareSettings, scratch: Path) -> tuple[Comparison, Run | None]:
    """Compute everything that a report says."""
    runs.refuse_mixtures(selection.runs)
    metric = runs.metric_of(selection.runs, settings.metric)
    beside = tracked_baselines(client, selection.runs, f"test/{metric.name}")
    read = runs.read_groups(client, [*selection.runs, *beside], metric, settings.ui, scratch)
    groups = order(read, metric)
    judged = verdicts(groups, metric)
    parent = selection.parent
    comparison = Comparison(
        study=selection.study,
        data=selection.data,
        metric=metric,
        groups=groups,
        summaries=summaries(groups, metric),
        verdicts=judged,
        conclusions=conclusions(groups, judged, metric),
        notes=[*selection.notes, *notes_on(selection.runs)],
        commands=commands_of(parent, selection),
        provenance=provenance(selection.runs),
        trials=read_trials(selection, settings.paths),
        parent_url=f"{settings.ui}/#/experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}" if parent else "",
    )
    return comparison, parent


def tracked_baselines(client: Client, compared: Sequence[Run], metric: str) -> list[Run]:
    """Return baselines that were tracked on the same test examples, where the comparison has none itself: of each kind that was run
    on every fold, the latest.
    """
    if any(runs.is_baseline(run) for run in compared):
        return []
    kinds: dict[str, dict[str, Run]] = {}
    hashes = {run.data.tags["test_hash"]: run for run in compared}
    for test_hash, run in hashes.items():
        for other in find_baselines(client, test_hash):
            same = other.data.metrics.get("test/num_examples") == run.data.metrics.get("test/num_examples")
            if same and metric in other.data.metrics and other.data.tags.get("source_hash") == run.data.tags.get("source_hash"):
                kinds.setdefault(other.data.tags.get("baseline", ""), {}).setdefault(test_hash, other)
    return [run for found in kinds.values() if len(found) == len(hashes) for run in found.values()]


def notes_on(compared: Sequence[Run]) -> list[str]:
    """Say what differs between runs beside what is compared."""
    notes = []
    for tag, words in {"code_hash": "versions of the package", "num_threads": "numbers of threads", "host": "machines"}.items():
        values = {run.data.tags.get(tag) for run in compared}
        if len(values) > 1:
            notes.append(f"the runs come from {len(values)} {words}")
    if any(run.data.tags.get("git_dirty") == "true" for run in compared):
        notes.append("some runs were made with uncommitted changes")
    if len({run.data.tags.get("prepared_key") for run in compared}) > 1:
        notes.append("the data were prepared in several ways: that is part of what is compared")
    return notes


def commands_of(parent: Run | None, selection: Selection) -> list[str]:
    """Return the commands that make the runs and this report."""
    commands = [as_here(f"python src/compare.py {selection.words}")]
    if parent is not None and (command := parent.data.tags.get("command")):
        commands.insert(0, command)
    return commands


def provenance(compared: Sequence[Run]) -> dict[str, str]:
    """Return where the numbers come from: commits, hashes, machine."""
    names = {"git_commit": "commit", "source_hash": "data", "code_hash": "package", "platform": "platform", "num_threads": "threads a run"}
    return {words: ", ".join(sorted({run.data.tags.get(tag, "unknown")[:40] for run in compared})) for tag, words in names.items()}


def read_trials(selection: Selection, paths: Paths) -> dict[str, list[Trial]]:
    """Return the trials of a study's searches."""
    if not selection.searches or selection.parent is None:
        return {}
    from rnnlab.studies.trials import read_search

    folder = folder_of(selection.parent, paths).parent / "searches"
    found = {}
    for group, name in selection.searches.items():
        if (folder / f"{name}.journal").is_file():
            trials = read_search(folder, name)
            found[group] = [
                Trial(number, state, value, {key: "null" if given is None else given for key, given in setting.items()}, [])
                for number, state, value, setting in trials
            ]
    return found


# -- the report -----------------------------------------------------------------------------------------------


def report_folder(settings: CompareSettings, comparison: Comparison, is_one: bool) -> Path:
    """Return where a report goes: `output`, a folder in it for each of several data sets; or `experiments/<study>_<data>`."""
    name = f"{comparison.study}_{comparison.data.replace(',', '-')}"
    if not settings.output:
        return settings.paths.root / "experiments" / name
    output = Path(settings.output).expanduser()
    return output if is_one else output / name


def comparison_folder(settings: CompareSettings) -> Path:
    """Return where the files of a comparison of two runs go."""
    if settings.output:
        return Path(settings.output)
    return settings.paths.outputs / "comparisons" / "_".join(run_id[:8] for run_id in settings.run_ids)


def write_report(client: Client, comparison: Comparison, parent: Run | None, folder: Path) -> None:
    """Print the table, write the report, and add it to the parent run's artifacts."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = static_figures.write_pictures(comparison, folder)
    tables.results_frame(comparison).to_csv(folder / "results.csv", index=False)
    (folder / "report.md").write_text(tables.markdown(comparison, drawn), encoding="utf-8")
    (folder / "table.tex").write_text(tables.latex(comparison), encoding="utf-8")
    page.write_page(comparison, folder / "report.html")
    if parent is not None:
        with tempfile.TemporaryDirectory() as copied:
            for name in ("results.csv", "report.md", "table.tex", "report.html", *drawn):
                shutil.copy(folder / name, copied)
            Tracker(client, parent.info.run_id, str(parent.info.run_name), folder).log_files(Path(copied), "report")
    tables.print_table(comparison, console)
    console.print(f"\nreport: {folder / 'report.html'}", highlight=False)


def write_ranks(comparisons: Sequence[Comparison], settings: CompareSettings) -> None:
    """Print average ranks over several data sets, and draw them beside the reports."""
    scores = {c.data: {name: s.mean for name, s in c.summaries.items()} for c in comparisons}
    directions = {c.data: c.metric.direction for c in comparisons}
    for line in rank_groups(scores, directions):
        console.print(line, highlight=False)
    if len(set.intersection(*(set(groups) for groups in scores.values()))) > 1:
        folder = Path(settings.output).expanduser() if settings.output else settings.paths.root / "experiments"
        file = folder / f"{comparisons[0].study}_ranks.png"
        draw_ranks(rank(scores, directions), file)
        console.print(f"picture: {file}", highlight=False)


def print_status(client: Client, parent: Run, scratch: Path) -> None:
    """Print what is done, running, failed and left of a study, and how long it will take."""
    plan = read_plan(client, parent.info.run_id, scratch)
    table = Table(title=f"{parent.info.run_name} ({parent.info.run_id})", title_justify="left", show_edge=False, pad_edge=False)
    for heading in ("job", "seed", "state", "seconds", "run"):
        table.add_column(heading)
    counts: Counter[str] = Counter()
    seconds: list[float] = []
    for job, tried in with_runs(client, plan["jobs"]):
        state = state_of(tried)
        counts[state] += 1
        run = finished_run(tried) or (tried[0] if tried else None)
        spent = run.data.metrics.get("time/fit_seconds") if run and state == "finished" else None
        seconds += [spent] if spent is not None else []
        fold = next((word.partition("=")[2] for word in job["words"] if word.startswith("data.fold=")), "")
        name = f"{job['group']}{f' fold {fold}' if fold else ''}"
        table.add_row(name, str(job["seed"]), state, f"{spent:.0f}" if spent is not None else "", run.info.run_id if run else "")
    console.print(table)
    left = counts["left"] + counts["cut off"] + counts["running"]
    words = ", ".join(f"{count} {state}" for state, count in counts.items())
    rest = f"; about {left * sum(seconds) / len(seconds) / 60:.0f} min of training left, one job at a time" if seconds and left else ""
    console.print(f"\n{len(plan['jobs'])} jobs: {words}{rest}", highlight=False)
