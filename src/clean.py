"""List what deleted and killed runs left on the disk, and free it when asked.

python src/clean.py
python src/clean.py remove=true
python src/clean.py only=deleted remove=true
"""

from rnnlab.cli import main
from rnnlab.settings import Composed


def run(composed: Composed) -> None:
    """Run the command; its modules are imported once the words have been checked."""
    from rnnlab.commands.clean import CleanSettings, clean

    clean(composed.typed(CleanSettings))


if __name__ == "__main__":
    main("clean", run)
