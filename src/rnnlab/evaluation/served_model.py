"""The model in MLflow's own format: code that loads the bundle beside it (`mlflow models serve`, `mlflow.pyfunc.load_model`).

Input: a table with the column that the bundle's reader names: `audio` (the bytes of sound files, in JSON by base64), `text`, or `csv` (the
content of a table). A path is no input: it would name a file of the server. Output: the bundle's prediction columns.
"""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException


class ServedModel(mlflow.pyfunc.PythonModel):
    """Predict from raw input."""

    def load_context(self, context: Any) -> None:
        """Load the bundle."""
        from rnnlab.evaluation.bundle import load_bundle

        self.bundle = load_bundle(Path(context.artifacts["bundle"]), is_checked=False)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Predict each row.

        Raises:
            MlflowException: for what cannot be read; a server answers with its message and 400.
        """
        try:
            return self.bundle.predict(self._contents(model_input))
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error

    def _contents(self, table: pd.DataFrame) -> list[str | bytes]:
        (column,) = self.bundle.reader.columns
        if column not in table or table[column].isna().any():
            refused = "; a path is refused, since it would name a file of the server" if "path" in table else ""
            raise ValueError(f"wanted a column {column} without gaps; there are: {', '.join(map(str, table))}{refused}")
        return [self.bundle.reader.sent(item) for item in table[column]]


mlflow.models.set_model(ServedModel())
