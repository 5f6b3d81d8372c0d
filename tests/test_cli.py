"""The user's commands as the user types them: help, wrong words, and what comes out of a run."""

import io
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from rich.console import Console
from tests.lanes import some

from rnnlab.cli import compose_config, main, options_first, quoted, refuse_several, say_warning
from rnnlab.commands import train as run
from rnnlab.config import ConfigError, Failed
from rnnlab.help_page import help_page, is_asking_for_help
from rnnlab.paths import CONF, as_typed, in_markup, printable
from rnnlab.settings import Composed, TrainSettings
from rnnlab.training.recipes import check, say_recipe

Command = Callable[..., "CompletedProcess[str]"]
SMOKE = "src/train.py trainer=smoke data.source=sample tracking.log_model=false"


@pytest.mark.parametrize("script", some(["train", "prepare", "score", "compare", "reproduce", "predict"], ["train"]))
def test_help_shows_usage_and_examples_without_loading_anything_heavy(script: str, command: Command) -> None:
    done = command(f"src/{script}.py --help")
    assert done.returncode == 0
    assert f"python src/{script}.py" in done.stdout
    if script == "train":
        assert "model: baseline, birnn, gru, lstm, seq2seq, srnn" in done.stdout
        assert sum(line.startswith("  python src/train.py") for line in done.stdout.splitlines()) >= 5


COMMANDS = ["train", "prepare", "score", "compare", "reproduce", "predict", "generate", "clean", "complete", "sync"]


@pytest.mark.parametrize("script", some(COMMANDS, ["train"]))
def test_our_page_of_help_is_what_hydra_prints(script: str, command: Command) -> None:
    hydras = command(f"src/{script}.py --help hydra.verbose=false").stdout  # a word of Hydra's own: it prints the page itself
    assert hydras == command(f"src/{script}.py --help").stdout == f"{help_page('config' if script == 'train' else script)}\n"


def test_help_is_not_given_for_wrong_words_and_left_to_hydra_with_options_of_its_own(command: Command) -> None:
    assert "Did you mean 'model'?" in command("src/train.py --help modle=gru").stderr
    assert all(is_asking_for_help(words.split()) for words in ("--help", "-h", "model=gru -h"))
    assert not any(is_asking_for_help(words.split()) for words in ("", "--hydra-help", "--help --cfg job", "--help hydra/help=train"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("model=gruu", r"model=gruu: there is no such choice. Did you mean 'gru'\? Choices: baseline, birnn, gru, lstm, seq2seq, srnn"),
        ("modle=gru", r"'modle' is not a key or group. Did you mean 'model'\?"),
        ("data.sorce=x", r"'data.sorce' is not a key or group. Did you mean 'data.source'\?"),
        ("tuned=none", r"tuned=none: there is no such choice. Did you mean 'null'\?"),
        ("tuned=birnn_txt", r"tuned=birnn_txt: there is no such choice. Did you mean 'birnn_text'\?"),
        ("model=GRU", r"model=GRU: there is no such choice. Did you mean 'gru'\?"),
        ("trainer.gpus=1", r"Did you mean 'trainer.devices'\?"),
        ("data=series data.window=10", r"Did you mean 'data.window_steps'\?"),
        ("hidden_size=3", r"Did you mean 'model.recurrence.hidden_size'\?"),
        ("model.recurence.hidden_size=3", r"Did you mean 'model.recurrence.hidden_size'\?"),
        ("model=gru,lsmt", r"model=lsmt: there is no such choice. Did you mean 'lstm'\?"),
        ("model=[gru", r"Write KEY=VALUE or GROUP=CHOICE"),
        ("model.frontend.channels=[2]", r"'model.frontend.channels' is not a key or group. Did you mean 'frontend.channels'\?"),
        ("model=baseline baseline.kindd=har", r"'baseline.kindd' is not a key or group. Did you mean 'baseline.kind'\?"),
        ("frontend=conv", r"frontend=conv: there is no such choice.* Choices: convolution, direct, embedding"),
    ],
)
def test_a_misspelt_word_is_refused_with_the_nearest_valid_one(words: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_config("config", words.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "model=gru cell=lstm",
            r"^model=gru does not take cell=lstm, but: gru, mingru. For both directions of any cell: model=birnn",
        ),
        ("model.recurrence.hidden_size=-3", r"^model.recurrence.hidden_size=-3 is not allowed: it should be greater than"),
        ("model.recurrence.hidden_size=many", r"^model.recurrence.hidden_size=many is not allowed: it should be a valid integer"),
        ("model.head.pooling=maen", r"^model.head.pooling=maen is not allowed. Did you mean 'mean'\? Allowed: last, mean,"),
        ("optimizer.lr=-1", r"^optimizer.lr=-1 is not allowed: it should be greater than 0"),
        ("+model.recurrence.layers=3", r"^model.recurrence.layers is not a key. .*Keys there: hidden_size"),
        ("frontend.channels=[2,0,2]", r"^frontend.channels.1=0 is not allowed: it should be greater than or equal to 1"),
        ("frontend=embedding", r"^frontend=embedding takes tokens, but data=speech gives features: choose another frontend"),
        ("model=baseline baseline.kind=har", r"^baseline.kind=har is not for data=speech. Allowed: auto, mean, logistic, pooled"),
        ("model/head=quantile", r"^data=speech has classes, of which there are no quantiles: choose model/head=default"),
        ("data.prepare.features=mfc", r"^data.prepare.features=mfc is not allowed. Did you mean 'mfcc'\?"),
        ("data.prepare.features=mfcc", r"works along the mel axis .* use data.prepare.features=logmel"),
        ("tracking.uri=http://127.0.0.1:1", r"^tracking at http://127.0.0.1:1 does not answer .*start it, or give another"),
        ("tracking.uri=mlruns", r"^tracking.uri=mlruns is neither sqlite:///FILE nor http://HOST:PORT"),
        ("trainer.num_threads=0", r"^trainer.num_threads=0 is not allowed: a whole number from 1"),
        (
            "callbacks.checkpoint.monitor=val/acuracy callbacks.checkpoint.mode=max",
            r"^callbacks.checkpoint.monitor=val/acuracy is never logged. Did you mean 'val/accuracy'\? Logged: val/loss",
        ),
        ("seed=-1", r"^seed=-1 is not allowed"),
        ("name=../x", r"^name='../x': a run's name holds letters"),
        ("resume=nosuchrun data.source=x", r"^resume=nosuchrun takes that run's recorded configuration: leave out data.source=x"),
        ("resume=nosuchrun", r"^run=nosuchrun: there is no such run in sqlite:///"),
        ("data.source=/no/such/folder", r"^data.source=/no/such/folder: no such folder or file, nor a named source"),
    ],
)
def test_a_wrong_value_is_refused_and_what_is_allowed_is_said(words: str, message: str, compose: Callable[..., TrainSettings]) -> None:
    with pytest.raises(ValueError, match=message):
        run.train(compose(*on_the_sample(words)))


def on_the_sample(words: str) -> list[str]:
    is_whole = "data.source" in words or "resume" in words
    return words.split() if is_whole else [*words.split(), "data.source=sample", "trainer=smoke"]


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        ("model=gruu", r"^error: model=gruu: there is no such choice", 2),
        ("optimizer.lr=-1", r"^error: optimizer.lr=-1 is not allowed: it should be greater than 0", 2),
        ("model=gru cell=lstm", r"^error: model=gru does not take cell=lstm", 2),
        ("resume=nosuchrun", r"^error: run=nosuchrun: there is no such run in sqlite:///", 2),
    ],
)
def test_a_mistake_costs_one_line_and_no_traceback(
    words: str, message: str, code: int, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RNNLAB_ROOT", str(root))
    monkeypatch.delenv("HYDRA_FULL_ERROR")
    monkeypatch.setattr("sys.argv", ["train.py", *on_the_sample(words)])
    with pytest.raises(SystemExit) as stopped:
        main("config", lambda composed: run.train(TrainSettings.of(composed)))
    assert stopped.value.code == code
    shown = capsys.readouterr().err
    assert re.search(message, shown, re.MULTILINE), shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("group", ["frontend", "model/head"])
def test_every_file_of_a_group_composes(group: str) -> None:
    """Compose the groups that test_config, which composes every file of the others, leaves out."""
    for file in (CONF / group).glob("*.yaml"):
        assert compose_config("config", [f"{group}={file.stem}"])


@pytest.mark.slow
def test_a_sweep_over_all_models_trains_scores_and_predicts_as_typed(command: Command, root: Path) -> None:
    small = "trainer=smoke data.source=sample data.loader.batch_size=16"
    done = command(f"src/train.py -m model=srnn,lstm,gru,birnn data=speech {small} study.artifacts=full")
    assert done.returncode == 0, done.stderr
    runs = re.findall(r"  run ([0-9a-f]{32})$", done.stderr, re.MULTILINE)
    assert len(runs) == 4

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    found = [client.get_run(run_id) for run_id in runs]
    assert {run.data.params["model"] for run in found} == {"srnn", "lstm", "gru", "birnn"}
    assert {run.info.status for run in found} == {"FINISHED"}
    assert all("test/accuracy" in run.data.metrics and "best/accuracy" in run.data.metrics for run in found)

    scored = command(f"src/score.py run={runs[2]} data.source=sample output={root}/scored.csv")
    assert scored.returncode == 0, scored.stderr
    assert "all 600 examples of sample" in scored.stdout

    recording = Path(CONF).parent / "data/samples/speech/recordings/7/7_f2_gb_1.flac"
    predicted = command(f"src/predict.py run={runs[2]} input={recording} format=json explain={root}/why")
    assert predicted.returncode == 0, predicted.stderr
    assert "written: pictures of 1 answer and shares.csv in" in predicted.stderr
    assert {file.name for file in (root / "why").iterdir()} == {"001.png", "shares.csv"}
    (row,) = json.loads(predicted.stdout)
    scores = [value for name, value in row.items() if name.startswith("score/")]
    assert abs(sum(scores) - 1) < 1e-5
    assert row["confidence"] == max(scores)

    write_client(root)
    served = command(f"{root}/serve.py {runs[2]} {recording}")
    assert served.returncode == 0, served.stderr
    assert json.loads(served.stdout)[0]["prediction"] == row["prediction"]


def write_client(root: Path) -> None:
    """Write a script that knows MLflow and not this repository: it loads the logged model in a process of its own."""
    (root / "serve.py").write_text(
        "import os, sys\n"
        "sys.path = [p for p in sys.path if not p.endswith('/src')]\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        "import mlflow, pandas as pd\n"
        f"mlflow.set_tracking_uri('sqlite:///{root}/mlflow.db')\n"
        "client = mlflow.MlflowClient()\n"
        "run = client.get_run(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model(f'runs:/{sys.argv[1]}/model')\n"
        "import rnnlab\n"
        "assert '/model/code/' in rnnlab.__file__, rnnlab.__file__\n"
        "by_bytes = model.predict(pd.DataFrame({'audio': [open(sys.argv[2], 'rb').read()]}))\n"
        "print(by_bytes.to_json(orient='records'))\n",
        encoding="utf-8",
    )


@pytest.mark.slow
def test_a_folder_of_ones_own_recordings_trains_with_nothing_but_its_path(command: Command, tmp_path: Path) -> None:
    sample = CONF.parent / "data/samples/speech/recordings"
    for label in ("3", "7"):
        folder = tmp_path / "mine" / {"3": "three", "7": "seven"}[label]
        folder.mkdir(parents=True)
        for file in sorted((sample / label).glob("*.flac"))[:20]:
            (folder / file.name).write_bytes(file.read_bytes())
    done = command(f"src/train.py data.source={tmp_path}/mine trainer.max_epochs=2 tracking.log_model=false")
    assert done.returncode == 0, done.stderr
    assert "2: seven (20), three (20)" in done.stderr
    assert "at random within each label" in done.stderr


@pytest.mark.slow
def test_where_the_real_set_cannot_be_had_the_sample_is_used_and_said_loudly(command: Command, tmp_path: Path) -> None:
    done = command(f"{SMOKE.replace('data.source=sample', '')} data.offline=true paths.data={tmp_path}/data")
    assert done.returncode == 0, done.stderr
    assert "USING THE BUNDLED SAMPLE INSTEAD" in done.stderr
    run_id = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("run "))
    scored = command(f"src/score.py run={run_id} paths.data={tmp_path}/data")
    assert scored.returncode == 0, "the run remembers what it was really trained on\n" + scored.stderr
    prepared = command(f"src/prepare.py data=speech data.offline=true paths.data={tmp_path}/other")
    assert prepared.returncode == 2
    assert "error: fsdd cannot be had" in prepared.stderr


@pytest.mark.parametrize(
    "text",
    [
        "don't",
        "what (now)?",
        "hello, world",
        "straße",
        "你好 世界",
        "a\\'b",
        "ends\\",
        "5",
        "null",
        '"',
        "a=b",
        "[x",
        "cost $5",
        "to ${seed}",
        '"Great" is not what I would call "this film"',
        "'tis a nice day, isn't it'",
        '"I was charged twice this month"',
        "a = b, c # d ${e} [f] {g} (h) \\ 50 %",
        'こんにちは "世界"',
    ],
)
def test_a_text_reaches_the_program_as_it_was_typed(text: str) -> None:
    assert compose_config("predict", [quoted(f"text={text}")]).values["text"] == text


@pytest.mark.parametrize("path", ["my files/größe.csv", "don't.wav", "a,b.txt", "plain/file-1.wav", "-"])
def test_a_path_may_hold_blanks_and_letters_of_any_language(path: str) -> None:
    assert compose_config("predict", [quoted(f"input={path}")]).values["input"] == path


def test_what_hydra_understands_is_left_to_it() -> None:
    for word in ("input=[a.wav,b.wav]", "model=gru,lstm", "seed=1", "--multirun", "filter='quoted'", 'data.source="quoted"'):
        assert quoted(word) == word
    for word in (
        "optimizer.lr=interval(0.1,0.2)",
        "+study.space={optimizer.lr:{low:1,high:2}}",
        "seed=range(0,5)",
        "+a={x:[1,2],y:'b'}",
        "+study.space={a.b:[3,5],c:{low:1,high:2,log:true}}",
    ):
        assert quoted(word) == word


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("data.target_column=收盘价", "收盘价"),
        ("data.target_column=Außentemperatur", "Außentemperatur"),
        ("data.target_column=price (USD)", "price (USD)"),
        ("data.target_column=#count", "#count"),
        ("data.target_column=2024", "2024"),
        ("data.covariates=[wind speed,c(d),7,größe]", ["wind speed", "c(d)", "7", "größe"]),
        ("data.covariates=['a, b',c]", ["a, b", "c"]),
        ("data.covariates=[]", []),
        ("data.series_column=null", None),
    ],
)
def test_names_are_taken_as_they_are_typed(word: str, value: object) -> None:
    key = word.partition("=")[0].removeprefix("data.")
    assert compose_config("config", ["data=series", quoted(word)]).values["data"][key] == value


def test_codes_keep_their_zeros() -> None:
    words = ["data=stock", quoted("data.tickers=[600519,000001,^GSPC]")]
    assert compose_config("config", words).values["data"]["tickers"] == ["600519", "000001", "^GSPC"]


def test_options_may_stand_anywhere() -> None:
    words = ["study=cells", "-m", "model=gru", "--cfg", "job", "seed=1"]
    assert options_first(words) == ["-m", "--cfg", "job", "study=cells", "model=gru", "seed=1"]


@pytest.mark.parametrize("words", ["model=gru,lstm", "model=gru seed=0,1"])
def test_several_values_ask_for_the_option_that_runs_them(words: str) -> None:
    with pytest.raises(ConfigError, match=r"(model=gru,lstm|seed=0,1) gives several values: add -m for one run with each"):
        refuse_several(words.split())
    refuse_several(["-m", *words.split()])
    refuse_several(["study=cells", *words.split()])


@pytest.mark.parametrize(("error", "code"), [(ConfigError, 2), (ValueError, 2), (Failed, 1)])
def test_the_exit_code_says_whether_anything_was_begun(
    error: type[ValueError], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(composed: Composed) -> None:
        raise error("why")

    monkeypatch.setattr("sys.argv", ["prepare.py"])
    monkeypatch.delenv("HYDRA_FULL_ERROR")
    with pytest.raises(SystemExit) as left:
        main("prepare", fail)
    assert left.value.code == code
    assert capsys.readouterr().err == "error: why\n"


SCHEDULED = {"cosine": 0.05, "onecycle": 0.15, "step": 0.05, "plateau": None}


@pytest.mark.parametrize("scheduler", SCHEDULED)
def test_a_recipes_warm_up_goes_with_the_schedule_that_it_was_found_with(scheduler: str) -> None:
    config = TrainSettings.of(compose_config("config", ["model=seq2seq", "data=pronunciation", f"scheduler={scheduler}"]))
    assert config.scheduler.values.get("warmup_fraction") == SCHEDULED[scheduler]
    check(config)


def test_a_recipes_key_that_does_not_fit_is_said_to_be_the_recipes_and_can_be_left_out() -> None:
    words = ["model=birnn", "data=imdb", "frontend=direct"]
    with pytest.raises(
        ConfigError, match=r"^frontend\.(\w+) is not a key of .*Direct.* recipe conf/tuned/birnn_imdb.yaml: ~frontend\.\1 leaves"
    ):
        check(TrainSettings.of(compose_config("config", words)))
    check(TrainSettings.of(compose_config("config", [*words, "tuned=null"])))
    with pytest.raises(ConfigError, match=r"Its keys: ((?!recipe).)*$"):
        check(TrainSettings.of(compose_config("config", ["+frontend.depth=3", "tuned=null"])))


@pytest.mark.parametrize("trainer", ["smoke", "demo"])
def test_no_recipe_overrules_a_trainer_that_was_asked_for(trainer: str) -> None:
    asked = compose_config("config", ["model=birnn", "data=imdb", f"trainer={trainer}"])
    assert asked.values["trainer"]["max_epochs"] == compose_config("config", [f"trainer={trainer}"]).values["trainer"]["max_epochs"]
    assert compose_config("config", ["model=birnn", "data=imdb"]).values["trainer"]["max_epochs"] == 2  # the recipe's
    assert compose_config("config", ["model=birnn", "data=imdb", "trainer.max_epochs=3"]).values["trainer"]["max_epochs"] == 3


@pytest.mark.parametrize(
    "words",
    [
        ["data.features=[log_volatility,return]", "seed=1"],
        ["data.source=my files/größe.csv"],
        ["data.source='my files/a.csv'"],
        ['text=he said "no" for $5 `now`', "a=it's"],
        ["a=back\\slash", "b=!x", ""],
    ],
)
def test_a_command_that_is_shown_can_be_pasted(words: list[str]) -> None:
    assert shlex.split(as_typed(words)) == words


def test_texts_of_files_do_nothing_on_a_screen() -> None:
    name = "x[/q]\x1b[31m\u202e[bold]ü\r.csv"
    assert printable(name) == "x[/q]\\x1b[31m\\u202e[bold]ü\\r.csv"
    shown = io.StringIO()
    Console(file=shown, width=200).print(f"[bold]source[/] {in_markup(name)}")
    assert shown.getvalue() == f"source {printable(name)}\n"


@pytest.mark.parametrize(
    ("words", "recipe"),
    [
        ("model=birnn data=text", "birnn_text"),
        ("model=birnn data=text data.source=imdb", "birnn_text"),
        ("model=birnn data=text data.source=sst2", "birnn_sst2"),
        ("model=birnn data=text data.source=sample", None),
        ("model=birnn data=text data.source=/tmp/reviews.csv", None),
        ("model=birnn data=text data.source=/tmp/reviews.csv tuned=birnn_imdb", "birnn_imdb"),
        ("model=gru data=text data.source=thucnews", "gru_thucnews"),
        ("model=birnn data=imdb data.source=mine.csv", None),
        ("model=lstm data=stock data.source=vix", None),
        ("model=baseline data=text data.source=/tmp/reviews.csv", "baseline_text"),  # what a bag of n-grams needs, found on no source
        ("model=gru data=adding", "gru_adding"),  # generated: there is no source
        ("model=birnn data=text tuned=null", None),
    ],
)
def test_a_recipe_applies_to_the_source_it_was_found_on(words: str, recipe: str | None) -> None:
    composed = compose_config("config", words.split())
    assert composed.choices.recipe == recipe
    if "data=text" in words and "birnn" in words:
        large = [100000, 50000] if recipe in ("birnn_text", "birnn_imdb") else [10000] if recipe else []
        assert composed.values["frontend"]["num_ngrams"] == large
    assert composed.words == tuple("~tuned" if word == "tuned=null" else word for word in words.split())


def test_a_recipe_that_applies_is_printed_with_where_it_was_found_and_how_to_leave_it_out(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("model=birnn data=text", "model=birnn data=text data.source=sample"):
        say_recipe(TrainSettings.of(compose_config("config", words.split())))
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("recipe conf/tuned/birnn_text.yaml applies. data=text is IMDB by default. Found on IMDB's validation split")
    assert said.endswith("Leave it out: tuned=null") and said.count("recipe") == 1


def test_pairs_that_ctc_cannot_train_are_refused_before_there_are_data() -> None:
    words = ["model=gru", "data=translation", "data.source=/nowhere/at/all", "frontend=embedding"]
    with pytest.raises(ConfigError, match=r"^data=translation has targets that don't come in the order .* choose model=seq2seq$"):
        check(TrainSettings.of(compose_config("config", words)))
    check(TrainSettings.of(compose_config("config", ["model=seq2seq", *words[1:]])))
    check(TrainSettings.of(compose_config("config", ["model=birnn", "data=pronunciation"])))


def test_a_librarys_warning_is_a_line_without_a_path(capsys: pytest.CaptureFixture[str]) -> None:
    say_warning(UserWarning("the fit\n  stopped early"), UserWarning, "/site-packages/sklearn/linear_model/_logistic.py", 460)
    assert capsys.readouterr().err == "warning: the fit stopped early\n"
