"""Make what the jobs of a study left for later: figures, lists of errors, and the model in MLflow's own format.

python src/complete.py run=RUN_ID
python src/complete.py parent=RUN_ID
"""

from rnnlab.console import start

if __name__ == "__main__":
    start("complete")
