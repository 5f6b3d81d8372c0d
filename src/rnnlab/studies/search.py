"""Equal tuning: as many search trials on validation for every network of a study, before its seeds are run with the best setting."""

import json
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from rnnlab.config import ConfigError, Failed, flatten, recipe_for, recipe_name
from rnnlab.paths import CONF, in_markup
from rnnlab.settings import Choices, Study, TrialId
from rnnlab.studies.jobs import Job, counted, state_of
from rnnlab.studies.runner import Runner
from rnnlab.studies.trials import Search, Setting, as_choice, read_space, search_name
from rnnlab.tasks import Metric
from rnnlab.tracking.parents import REPEATED, group_of
from rnnlab.tracking.store import find_runs
from rnnlab.training.trainer import chosen_by

console = Console(stderr=True, soft_wrap=True)


class Tuning:
    """Search settings for the networks of one study; searches are kept in a folder."""

    def __init__(self, runner: Runner, study: Study, folder: Path) -> None:
        self.runner, self.study, self.folder = runner, study, folder
        self.found: list[tuple[Job, Setting, str]] = []

    def tuned(self, jobs: list[Job]) -> list[Job]:
        """Search the best setting of every network, equally long, and return the jobs that run seeds and folds with it."""
        found: list[Job] = []
        for group in _groups(jobs):
            network = group[0]
            if not network.settings.model.sized_parts:
                found += group
                continue
            best = self.search(network)
            if self.study.search.with_default:
                found += [self._set(job, "default", {}) for job in group]
            found += [self._set(job, "tuned", best) for job in group]
        return found

    def planned(self, jobs: list[Job]) -> tuple[list[str], list[tuple[str, list[str]]]]:
        """Return the networks that would be searched, and the jobs after that, each with its state and what varies, for a dry run."""
        networks, rows = [], list[tuple[str, list[str]]]()
        for group in _groups(jobs):
            if not group[0].settings.model.sized_parts:
                rows += [(self.runner.state(job), self.runner.varying(job)) for job in group]
                continue
            networks.append(self._label(group[0]))
            for name in ("default", "tuned") if self.study.search.with_default else ("tuned",):
                rows += [
                    (self.runner.state(job) if name == "default" else "left", [*self.runner.varying(job), f"study.setting={name}"])
                    for job in group
                ]
        return networks, rows

    def check(self, jobs: list[Job]) -> None:
        """Refuse what cannot be searched, before any trial.

        Raises:
            ConfigError: where a network has no key of the space, or nothing to choose settings by.
        """
        for network, *_ in _groups(jobs):
            if "recurrence" in network.settings.model.values:
                self._space(network)
                self._measure(network)

    def write(self) -> None:
        """Write each network's best setting to `conf/tuned`: at the end of the study, whose jobs are composed from what was there."""
        for network, best, where in self.found:
            choices = network.settings.choices
            lasting = {"epochs": network.settings.composed.values["epochs"], **best}  # a setting belongs to how long it was tried
            source = network.settings.data.values.get("source")
            file = write_tuned(CONF, choices, lasting, where, source)
            is_taken = recipe_for(choices.model, choices.data, source) == file.stem
            how = f"model={choices.model} data={choices.data} takes it from now on" if is_taken else f"tuned={file.stem} takes it"
            console.print(f"written to {file}: {how}", highlight=False)

    def _set(self, job: Job, name: str, setting: Setting) -> Job:
        """Return a job with another setting."""
        given = self.runner.make_job([*self.runner.given_to(job), *_words(setting)])
        return Job((*given.words, f"study.setting={name}"), given.settings, given.identity)

    def search(self, network: Job) -> Setting:
        """Run the trials of one network that are left, and return its best setting."""
        flat, space = flatten(network.settings.composed.values), self._space(network)
        if left := sorted(set(self.study.search.space) - set(space)):
            console.print(f"not searched, since {self._label(network)} has no such keys: {', '.join(left)}", highlight=False)
        seeds = list(self.study.search.search_seeds)
        measure, label = self._measure(network), self._label(network)
        name = search_name(network.identity, space, seeds, measure.name)
        start = {key: as_choice(flat[key]) for key in space}
        search = Search(self.folder, name, measure.direction, read_space(space), start)
        self.runner.parent.note_search(label, name)
        asked, most = search.unfinished(), self.runner.num_at_once
        while asked or search.num_done < self.study.search.tuning_trials:
            wanted = min(most, self.study.search.tuning_trials - search.num_done)
            asked += [search.ask() for _ in range(wanted - len(asked))]
            self._run_trials(search, network, asked[:most], seeds, measure)
            asked = asked[most:]
        number, value, best = search.best()
        words = f"{measure.name} {value:.4f} on validation with {_shown(best)} (trial {number + 1})"
        console.print(f"[bold]best of {search.num_done} trials[/] of {label}: {words}", highlight=False)
        where = f"Best of {search.num_done} trials, {measure.name} {value:.4g} on validation (study {self.runner.parent.plan.name})."
        self.found.append((network, best, where))
        return best

    def _run_trials(self, search: Search, network: Job, asked: list[tuple[int, Setting]], seeds: list[int], measure: Metric) -> None:
        """Run trials beside each other, the seeds of each one after another, and tell the search.

        Raises:
            Failed: where another process is running one.
        """
        total = self.study.search.tuning_trials
        for number, setting in asked:
            console.print(
                f"\n[bold]trial {number + 1} of {total}[/] of {self._label(network)}: {in_markup(_shown(setting))}", highlight=False
            )
        words = [word for word in self.runner.given_to(network) if not word.startswith("seed=")]
        values: dict[int, list[float]] = {number: [] for number, _ in asked}
        for seed in seeds:
            left = [(number, setting) for number, setting in asked if number in values]
            jobs = {number: self.runner.make_job([*words, f"seed={seed}", *_words(setting)]) for number, setting in left}
            errors = self.runner.run_trials([(job, TrialId(search.name, number)) for number, job in jobs.items()])
            for (number, job), error in zip(jobs.items(), errors, strict=True):
                value = self._came_of(job, error, search, number, measure)
                if value is None:
                    del values[number]
                else:
                    values[number].append(value)
        for number, found in values.items():
            search.tell(number, sum(found) / len(found), "complete")

    def _came_of(self, job: Job, error: str, search: Search, number: int, measure: Metric) -> float | None:
        """Return the value of one job of a trial; None where it failed or was pruned, which the search is told."""
        if error:
            console.print(f"  trial {number + 1} failed: {in_markup(error)}", highlight=False)
            search.tell(number, None, "failed")
            return None
        tried = counted(find_runs(self.runner.client, f"tags.identity = '{job.identity}'"), search.name)
        finished = [run for run in tried if run.info.status == "FINISHED"]
        if finished:
            return float(finished[0].data.metrics[f"best/{measure.name}"])
        state = state_of(tried)
        if state not in ("pruned", "failed"):  # failed: the same setting did before
            raise Failed(f"trial {number + 1} is {state} elsewhere: run the study again when it has ended")
        search.tell(number, None, state)
        return None

    def _space(self, network: Job) -> dict[str, Any]:
        """Return what may be chosen for each key that a network has."""
        flat, asked = flatten(network.settings.composed.values), self.study.search.space
        space = {key: value for key, value in asked.items() if key in flat}
        if not space:
            raise ConfigError(f"study.space has no key of {self._label(network)}: {', '.join(sorted(asked))}; its keys: add --cfg job")
        return space

    def _measure(self, job: Job) -> Metric:
        """Return the metric that settings are chosen by."""
        return chosen_by(job.settings.model.recipe()(self.runner.spec(job)), self.study.search.metric)

    def _label(self, job: Job) -> str:
        """Name a network by what varies between groups."""
        name = group_of(list(job.words), self.runner.axes)
        return name if name != "all" else job.settings.choices.model


def _groups(jobs: list[Job]) -> list[list[Job]]:
    """Return jobs that differ by seed and fold only."""
    groups: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        groups.setdefault(tuple(word for word in job.words if word.partition("=")[0] not in REPEATED), []).append(job)
    return list(groups.values())


def _words(setting: Setting) -> list[str]:
    """Write a setting as Hydra's grammar reads it; lists are searched as text."""
    return [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in setting.items()]


def _shown(setting: Setting) -> str:
    return "  ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in setting.items())


def write_tuned(conf: Path, choices: Choices, setting: Setting, where: str, source: str | None = None) -> Path:
    """Write a setting as a recipe, over what was there; `where` it came from is one sentence.

    `model=M data=D` takes it where it was found on the data's own source, or on another named one; of one's own files it has their name.
    """
    file = conf / "tuned" / f"{recipe_name(choices.model, choices.data, source, conf)}.yaml"
    old = file.read_text(encoding="utf-8") if file.is_file() else "# @package _global_\n"
    content: dict[str, Any] = yaml.safe_load(old) or {}
    for key, value in setting.items():
        node = content
        *parts, last = key.split(".")
        for part in parts:
            node = node.setdefault(part, {})
        node[last] = yaml.safe_load(value) if isinstance(value, str) else value  # a list is searched as text
    comments = [line for line in old.splitlines() if line.startswith("#") and not line.startswith(("# @package", "# Best of "))]
    text = "\n".join(["# @package _global_", f"# {where}", *comments]) + "\n" + yaml.safe_dump(content, sort_keys=False)
    aside = file.with_name(f".{file.name}.writing")
    aside.write_text(text, encoding="utf-8")
    aside.replace(file)
    return file
