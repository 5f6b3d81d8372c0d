"""Fetch and prepare a data set ahead of training (what the DVC stages run; `train.py` does the same when it must).

python src/prepare.py data=speech
python src/prepare.py data=speech data.source=PATH
python src/prepare.py data=fsdd stage=fetch
python src/prepare.py data=speech data.prepare.num_mels=64
"""

from rnnlab.console import start

if __name__ == "__main__":
    start("prepare")
