"""Load a model that MLflow logged, and print its answer to its own example as JSON: python answer_example.py MODEL_FOLDER."""

import sys
from pathlib import Path

import mlflow

folder = Path(sys.argv[1]).resolve()
model = mlflow.pyfunc.load_model(str(folder))
answer = model.predict(model.input_example)

import rnnlab  # noqa: E402  # which the model brings

assert rnnlab.__file__ is not None and Path(rnnlab.__file__).is_relative_to(folder / "code"), rnnlab.__file__
print(answer.to_json(orient="records"))
