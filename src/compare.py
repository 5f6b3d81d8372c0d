"""Compare groups of runs with evidence, and write a report.

python src/compare.py study=cells data=trec
python src/compare.py study=cells data=trec --status
python src/compare.py parent=RUN_ID
python src/compare.py filter="params.data = 'trec'"
python src/compare.py run=RUN_ID,RUN_ID
"""

from rnnlab.cli import main
from rnnlab.settings import Composed


def run(composed: Composed) -> None:
    """Run the command; its modules are imported once the words have been checked."""
    from rnnlab.commands.compare import CompareSettings, compare

    compare(composed.typed(CompareSettings))


if __name__ == "__main__":
    main("compare", run)
