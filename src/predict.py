"""Predict from raw input with a run's model: labels with probabilities, as a table, CSV or JSON.

python src/predict.py run=RUN_ID input=FILE
python src/predict.py run=RUN_ID input=[FILE,FILE] format=json
python src/predict.py run=RUN_ID input=FOLDER format=csv output=predictions.csv
python src/predict.py run=RUN_ID input=FILE explain=FOLDER
"""

from rnnlab.cli import main
from rnnlab.settings import Composed


def run(composed: Composed) -> None:
    """Run the command; its modules are imported once the words have been checked."""
    from rnnlab.commands.predict import PredictSettings, predict

    predict(composed.typed(PredictSettings))


if __name__ == "__main__":
    main("predict", run)
