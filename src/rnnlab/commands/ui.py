"""Say where the MLflow UI shows each experiment (`make ui`)."""

from rnnlab.paths import root
from rnnlab.tracking.store import connect, shown_experiments
from rnnlab.tracking.views import UI, link

NUM_SHOWN = 20


def main() -> None:
    """Print the address of every experiment that has runs."""
    shown = shown_experiments(connect(None, root()))
    width = max(map(len, shown.values()), default=0)
    for experiment, name in list(shown.items())[:NUM_SHOWN]:
        print(f"  {name:{width}}  {link(UI, experiment)}")
    if len(shown) > NUM_SHOWN:
        print(f"  and {len(shown) - NUM_SHOWN} more")
    if not shown:
        print(f"  no runs yet: python src/train.py model=gru data=speech, and then {UI}")


if __name__ == "__main__":
    main()
