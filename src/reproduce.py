"""Make a finished run again from what it recorded, and say whether its numbers come out the same.

python src/reproduce.py run=RUN_ID
python src/reproduce.py run=RUN_ID check=true
"""

from rnnlab.cli import main
from rnnlab.settings import Composed


def run(composed: Composed) -> None:
    """Run the command; its modules are imported once the words have been checked."""
    from rnnlab.commands.reproduce import ReproduceSettings, reproduce

    reproduce(ReproduceSettings.of(composed))


if __name__ == "__main__":
    main("reproduce", run)
