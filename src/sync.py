"""Hand over what tracking did not take of a run, because its server was gone or the disk full.

python src/sync.py run=RUN_ID
python src/sync.py run=RUN_ID tracking.uri=http://HOST:PORT
"""

from rnnlab.console import start

if __name__ == "__main__":
    start("sync")
