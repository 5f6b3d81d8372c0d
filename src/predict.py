"""Predict from raw input with a run's model: labels with probabilities, as a table, CSV or JSON.

python src/predict.py run=RUN_ID input=FILE
python src/predict.py run=RUN_ID input=[FILE,FILE] format=json
python src/predict.py run=RUN_ID input=FOLDER format=csv output=predictions.csv
python src/predict.py run=RUN_ID input=FILE explain=FOLDER
"""

from rnnlab.console import start

if __name__ == "__main__":
    start("predict")
