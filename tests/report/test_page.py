"""The page is one file that asks nothing of the network, works in a browser on a screen and a phone, and runs nothing that data bring."""

import base64
import gzip
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from plotly.offline import get_plotlyjs
from tests.report.example import HOSTILE, comparison

from rnnlab.report.comparison import Comparison
from rnnlab.report.page import as_json, content_hash, draw, render, write_page
from rnnlab.report.page_tables import PageTable, TableCell, groups_table, metrics_table, runs_table, signs, verdicts_table, web

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


class Elements(HTMLParser):
    """Collect elements, attributes and the text of scripts as a browser would read them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.scripts += [""] if tag == "script" else []

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "script" and not self.scripts[-1]:
            self.scripts[-1] = data


@pytest.fixture(scope="module")
def hostile() -> str:
    return render(comparison(True))


@pytest.fixture(scope="module")
def plain() -> str:
    return render(comparison(False))


def test_data_make_no_element_and_no_attribute(hostile: str, plain: str) -> None:
    tags = [[tag for tag, _ in Elements(text).found] for text in (hostile, plain)]
    assert tags[0].count("script") == 3
    links = [tag == "a" for tag in tags[0]], [tag == "a" for tag in tags[1]]
    assert sum(links[1]) - sum(links[0]) == 6  # the runs of srnn, whose address is none of the web
    assert [tag for tag in tags[0] if tag != "a"] == [tag for tag in tags[1] if tag != "a"]
    assert not [name for _, attributes in Elements(hostile).found for name in attributes if name.startswith("on")]


def test_nothing_points_outside_but_links(hostile: str) -> None:
    for tag, attributes in Elements(hostile).found:
        if tag in ("a", "link"):
            assert re.match("https?://127.0.0.1|#|data:,", attributes["href"] or ""), attributes
        else:
            assert not {"src", "srcset", "href", "action", "data", "poster"} & {*attributes}, tag
    assert "url(" not in hostile.partition("</style>")[0]
    assert "@import" not in hostile


def test_only_the_two_known_scripts_may_run(hostile: str) -> None:
    found = Elements(hostile)
    policy = next(attributes["content"] for tag, attributes in found.found if attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].split() == [f"'{content_hash(script)}'" for script in (found.scripts[2], get_plotlyjs())]
    assert "connect-src" not in rules
    assert rules["img-src"] == "data: blob:"


def test_the_library_is_packed_as_it_is_and_the_same_in_every_report(hostile: str, plain: str) -> None:
    packed = Elements(hostile).scripts[1]
    assert packed == Elements(plain).scripts[1]
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()


def test_the_same_comparison_gives_the_same_page(hostile: str) -> None:
    assert render(comparison(True)) == hostile


def test_figures_cannot_end_their_element() -> None:
    text = as_json({key: figure for key, (_, figure) in draw(comparison(True)).items()})
    assert not set("<>&") & set(text)
    assert "\\u0026lt;script\\u0026gt;" in text


def test_the_page_says_what_a_reader_must_know(plain: str) -> None:
    for part in (
        "Every network is better than the linear method.",
        "One run of srnn failed",
        "source hash",
        "src/compare.py",
        "Holm",
        "noscript",
    ):
        assert part in plain
    assert plain.index("Every network is better") < plain.index("One run of srnn failed") < plain.index('id="groups"')


def test_an_empty_comparison_is_a_page_without_empty_parts(tmp_path: Path) -> None:
    found = comparison(False)
    groups = [replace(found.groups[0], runs=[replace(found.groups[0].runs[0], metrics={}, curves={}, rights={}, url="", name="")])]
    bare = replace(found.summaries["gru"], validation=None, std=None, low=None, high=None, num_parameters=None, seconds=None)
    nothing = Comparison("s", "d", found.metric, groups, {"gru": bare}, [], [], [], [], {})
    write_page(nothing, tmp_path / "new" / "report.html")
    text = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert re.findall("<h2[^>]*>(.*)</h2>", text) == ["Results", "All runs", "How it was made"]
    assert "1 group, 1 run." in text
    assert "<figure" not in text


def column(table: PageTable, heading: str) -> list[tuple[str, float | str | None]]:
    place = [found.text for found in table.headings].index(heading)
    return [(cells[place].text, cells[place].key) for cells in table.rows]


def test_cells_are_sorted_by_numbers_not_by_how_they_are_written() -> None:
    found = comparison(False)
    assert column(groups_table(found), "parameters")[0] == ("38,282", 38_282)
    assert column(groups_table(found), "test (%)")[0] == ("94.33 ± 0.41", 0.9433)
    assert column(verdicts_table(found), "p")[1] == ("< 0.001", 0.0007)
    assert column(runs_table(found), "time")[0][1] == found.groups[0].runs[0].metrics["time/fit_seconds"]


def test_what_is_no_number_has_no_key() -> None:
    assert [TableCell("-", key).sort_key for key in (None, float("nan"), 0.0, "x")] == ["", "", "0.0", "x"]


def test_a_pair_that_could_not_be_tested_is_not_said_to_be_equal() -> None:
    found = comparison(False)
    untested = replace(found.verdicts[0], gain=float("nan"), low=None, high=None, p=None, p_corrected=None, effect_size=None)
    table = verdicts_table(replace(found, verdicts=[untested]))
    assert [cell.text for cell in table.rows[0]][1:] == ["-", "-", "-", "-", "-", "3 of 9 needed", "not tested"]


def test_small_intervals_share_one_scale() -> None:
    bars = [cells[4].bar for cells in groups_table(comparison(False)).rows]
    lows, highs = [bar.low for bar in bars if bar], [bar.high for bar in bars if bar]
    assert (min(lows), max(highs)) == (6, 98)
    assert lows == sorted(lows, reverse=True)


def test_bounds_and_counts_are_no_metrics_of_their_own() -> None:
    table = metrics_table(comparison(False))
    assert table is not None
    assert [heading.text for heading in table.headings] == ["group", "accuracy", "f1_macro"]


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//x.y/z", "x", ""])
def test_only_addresses_of_the_web_become_links(url: str) -> None:
    assert web(url) == ""
    assert web("http://127.0.0.1:5000/#/a") == "http://127.0.0.1:5000/#/a"


def test_minus_and_times_are_set_as_such() -> None:
    assert signs("[-1.0, +2.0]") == "[\N{MINUS SIGN}1.0, +2.0]"
    assert (signs("3 x 2"), signs("-"), signs("a-1")) == ("3 \N{MULTIPLICATION SIGN} 2", "-", "a-1")


@dataclass
class Visit:
    """Hold an open page and what went wrong on it."""

    page: Page
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def draw(self, key: str) -> None:
        canvas = self.page.locator(f"#{key} .canvas")
        canvas.scroll_into_view_if_needed()
        canvas.locator(".main-svg").first.wait_for(state="attached")

    def draw_all(self) -> None:
        for figure in self.page.locator("figure").all():
            self.draw(str(figure.get_attribute("id")))

    def cells(self, table: str, number: int) -> list[str]:
        return [text.strip() for text in self.page.locator(f"#{table} tbody tr > :nth-child({number})").all_inner_texts()]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


def opened(browser: Browser, file: Path, width: int) -> Visit:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="light")
    page.set_default_timeout(120_000)  # a machine may be busy
    visit = Visit(page)
    page.on("request", lambda request: visit.requests.append(request.url))
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.on("console", lambda message: visit.errors.append(message.text))
    page.on("dialog", lambda dialog: (visit.errors.append("dialog"), dialog.dismiss()))
    page.goto(file.as_uri())
    return visit


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    write_page(comparison(True), file)
    return file


@pytest.fixture(scope="module", params=[1200, 390])
def visit(request: pytest.FixtureRequest, browser: Browser, file: Path) -> Iterator[Visit]:
    visit = opened(browser, file, request.param)
    visit.draw_all()
    yield visit
    visit.page.close()


def test_all_is_drawn_without_an_error_a_request_or_a_dialog(visit: Visit, file: Path) -> None:
    assert visit.page.locator(".canvas .main-svg").count() >= len(draw(comparison(True)))
    assert (visit.errors, visit.requests) == ([], [file.as_uri()])


def test_the_page_never_scrolls_sideways(visit: Visit) -> None:
    width = visit.page.viewport_size["width"]
    assert visit.page.evaluate("document.documentElement.scrollWidth") == width
    reaching = "filter(found => !found.closest('.scroll, .canvas, pre') && found.getBoundingClientRect().right > innerWidth)"
    assert visit.page.evaluate(f"[...document.querySelectorAll('main *')].{reaching}.map(found => found.outerHTML)") == []


def test_hostile_text_stays_text(visit: Visit) -> None:
    assert visit.page.locator("script").count() == 2  # the library is gone once it is loaded
    assert HOSTILE in visit.cells("groups", 1)[1]
    assert visit.page.locator(f"text={HOSTILE}").count() > 5


def test_a_click_sorts_numbers_as_numbers_either_way(visit: Visit) -> None:
    heading = visit.page.locator("#groups thead th", has_text="parameters")
    heading.get_by_role("button").click()
    assert (visit.cells("groups", 6), heading.get_attribute("aria-sort")) == (["3,210", "12,938", "38,282", "50,954"], "ascending")
    heading.get_by_role("button").click()
    assert (visit.cells("groups", 6), heading.get_attribute("aria-sort")) == (["50,954", "38,282", "12,938", "3,210"], "descending")
    assert visit.page.locator("#groups th[aria-sort=descending]").count() == 1


def test_the_keyboard_sorts_too(visit: Visit) -> None:
    heading = visit.page.locator("#runs thead th").first
    heading.get_by_role("button").focus()
    visit.page.keyboard.press("Enter")
    names = visit.cells("runs", 1)
    assert names == sorted(names)
    visit.page.keyboard.press("Space")
    assert visit.cells("runs", 1) == sorted(names, reverse=True)


def test_runs_lead_to_mlflow(visit: Visit) -> None:
    links = visit.page.locator("#runs tbody a")
    assert links.count() == 18  # the runs of srnn have no address of the web
    assert links.first.get_attribute("href", timeout=1000).startswith("http://127.0.0.1:5000/#/experiments/1/runs/")
    assert visit.page.get_by_text("All runs in MLflow").get_attribute("href") == comparison().parent_url


def test_a_plot_tells_what_is_under_the_pointer(visit: Visit) -> None:
    canvas = visit.page.locator("#differences .canvas")
    canvas.scroll_into_view_if_needed()
    canvas.locator(".scatterlayer .trace .point").first.hover(force=True)
    label = canvas.locator(".hoverlayer .hovertext")
    label.wait_for()
    text = label.text_content() or ""
    assert "gru against srnn" in text
    assert "+8.11 points" in text


def test_no_button_sends_a_plot_anywhere(visit: Visit) -> None:
    buttons = visit.page.locator(".modebar-btn")
    assert buttons.count() > 0
    titles = {button.get_attribute("data-title") for button in buttons.all()}
    assert titles == {"Download plot as a PNG", "Zoom", "Pan", "Reset axes"}


def test_a_plot_can_be_saved_as_a_picture(visit: Visit) -> None:
    canvas = visit.page.locator("#differences .canvas")
    canvas.hover()
    with visit.page.expect_download() as download:
        canvas.locator(".modebar-btn").first.click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


def test_a_switch_shows_the_loss(visit: Visit) -> None:
    loss = visit.page.locator("#curves .switch button", has_text="validation loss")
    title = visit.page.locator("#curves .ytitle")
    assert (title.text_content(), loss.get_attribute("aria-pressed")) == ("validation accuracy (%)", "false")
    loss.click()
    title.filter(has_text="validation loss").wait_for()
    assert loss.get_attribute("aria-pressed") == "true"


def colours(visit: Visit) -> tuple[str, str]:
    page = "getComputedStyle(document.body).backgroundColor"
    plot = "getComputedStyle(document.querySelector('#differences .xtitle')).fill"
    return tuple(visit.page.evaluate(f"[{page}, {plot}]"))


def test_the_theme_follows_the_system_and_the_button(visit: Visit) -> None:
    light, dark = ("rgb(253, 253, 252)", "rgb(29, 32, 36)"), ("rgb(21, 24, 27)", "rgb(227, 229, 232)")
    assert colours(visit) == light
    visit.page.emulate_media(color_scheme="dark")
    visit.page.locator("#theme[aria-pressed=true]").wait_for()
    assert colours(visit) == dark
    visit.page.emulate_media(media="print")
    assert colours(visit)[0] == light[0]
    visit.page.emulate_media(media="screen")
    visit.page.locator("#theme").click()
    assert colours(visit) == light
    visit.page.emulate_media(color_scheme="light")
    visit.page.locator("#theme").click()
    assert colours(visit) == dark


def test_nothing_went_wrong_meanwhile(visit: Visit, file: Path) -> None:
    outside = [url for url in visit.requests if not url.startswith("blob:")]  # the saved picture
    assert (visit.errors, outside) == ([], [file.as_uri()])


def test_without_scripts_every_number_is_there(browser: Browser, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator("#groups tbody tr").count() == 4
    assert page.get_by_text("94.33 ± 0.41").is_visible()
    assert "<noscript><p" in page.content()
    context.close()
