"""Check claims of popular texts about recurrent networks: one small function a claim, each printing what it computed.

python experiments/errata/run.py worked_example
python experiments/errata/run.py --list
python experiments/errata/run.py --json
"""

import argparse
import json
from collections.abc import Callable, Sequence

import code_as_printed
import formulas
import gradients
import memory
import recorded

Number = float | int
Answer = dict[str, Number | Sequence[Number] | str]
CHECKS: dict[str, Callable[[], Answer]] = {
    check.__name__: check for module in (formulas, gradients, code_as_printed, memory, recorded) for check in module.CHECKS
}


def main() -> None:
    """Print one check, the list of them, or all of them as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", nargs="?", choices=sorted(CHECKS), help="which claim")
    parser.add_argument("--list", action="store_true", help="name the claims")
    parser.add_argument("--json", action="store_true", help="all of them, for tests")
    given = parser.parse_args()
    if given.json:
        print(json.dumps({name: check() for name, check in CHECKS.items()}))
    elif given.list or given.name is None:
        print("\n".join(f"{name:<28}{(check.__doc__ or '').splitlines()[0]}" for name, check in CHECKS.items()))
    else:
        print(written(CHECKS[given.name]()))


def written(answer: Answer) -> str:
    """Return the lines of an answer, values in one column."""
    width = max(map(len, answer))
    return "\n".join(f"{label:<{width}}  {shown(value)}" for label, value in answer.items())


def shown(value: Number | Sequence[Number] | str) -> str:
    """Return a number with four digits that count, several separated by commas."""
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return ", ".join(map(shown, value))
    return str(value) if isinstance(value, int) else f"{value:.4g}" if abs(value) < 1e-3 or abs(value) >= 1e4 else f"{value:.4f}"


if __name__ == "__main__":
    main()
