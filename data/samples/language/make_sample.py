"""Write the bundled running text, `story.txt`: logs of a lighthouse, drawn by rules that a language model can find.

Each day is named; the wind of an evening is that of the next morning; a ship that is announced comes two days later, under the same name;
the keeper counts the lamps, and the count goes on. So an n-gram of few characters learns the words, and only a memory learns the rest.

python data/samples/language/make_sample.py
"""

import random
from pathlib import Path

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
WINDS = ("north", "east", "south", "west")
STRENGTHS = ("a light", "a fresh", "a strong", "hardly any")
SHIPS = ("Heron", "Otter", "Swallow", "Petrel", "Badger", "Osprey", "Dolphin", "Marten")
CARGOES = ("salt", "timber", "oil", "coal", "letters", "flour", "rope", "lamp glass")
BIRDS = ("gulls", "terns", "cormorants", "oystercatchers")
CHORES = (
    "The keeper trimmed the wick and wiped the glass.",
    "We painted the rail of the gallery.",
    "The boat was tarred and turned over on the slip.",
    "I wound the clock and set it by the sun.",
    "The stove smoked, and we swept the pipe.",
    "Mending of nets in the afternoon.",
)
NUM_DAYS = 420


def write_log(random_numbers: random.Random) -> str:
    """Return the log of all days."""
    wind, announced, lamps, lines = "west", {}, 0, list[str]()
    for number in range(NUM_DAYS):
        strength = random_numbers.choice(STRENGTHS)
        lines.append(f"{DAYS[number % 7]}.")
        lines.append(f"In the morning {strength} wind from the {wind}, and {random_numbers.choice(BIRDS)} on the rocks.")
        if number in announced:
            ship, cargo = announced.pop(number)
            lines.append(f"The {ship} came in with {cargo}, as was said.")
        if number + 2 not in announced and random_numbers.random() < 0.6:
            ship, cargo = random_numbers.choice(SHIPS), random_numbers.choice(CARGOES)
            announced[number + 2] = (ship, cargo)
            lines.append(f"Word from the mainland: the {ship} with {cargo} in two days.")
        for chore in random_numbers.sample(CHORES, random_numbers.randint(0, 2)):
            lines.append(chore)
        if random_numbers.random() < 0.7:
            wind = WINDS[(WINDS.index(wind) + random_numbers.choice((-1, 1))) % 4]
        lamps = lamps % 9 + 1
        lines.append(f"In the evening the wind went to the {wind}. Lamps lit: {lamps}.")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    (Path(__file__).parent / "story.txt").write_text(write_log(random.Random(0)), encoding="utf-8")
