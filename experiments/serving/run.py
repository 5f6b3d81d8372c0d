"""Time a served model under several clients: `mlflow models serve` on loopback, each client asking as soon as it has its answer.

    python experiments/serving/run.py
    python experiments/serving/run.py --requests 20 --clients 1,16

Trains a small network on each bundled sample that is listed, serves it, asks with the model's own example, and writes results.csv. Beside
it stands the time of the same answer without a server: in Python by the bundle, and of the network alone, as PyTorch and as ONNX.
"""

import argparse
import csv
import http.client
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
SMALL = "trainer=smoke data.source=sample tracking.tensorboard=false"
RUNS = {
    "speech": f"model=gru data=speech frontend=direct {SMALL}",
    "text": f"model=birnn data=text {SMALL}",
    "stock": f"model=lstm data=stock {SMALL}",
}
NUM_ALONE = 100
"""Answers that are timed without a server."""
COLUMNS = ("data", "what", "clients", "requests", "p50_ms", "p99_ms", "per_second")


def train(words: str, root: Path) -> str:
    """Train a run, and return its id."""
    command = [sys.executable, str(HOME / "src/train.py"), *words.split()]
    done = subprocess.run(command, env={**os.environ, "RNNLAB_ROOT": str(root)}, check=True, capture_output=True, text=True)
    return re.findall(r"^run ([0-9a-f]{32})$", done.stdout, re.MULTILINE)[-1]


@contextmanager
def served(run: str, root: Path) -> Iterator[int]:
    """Serve a run's model with the packages that are here, and return the port once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    address = {"MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | address
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"runs:/{run}/model", "--env-manager", "local"]
    words = ["-h", "127.0.0.1", "-p", str(port)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([*command, *words], env=settings, cwd=root, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        for _ in range(240):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.25)
        yield port
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def ask(port: int, content: bytes, times: list[float], num_requests: int) -> None:
    """Ask one request after another on one connection; append how long each took, in seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for _ in range(num_requests):
        begun = time.perf_counter()
        connection.request("POST", "/invocations", content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the server answered {answer.status}")
        times.append(time.perf_counter() - begun)
    connection.close()


def under(num_clients: int, port: int, content: bytes, num_requests: int) -> tuple[list[float], float]:
    """Let so many clients ask at once; return all times, and how long all took together."""
    times: list[float] = []
    threads = [threading.Thread(target=ask, args=(port, content, times, num_requests)) for _ in range(num_clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(times) != num_clients * num_requests:
        raise RuntimeError(f"only {len(times)} of {num_clients * num_requests} requests were answered")
    return times, time.perf_counter() - begun


def alone(call: Callable[[], object]) -> list[float]:
    """Return how long a call takes, warm, several times."""
    for _ in range(10):
        call()
    times = []
    for _ in range(NUM_ALONE):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return times


def without_server(run: str, root: Path) -> Iterator[tuple[str, list[float]]]:
    """Time the answer to the example in Python, and the network alone on the numbers that are read from it."""
    import onnxruntime
    import torch

    from rnnlab.evaluation.bundle import load_bundle
    from rnnlab.evaluation.export import export_parts
    from rnnlab.models.base import SequenceModule

    torch.set_num_threads(1)
    bundle = load_bundle(root / "outputs" / run / "artifacts" / "bundle")
    network, content = bundle.model, bundle.reader.made_up()
    assert isinstance(network, SequenceModule)
    _, batch = bundle.reader.read([content])
    (written,) = export_parts(network, bundle.reader, run, ["model"], "onnx", root / "exported")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(written.file), options)
    feed = {"inputs": batch.inputs.numpy(), "lengths": batch.input_lengths.numpy()}
    yield "in Python, from raw input", alone(lambda: bundle.predict([content]))
    with torch.inference_mode():
        yield "network in PyTorch", alone(lambda: network(batch.inputs, batch.input_lengths))
    yield "network in ONNX Runtime", alone(lambda: session.run(None, feed))


def row(data: str, what: str, num_clients: int, times: list[float], whole: float) -> dict[str, object]:
    """Return a line of the table."""
    p50, p99 = statistics.median(times), statistics.quantiles(times, n=100)[98]
    return dict(
        zip(
            COLUMNS, (data, what, num_clients, len(times), f"{1e3 * p50:.2f}", f"{1e3 * p99:.2f}", f"{len(times) / whole:.0f}"), strict=True
        )
    )


def measured(data: str, root: Path, num_requests: int, clients: list[int]) -> Iterator[dict[str, object]]:
    """Train, serve and time one kind of data."""
    run = train(RUNS[data], root)
    example = next((root / "mlartifacts" / data).rglob("serving_input_example.json")).read_bytes()
    with served(run, root) as port:
        ask(port, example, [], 10)
        for num_clients in clients:
            yield row(data, "served", num_clients, *under(num_clients, port, example, num_requests))
    for what, times in without_server(run, root):
        yield row(data, what, 1, times, sum(times))


def table(rows: list[dict[str, object]]) -> str:
    """Write the README's table."""
    lines = ["| data | answered by | clients | median | 99th percentile | answers a second |", "|---|---|---|---|---|---|"]
    for each in rows:
        lines.append(
            f"| {each['data']} | {each['what']} | {each['clients']} | {each['p50_ms']} ms | {each['p99_ms']} ms | {each['per_second']} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Time all, and write results.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100, help="of each client")
    parser.add_argument("--clients", default="1,16", help="how many at once, one after another")
    arguments = parser.parse_args()
    clients = [int(number) for number in arguments.clients.split(",")]
    found: list[dict[str, object]] = []
    with (Path(__file__).parent / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for data in RUNS:
            with tempfile.TemporaryDirectory() as root:
                for line in measured(data, Path(root), arguments.requests, clients):
                    found.append(line)
                    writer.writerow(line)
                    file.flush()
                    print(json.dumps(line))
    print(table(found))


if __name__ == "__main__":
    main()
