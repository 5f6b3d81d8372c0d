"""Predict from raw input with a run's model: labels with probabilities, as a table, CSV or JSON.

python src/predict.py run=RUN_ID input=FILE
python src/predict.py run=RUN_ID input=[FILE,FILE] format=json
python src/predict.py run=RUN_ID input=FOLDER format=csv output=predictions.csv
python src/predict.py run=RUN_ID input=FILE explain=FOLDER
"""

from rnnlab.cli import main


def run(config: dict[str, object]) -> None:
    """Predict what the configuration says."""
    from rnnlab.commands.predict import predict

    predict(config)


if __name__ == "__main__":
    main("predict", run)
