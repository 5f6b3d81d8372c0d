"""Measure a run's chosen checkpoint: on its test split, or on other labelled data.

python src/score.py run=RUN_ID
python src/score.py run=RUN_ID data.source=PATH
python src/score.py run=RUN_ID data.source=sample output=predictions.csv
"""

from rnnlab.cli import main
from rnnlab.settings import Composed


def run(composed: Composed) -> None:
    """Run the command; its modules are imported once the words have been checked."""
    from rnnlab.commands.score import ScoreSettings, score

    score(composed.typed(ScoreSettings))


if __name__ == "__main__":
    main("score", run)
