"""Make what the jobs of a study left for later: figures, lists of errors, and the model in MLflow's own format.

python src/complete.py run=RUN_ID
python src/complete.py parent=RUN_ID
"""

from rnnlab.cli import main
from rnnlab.settings import Composed


def run(composed: Composed) -> None:
    """Run the command; its modules are imported once the words have been checked."""
    from rnnlab.commands.complete import CompleteSettings, complete

    complete(composed.typed(CompleteSettings))


if __name__ == "__main__":
    main("complete", run)
