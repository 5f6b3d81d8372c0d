"""What an experiment is given for the MLflow UI: views as the UI saves them, once; descriptions that nobody's text can change."""

import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import sync_playwright

from rnnlab.commands import ui
from rnnlab.paths import HOME
from rnnlab.settings import Paths
from rnnlab.tracking import views
from rnnlab.tracking.store import Client, connect, offer_views, shown_experiments
from rnnlab.tracking.tracker import Tracker
from rnnlab.tracking.views import NOTE, VIEWS, code, describe, link, missing_tags, state_of

MOST_CHARACTERS = 20_000
"""What MLflow lets a tag of an experiment hold."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def state(tags: dict[str, str], view: str) -> dict[str, Any]:
    """Read a view as the UI does: an envelope whose `state` is JSON in JSON."""
    envelope = json.loads(tags[f"mlflow.sharedViewState.{view}"])
    assert (type(envelope["name"]), type(envelope["createdAt"]), type(envelope["state"])) == (str, int, str)
    found: dict[str, Any] = json.loads(envelope["state"])
    return found


def test_an_experiment_gets_a_view_of_its_runs_its_groups_and_its_studies_that_shows_the_metric() -> None:
    tags = missing_tags("speech", {}, "accuracy", "max", 5)
    assert {key for key in tags if key.startswith("mlflow.shared")} == {f"mlflow.sharedViewState.{view}" for view in VIEWS}
    for view in VIEWS:
        assert {"metrics.`best/accuracy`", "metrics.`test/accuracy`"} <= set(state(tags, view)["selectedColumns"])
    runs, groups, studies = (state(tags, view) for view in ("runs", "groups", "studies"))
    assert (runs["orderByKey"], runs["orderByAsc"]) == ("metrics.`best/accuracy`", False)
    assert [key["groupByData"] for key in groups["groupBy"]["groupByKeys"]] == ["study", "model"]
    assert "searchFilter" not in studies and "groupBy" not in runs


def test_less_of_an_error_comes_first() -> None:
    assert state(missing_tags("djia", {}, "qlike", "min", 5), "runs")["orderByAsc"] is True


def test_what_was_given_once_is_not_given_again_even_where_a_user_took_it_away() -> None:
    tags = missing_tags("speech", {}, "accuracy", "max", 5)
    assert missing_tags("speech", tags, "accuracy", "max", 6) == {}
    assert missing_tags("speech", {views.KNOWN: tags[views.KNOWN]}, "accuracy", "max", 6) == {}


def test_another_metric_joins_those_before_and_a_description_of_the_users_own_stays() -> None:
    tags = missing_tags("stock", {}, "qlike", "min", 5) | {NOTE: "mine"}
    more = missing_tags("stock", tags, "accuracy", "max", 6)
    assert NOTE not in more
    shown = state(more, "runs")
    assert shown["orderByKey"] == "metrics.`best/accuracy`"
    assert {"metrics.`test/qlike`", "metrics.`test/accuracy`"} <= set(shown["selectedColumns"])
    assert missing_tags("stock", tags | more, "qlike", "min", 7) == {}


def test_views_of_however_many_metrics_fit_into_a_tag() -> None:
    tags: dict[str, str] = {}
    for number in range(40):
        tags |= missing_tags("stock", tags, f"a_metric_with_a_long_name_{number}", "max", 5)
    assert max(map(len, tags.values())) < MOST_CHARACTERS


def test_every_chart_has_a_section_and_a_name_of_its_own() -> None:
    shown = state_of("runs", {"accuracy": "max", "wer": "min"})
    charts = shown["compareRunCharts"]
    assert {chart["metricSectionId"] for chart in charts} == {section["uuid"] for section in shown["compareRunSections"]} & set(
        views.SECTIONS
    )
    assert len({chart["uuid"] for chart in charts}) == len(charts)


@pytest.mark.parametrize("text", ["a`b", "x\n# y", "`" * 9, "[a](javascript:alert(1))", "<img src=x>", "a" * 900])
def test_a_users_text_is_one_piece_of_code_in_a_description(text: str) -> None:
    written = code(text)
    assert (written[0], written[-1], written.count("`")) == ("`", "`", 2)
    assert "\n" not in written
    assert len(written) <= 502


def test_a_name_is_only_a_name_in_a_description() -> None:
    assert describe("my data_2-x").startswith("Runs on **my data_2-x**. ")
    assert not set("<>[]`|") & set(describe("<b>[a](b)|`**").partition(". ")[0].replace("**", ""))


# -- in a store --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this file keeps a store: making one takes two seconds."""
    return tmp_path_factory.mktemp("place")


def begun(client: Client, root: Path, experiment: str, **tags: str) -> Tracker:
    return Tracker.start(client, experiment, "a-run", Paths.below(root), tags)


def test_experiments_of_before_there_were_views_get_theirs_and_empty_ones_are_not_shown(place: Path) -> None:
    client = connect(None, place)
    begun(client, place, "older", metric="wer", metric_direction="min")
    client.create_experiment("empty")
    new = begun(client, place, "newer")
    new.show("accuracy", "max")
    assert {"older", "newer"} <= set(shown_experiments(client).values())
    assert "empty" not in shown_experiments(client).values()
    found = {name: client.get_experiment_by_name(name).tags for name in ("older", "newer", "empty")}
    assert [found[name].get(views.KNOWN) for name in found] == ["1 wer:min", "1 accuracy:max", None]
    assert found["older"][NOTE].startswith("Runs on **older**")
    offer_views(client, new.experiment_id, "accuracy", "max")
    assert client.get_experiment_by_name("newer").tags == found["newer"]


def test_make_ui_says_where_every_experiment_is_shown(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = connect(None, place)
    begun(client, place, "speech").show("accuracy", "max")
    number = client.get_experiment_by_name("speech").experiment_id
    monkeypatch.setenv("RNNLAB_ROOT", str(place))
    ui.main()
    assert re.search(rf"^  speech +{re.escape(link(views.UI, number))}$", capsys.readouterr().out, re.MULTILINE)
    monkeypatch.setattr(ui, "shown_experiments", lambda client: {})
    ui.main()
    assert "no runs yet" in capsys.readouterr().out


def test_make_ui_serves_the_runs_of_the_root_at_a_port_that_is_free(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    becomes: list[list[str]] = []
    monkeypatch.setenv("RNNLAB_ROOT", str(place))
    monkeypatch.setattr(os, "execv", lambda program, words: becomes.append(words))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(ui, "UI", f"http://127.0.0.1:{port}")
        ui.serve()
    (words,) = becomes
    assert words[1:4] == ["ui", "--backend-store-uri", f"sqlite:///{place}/mlflow.db"]
    assert int(words[-1]) > port
    assert f"port {port} is in use" in capsys.readouterr().out


def test_links_lead_to_where_make_ui_serves() -> None:
    makefile = (HOME / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^ui:.*(\n\t.*)*-m rnnlab.commands.ui$", makefile, re.MULTILINE)
    compared = yaml.safe_load((HOME / "conf/compare.yaml").read_text(encoding="utf-8"))
    assert views.UI == compared["ui"] == "http://127.0.0.1:5000"


# -- in a browser ------------------------------------------------------------------------------------------------------


@pytest.fixture
def address(server: tuple[str, "subprocess.Popen[bytes]"], tmp_path: Path) -> str:
    """Serve a store with one study's run, and return where its experiment is shown."""
    tracker = begun(connect(server[0], tmp_path), tmp_path, "speech", study="cells")
    tracker.log_params({"model": "gru", "data": "speech", "model.recurrence.hidden_size": 9})
    tracker.log_metrics({"best/accuracy": 0.25, "test/accuracy": 0.75}, 0)
    tracker.show("accuracy", "max")
    tracker.finish("FINISHED")
    assert tracker.link.startswith(f"{server[0]}/#/experiments/")
    return tracker.link


@pytest.mark.slow
def test_the_ui_opens_the_view_that_the_link_names(address: str) -> None:
    """MLflow says nowhere what a view holds: where another version reads it otherwise, this fails."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser, args=FLAGS).new_page(viewport={"width": 2200, "height": 900})
        page.goto(address, timeout=60_000)
        page.locator(".ag-header-cell", has_text="best/accuracy").wait_for(timeout=60_000)
        heads = [text.strip() for text in page.locator(".ag-header-cell").all_inner_texts()]
        assert [head for head in heads if "accuracy" in head] == ["best/accuracy", "test/accuracy"]
        assert {"model", "model.recurrence.hidden_size", "study"} <= set(heads)
        assert page.get_by_test_id("saved-views-trigger").inner_text().strip() == VIEWS["runs"]
        assert page.locator(".ag-row", has_text="0.75").count() == 1
