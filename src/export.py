"""Export a run's network to files that run without rnnlab: ONNX graphs or TorchScript programs.

python src/export.py run=RUN_ID
python src/export.py run=RUN_ID format=torch
python src/export.py run=RUN_ID part=step to=FOLDER
"""

from rnnlab.cli import main
from rnnlab.settings import Composed


def run(composed: Composed) -> None:
    """Run the command; its modules are imported once the words have been checked."""
    from rnnlab.commands.export import ExportSettings, export

    export(composed.typed(ExportSettings))


if __name__ == "__main__":
    main("export", run)
