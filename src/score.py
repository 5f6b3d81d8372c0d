"""Measure a run's chosen checkpoint: on its test split, or on other labelled data.

python src/score.py run=RUN_ID
python src/score.py run=RUN_ID data.source=PATH
python src/score.py run=RUN_ID data.source=sample output=predictions.csv
"""

from rnnlab.cli import main


def run(config: dict[str, object]) -> None:
    """Measure what the configuration says."""
    from rnnlab.commands.predict import score

    score(config)


if __name__ == "__main__":
    main("score", run)
