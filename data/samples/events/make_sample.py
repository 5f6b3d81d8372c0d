"""Write the bundled log of events, `orders.csv`: how an invented workshop mends clocks, order by order.

What an order is (a gift or not) is told by its first event and decides its last but one, so that the last two or three events do not say
all; a clock that fails three tests is not mended.

python data/samples/events/make_sample.py
"""

import csv
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

NUM_ORDERS = 400
FIRST_DAY = datetime(2025, 1, 7, 8)
MOST_TESTS = 3


def events_of(random: np.random.Generator) -> list[str]:
    """Return the events of one order, the first one first."""
    is_gift = random.random() < 0.4
    found = ["order by letter" if is_gift else "order at the counter", "open the case"]
    if random.random() < 0.05:
        return found[:1]  # the customer never came
    found += [str(part) for part in random.permutation(["clean the wheels", "oil the pivots"])]
    for test in range(1, MOST_TESTS + 1):
        found.append("run for a night")
        if random.random() < 0.6:
            break
        found += ["return the money"] if test == MOST_TESTS else ["bend the spring" if random.random() < 0.7 else "replace the spring"]
    if found[-1] != "return the money":
        found += ["close the case", "wrap" if is_gift else "write the bill"]
    return [*found, "hand over"]


def main() -> None:
    """Write all orders, a row an event, as they came in."""
    random = np.random.default_rng(20261130)
    rows, begin = [], FIRST_DAY
    for number in range(1, NUM_ORDERS + 1):
        begin += timedelta(minutes=int(random.exponential(600)))
        time = begin
        for event in events_of(random):
            rows.append((time, f"{number:04d}", event))
            time += timedelta(minutes=int(random.exponential(480)) + 1)
    rows.sort()
    with (Path(__file__).parent / "orders.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["id", "time", "event"])
        table.writerows((case, f"{time:%Y-%m-%d %H:%M}", event) for time, case, event in rows)


if __name__ == "__main__":
    main()
