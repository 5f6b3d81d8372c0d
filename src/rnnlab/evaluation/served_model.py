"""The model in MLflow's own format: code that loads the bundle beside it (`mlflow models serve`, `mlflow.pyfunc.load_model`).

Input: a table with the column that the bundle's reader names: `audio` (the bytes of sound files, in JSON by base64), `text`, or `csv` (the
content of a table). A path is no input: it would name a file of the server. Output: the bundle's prediction columns.
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
        (column,) = self.bundle.reader.columns
        if column not in model_input or model_input[column].isna().any():
            refused = "; a path is refused, since it would name a file of the server" if "path" in model_input else ""
            raise ValueError(f"wanted a column {column} without gaps; there are: {', '.join(map(str, model_input))}{refused}")
        return self.bundle.predict([self.bundle.reader.sent(item) for item in model_input[column]])


mlflow.models.set_model(ServedModel())
