"""A logged model serves elsewhere: it takes content, installs what its kind of data needs and no more, and answers over HTTP."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from tests.fresh_environment import lay_out, run_in

from rnnlab.commands import train as command
from rnnlab.config import recipe
from rnnlab.evaluation.bundle import Bundle, load_bundle
from rnnlab.evaluation.served_model import ServedModel
from rnnlab.paths import HOME
from rnnlab.tracking.store import connect

SMALL = ("trainer=smoke", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1", "trainer.limit_test_batches=1",
         "tracking.tensorboard=false", "trainer.num_threads=1")  # fmt: skip
SAMPLE = ("data.source=sample", *SMALL)
CASES = {
    "speech": ("model=gru", "data=speech", *SAMPLE),
    "dictation": ("model=birnn", "data=dictation", *SAMPLE),
    "text": ("model=birnn", "data=text", *SAMPLE),
    "subwords": ("model=gru", "data=text", "data.prepare.tokens=subword", "data.prepare.subword_size=200", *SAMPLE),
    "language": ("model=lstm", "data=language", *SAMPLE),
    "tags": ("model=birnn", "data=tags", *SAMPLE),
    "translation": ("model=seq2seq", "data=translation", "data.prepare.tokens=word", *SAMPLE),
    "pronunciation": ("model=gru", "data=pronunciation", *SAMPLE),
    "stock": ("model=lstm", "data=stock", *SAMPLE),
    "volatility": ("model=lstm", "data=stock", "data.target=volatility", *SAMPLE),
    "series": ("model=tcn", "data=series", *SAMPLE),
    "sequences": ("model=gru", "data=sequences", *SAMPLE),
    "events": ("model=gru", "data=events", *SAMPLE),
    "music": ("model=srnn", "data=music", *SAMPLE),
    "adding": ("model=gru", "data=adding", *SMALL),
    "nb_svm": ("model=baseline", "data=text", "baseline.kind=nb_svm", "data.source=sample"),
    "ridge": ("model=baseline", "data=stock", "baseline.kind=ridge", "data.source=sample"),
}
SOUND, TOKENS, FITTED = {"torchaudio", "soundfile"}, {"torchtext", "sentencepiece"}, {"scikit-learn", "statsmodels"}
OWN = {
    **{"speech": SOUND, "dictation": SOUND | TOKENS, "music": {"mido"}, "nb_svm": TOKENS | FITTED, "ridge": FITTED},
    **dict.fromkeys(("text", "subwords", "language", "tags", "pronunciation", "events"), TOKENS),
    "translation": TOKENS | {"sacremoses"},
}
"""What a kind of data installs beside what all do."""
Logged = Callable[[str], tuple[Path, Bundle]]


@pytest.fixture(scope="module")
def folders() -> dict[str, tuple[Path, Path]]:
    """Return of each case that was trained the folders of its model and its bundle."""
    return {}


@pytest.fixture
def logged(compose: Callable[..., Any], root: Path, folders: dict[str, tuple[Path, Path]]) -> Logged:
    """Train a case once; return the folder of its logged model, and its bundle."""

    def made(case: str) -> tuple[Path, Bundle]:
        if case not in folders:
            config = compose(*CASES[case])
            before = set(config.paths.outputs.glob("*"))
            command.train(config)
            (folder,) = set(config.paths.outputs.glob("*")) - before
            client = connect(None, root)
            (found,) = client.get_run(folder.name).outputs.model_outputs
            place = str(client.get_logged_model(found.model_id).artifact_location).removeprefix("file://")
            folders[case] = (Path(place), folder / "artifacts/bundle")
        return folders[case][0], load_bundle(folders[case][1])

    return made


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_fresh_environment_of_its_requirements_answers_its_example(case: str, logged: Logged, tmp_path: Path) -> None:
    folder, bundle = logged(case)
    requirements = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert not [line for line in requirements if "+" in line or "==" not in line]  # an index has no builds of one machine
    names = {line.partition("==")[0] for line in requirements}
    assert names & (SOUND | TOKENS | FITTED | {"mido", "sacremoses", "jiwer", "sacrebleu", "matplotlib", "hydra-core"}) == OWN.get(
        case, set()
    )

    site = lay_out(tmp_path / "site", requirements)
    done = run_in(site, HOME / "tests/evaluation/answer_example.py", str(folder))
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    wanted = json.loads(bundle.predict([bundle.reader.made_up()]).to_json(orient="records"))[0]
    assert row.keys() == wanted.keys()
    for name, value in wanted.items():
        assert row[name] == (pytest.approx(value, rel=1e-5, abs=1e-6) if isinstance(value, float) else value), name


# What is sent -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def serve(compose: Callable[..., Any]) -> Callable[[str], ServedModel]:
    """Serve a network that was not trained, of a kind of data."""

    def made(kind: str) -> ServedModel:
        config = compose("model=lstm", f"data={kind}", "data.source=sample")
        data = recipe(config.data.values, "data")(config.paths, 0)
        data.setup()
        served = ServedModel()
        served.bundle = Bundle(config.model.recipe()(data.make_spec()), data.reader(), "")
        return served

    return made


@pytest.mark.parametrize(
    ("kind", "table", "message"),
    [
        ("speech", {"path": ["/etc/passwd"]}, r"wanted a column audio without gaps; there are: path; a path is refused"),
        ("speech", {"audio": ["/etc/passwd"]}, r"the column audio takes the bytes of a sound file .*, and no path"),
        ("music", {"csv": ["/etc/passwd"]}, r"the column csv takes the content of a table, .* a path is refused"),
        ("text", {"text": ["a", None]}, r"wanted a column text without gaps"),
        ("text", {"words": ["a"]}, r"wanted a column text without gaps; there are: words$"),
        ("text", {"text": [3]}, r"an input is a text, not int"),
    ],
)
def test_what_is_no_content_is_refused(
    kind: str, table: dict[str, list[object]], message: str, serve: Callable[[str], ServedModel]
) -> None:
    with pytest.raises(MlflowException, match=message) as refused:
        serve(kind).predict(None, pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in table.items()}))
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


# Over HTTP ----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[[Path], str]]:
    """Start `mlflow models serve` on loopback, as a user does, with the packages that are here; return the address that answers."""
    started: list[subprocess.Popen[bytes]] = []

    def start(folder: Path) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder), "--env-manager", "local"]
        settings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        settings["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{settings['PATH']}"
        command += ["-h", "127.0.0.1", "-p", str(port)]
        with (tmp_path / "server.log").open("wb") as log:
            started.append(subprocess.Popen(command, env=settings, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True))
        for _ in range(480):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.25)
        return f"http://127.0.0.1:{port}/invocations"

    yield start
    for process in started:
        os.killpg(process.pid, 15)
        process.wait()


def ask(address: str, content: object) -> tuple[int, Any]:
    request = urllib.request.Request(address, json.dumps(content).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.slow
def test_a_server_answers_raw_texts_and_refuses_the_rest_with_a_reason(logged: Logged, serving: Callable[[Path], str]) -> None:
    folder, bundle = logged("text")
    address = serving(folder)
    texts = ["the cup is won by two goals", "shares of the bank fall"]
    status, found = ask(address, {"dataframe_split": {"columns": ["text"], "data": [[text] for text in texts]}})
    assert (status, [row["prediction"] for row in found["predictions"]]) == (200, bundle.predict(texts)["prediction"].tolist())
    for row, chance in zip(found["predictions"], bundle.predict(texts)["confidence"], strict=True):
        assert row["confidence"] == pytest.approx(chance, abs=1e-6)
    example = json.loads((folder / "serving_input_example.json").read_text(encoding="utf-8"))
    assert ask(address, example)[0] == 200

    status, refused = ask(address, {"dataframe_records": [{"path": "/etc/passwd"}]})
    assert status == 400 and "Model is missing inputs ['text']. Note that there were extra inputs: ['path']" in refused["message"]
    status, refused = ask(address, {"dataframe_records": [{"text": "  "}]})
    assert status == 400 and "the input is empty" in refused["message"]


@pytest.mark.slow
def test_a_server_answers_the_bytes_of_a_sound_file(logged: Logged, serving: Callable[[Path], str]) -> None:
    folder, bundle = logged("speech")
    content = (HOME / "data/samples/speech/recordings/7/7_f2_gb_1.flac").read_bytes()
    address = serving(folder)
    status, found = ask(address, {"dataframe_records": [{"audio": base64.b64encode(content).decode()}]})
    assert (status, found["predictions"][0]["prediction"]) == (200, bundle.predict([content])["prediction"].iloc[0])
    status, refused = ask(address, {"dataframe_records": [{"audio": base64.b64encode(b"no sound").decode()}]})
    assert status == 400 and "no audio that can be read" in refused["message"]


def test_a_served_model_is_the_bundle(compose: Callable[..., Any], root: Path) -> None:
    """As MLflow loads it, without a server: the answers are those of the bundle."""
    config = compose("model=baseline", "data=text", "baseline.kind=mean", "data.source=sample", "tracking.log_model=false")
    before = set(config.paths.outputs.glob("*"))
    command.train(config)
    (folder,) = set(config.paths.outputs.glob("*")) - before
    served = ServedModel()
    served.load_context(SimpleNamespace(artifacts={"bundle": str(folder / "artifacts/bundle")}))
    found = served.predict(None, pd.DataFrame({"text": ["a text"]}))
    assert found.equals(load_bundle(folder / "artifacts/bundle").predict(["a text"]))
