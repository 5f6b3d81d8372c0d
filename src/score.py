"""Measure a run's chosen checkpoint: on its test split, or on other labelled data.

python src/score.py run=RUN_ID
python src/score.py run=RUN_ID data.source=PATH
python src/score.py run=RUN_ID data.source=sample output=predictions.csv
"""

from rnnlab.console import start

if __name__ == "__main__":
    start("score")
