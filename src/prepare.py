"""Fetch and prepare a data set ahead of training (what the DVC stages run; `train.py` does the same when it must).

python src/prepare.py data=speech
python src/prepare.py data=speech data.source=PATH
python src/prepare.py data=fsdd stage=fetch
python src/prepare.py data=speech data.prepare.num_mels=64
"""

from rnnlab.cli import main
from rnnlab.settings import Composed


def run(composed: Composed) -> None:
    """Run the command; its modules are imported once the words have been checked."""
    from rnnlab.commands.prepare import PrepareSettings, prepare

    prepare(PrepareSettings.of(composed))


if __name__ == "__main__":
    main("prepare", run)
