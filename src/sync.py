"""Hand over what tracking did not take of a run, because its server was gone or the disk full.

python src/sync.py run=RUN_ID
python src/sync.py run=RUN_ID tracking.uri=http://HOST:PORT
"""

from rnnlab.cli import main
from rnnlab.settings import Composed


def run(composed: Composed) -> None:
    """Run the command; its modules are imported once the words have been checked."""
    from rnnlab.commands.sync import SyncSettings, sync

    sync(composed.typed(SyncSettings))


if __name__ == "__main__":
    main("sync", run)
