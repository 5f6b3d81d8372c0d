"""Make a finished run again from what it recorded, and say whether its numbers come out the same.

python src/reproduce.py run=RUN_ID
python src/reproduce.py run=RUN_ID check=true
"""

from rnnlab.cli import main


def run(config: dict[str, object]) -> None:
    """Reproduce the run that the configuration names."""
    from rnnlab.commands.reproduce import reproduce

    reproduce(config)


if __name__ == "__main__":
    main("reproduce", run)
