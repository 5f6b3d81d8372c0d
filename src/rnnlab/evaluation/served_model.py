"""The model in MLflow's own format: code that loads the bundle beside it (`mlflow models serve`, `mlflow.pyfunc.load_model`).

Input: a table with one of the columns that the bundle's reader names: `path` or `audio` (the bytes of sound files), `text`, `path` or
`csv` (the content of a table). Output: the bundle's prediction columns.
"""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd


class ServedModel(mlflow.pyfunc.PythonModel):
    """Predict from raw input."""

    def load_context(self, context: Any) -> None:
        """Load the bundle."""
        from rnnlab.evaluation.bundle import load_bundle

        self.bundle = load_bundle(Path(context.artifacts["bundle"]), is_checked=False)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Predict each row."""
        columns = self.bundle.reader.columns
        for column in columns:
            if column in model_input and model_input[column].notna().all():
                return self.bundle.predict(model_input[column].tolist())
        raise ValueError(f"wanted a column {' or '.join(columns)} without gaps; there are: {', '.join(map(str, model_input))}")


mlflow.models.set_model(ServedModel())
