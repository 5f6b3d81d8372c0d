"""Say where the MLflow UI shows each experiment, and serve it (`make ui`)."""

import os
import socket
import sys
from pathlib import Path

from rnnlab.paths import as_here, root
from rnnlab.tracking.address import default_uri
from rnnlab.tracking.store import connect, shown_experiments
from rnnlab.tracking.views import UI, link

NUM_SHOWN = 20
NUM_PORTS = 20


def main(address: str = UI) -> None:
    """Print the address of every experiment that has runs."""
    shown = shown_experiments(connect(None, root()))
    width = max(map(len, shown.values()), default=0)
    for experiment, name in list(shown.items())[:NUM_SHOWN]:
        print(f"  {name:{width}}  {link(address, experiment)}")
    if len(shown) > NUM_SHOWN:
        print(f"  and {len(shown) - NUM_SHOWN} more")
    if not shown:
        print(as_here(f"  no runs yet: python src/train.py model=gru data=speech, and then {address}"))


def free_port(first: int) -> int:
    """Return the first port from `first` on at which nobody listens.

    Raises:
        OSError: where twenty are taken.
    """
    for port in range(first, first + NUM_PORTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"ports {first} to {first + NUM_PORTS - 1} are all in use")


def serve() -> None:
    """Say where each experiment is shown, and become MLflow's server: on port 5000, or the next that is free."""
    host, _, usual = UI.rpartition(":")
    port = free_port(int(usual))
    if port != int(usual):
        print(f"port {usual} is in use: port {port} is taken, and links that runs printed lead there with that number")
    try:
        main(f"{host}:{port}")
    except ValueError as error:
        sys.exit(f"error: {error}")
    sys.stdout.flush()
    command = [str(Path(sys.executable).with_name("mlflow")), "ui", "--backend-store-uri", default_uri(root())]
    os.execv(command[0], [*command, "--host", host.partition("//")[2], "--port", str(port)])


if __name__ == "__main__":
    serve()
