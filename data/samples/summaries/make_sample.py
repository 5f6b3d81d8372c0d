"""Make the bundled sample of summaries: short notices of an invented county and one-line summaries, from a grammar of our own, no download.

Each notice says in two to four sentences what happens to which building of which place, when, and why; around that stand sentences that a
summary leaves out. Names of places and people are put together from syllables, so that most names of `test` stand nowhere in `train`: only
copying can answer with them. Notices of validation and test have two summaries. Writes next to this file

    notices.jsonl    800 notices for training, 100 for validation, 100 for test: `text`, `summary` (a list), `split`

No notice stands twice. Every choice comes from a generator with a fixed seed, so running it again writes the same bytes.

Run:    python data/samples/summaries/make_sample.py
"""

import json
import random
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SEED = 11
SIZES = {"train": 800, "val": 100, "test": 100}
FIRST = (
    "Al",
    "Bar",
    "Cor",
    "Dun",
    "El",
    "Fen",
    "Gar",
    "Hol",
    "Ing",
    "Kel",
    "Lan",
    "Mor",
    "Nor",
    "Os",
    "Pen",
    "Rad",
    "Sten",
    "Tor",
    "Ul",
    "Wen",
)
MIDDLE = ("", "", "der", "ing", "mer", "ver", "bel", "ling")
LAST = ("ton", "ham", "ford", "by", "wick", "stead", "mouth", "dale", "bury", "field")
BUILDINGS = ("library", "swimming pool", "museum", "town hall", "post office", "railway station", "market hall", "theatre", "school")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
EVENTS = (
    ("will close", "closes", "shuts"),
    ("will open again", "opens again", "reopens"),
    ("will be sold", "is sold", "goes to a new owner"),
    ("will open later than usual", "opens late", "has later hours"),
)
REASONS = (
    "a burst pipe",
    "repairs to the roof",
    "a change of staff",
    "new fire rules",
    "a wedding",
    "the county fair",
    "last week's storm",
)
BEFORE = (
    "Residents were told in a letter this week .",
    "The council met for three hours .",
    "There was much to discuss at the last meeting .",
    "It has been a long winter for the county .",
)
AFTER = (
    "{person} , who has worked there for {years} years , said that nobody had asked the staff .",
    "{person} of the council said that the decision was not easy .",
    "Visitors may use the one in {other} until then .",
    "Buses to {other} will run as usual .",
    "About {years} people had signed a petition .",
)


def name(rng: random.Random) -> str:
    """Put a name together from syllables."""
    return rng.choice(FIRST) + rng.choice(MIDDLE) + rng.choice(LAST)


def notice(rng: random.Random) -> tuple[str, list[str]]:
    """Return a text and two summaries."""
    place, building, day, reason = name(rng), rng.choice(BUILDINGS), rng.choice(DAYS), rng.choice(REASONS)
    event, short, other_words = rng.choice(EVENTS)
    core = f"The {building} in {place} {event} on {day} because of {reason} ."
    values = {"person": f"{rng.choice(('Mr', 'Mrs'))} {name(rng)}", "other": name(rng), "years": rng.randint(3, 40)}
    after = [sentence.format(**values) for sentence in rng.sample(AFTER, rng.randint(1, 2))]
    before = [rng.choice(BEFORE)] if rng.random() < 0.5 else []
    text = " ".join([*before, core, *after]).replace(" .", ".").replace(" ,", ",")
    return text, [f"{place} {building} {short} on {day}", f"on {day} the {building} of {place} {other_words}"]


def main() -> None:
    """Write the file."""
    rng, seen, lines = random.Random(SEED), set[str](), []
    for split, size in SIZES.items():
        count = 0
        while count < size:
            text, summaries = notice(rng)
            if text in seen:
                continue
            seen.add(text)
            count += 1
            lines.append({"text": text, "summary": summaries[:1] if split == "train" else summaries, "split": split})
    content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (FOLDER / "notices.jsonl").write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
