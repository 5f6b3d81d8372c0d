"""Fetch and prepare a data set ahead of training (what the DVC stages run; `train.py` does the same when it must).

python src/prepare.py data=speech
python src/prepare.py data=speech data.source=PATH
python src/prepare.py data=fsdd stage=fetch
python src/prepare.py data=speech data.prepare.num_mels=64
"""

from rnnlab.cli import main


def run(config: dict[str, object]) -> None:
    """Prepare what the configuration says."""
    from rnnlab.commands.train import prepare

    prepare(config)


if __name__ == "__main__":
    main("prepare", run)
