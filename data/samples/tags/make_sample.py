"""Write the bundled tagged sentences: persons, places and ships of an invented harbour, in BIO.

Names are made of syllables, so that most of them are new in each part; an ending or a word beside it tells what a name is.

python data/samples/tags/make_sample.py
"""

import random
from pathlib import Path

SYLLABLES = (
    *("an", "bor", "dal", "el", "fin", "gar", "hol", "ir", "kel", "lum"),
    *("mor", "nev", "or", "pel", "ras", "sil", "tor", "ul", "ven", "wes"),
)
FIRST = ("Ada", "Bram", "Clara", "Dirk", "Edda", "Finn", "Greta", "Hugo", "Ida", "Jon")
CARGO = ("salt", "timber", "oil", "coal", "flour", "rope")
TEMPLATES = (
    ("PER sailed to LOC with CARGO .", "voyage"),
    ("The ship SHIP left LOC at dawn .", "voyage"),
    ("In LOC , PER sold CARGO to PER .", "trade"),
    ("SHIP was built in LOC by PER .", "building"),
    ("PER waits for the SHIP from LOC .", "voyage"),
    ("Nobody in LOC buys CARGO today .", "trade"),
    ("The price of CARGO fell again .", "trade"),
    ("Captain PER of the SHIP bought CARGO .", "trade"),
    ("It rained all day , and no ship came .", "weather"),
)
NUM_SENTENCES = {"train": 300, "val": 60, "test": 80}


def stem(numbers: random.Random) -> str:
    """Return a name of two or three syllables."""
    return "".join(numbers.choice(SYLLABLES) for _ in range(numbers.randint(2, 3))).capitalize()


def entity(kind: str, numbers: random.Random) -> list[str]:
    """Return the words of a name."""
    if kind == "PER":
        family = f"{stem(numbers)}sen"
        return [numbers.choice(FIRST), family] if numbers.random() < 0.6 else [family]
    if kind == "LOC":
        place = f"{stem(numbers)}{numbers.choice(('holm', 'vik', 'by'))}"
        return ["New", place] if numbers.random() < 0.2 else [place]
    return [numbers.choice(("Star", "Queen", "Pride")), "of", f"{stem(numbers)}holm"] if numbers.random() < 0.4 else [f"{stem(numbers)}a"]


def sentence(numbers: random.Random) -> list[str]:
    """Return the lines of a sentence, the first of which says what it is about."""
    template, intent = numbers.choice(TEMPLATES)
    lines = [f"# intent = {intent}"]
    for word in template.split():
        if word in ("PER", "LOC", "SHIP"):
            lines += [f"{part}\t{'I' if place else 'B'}-{word}" for place, part in enumerate(entity(word, numbers))]
        else:
            lines.append(f"{numbers.choice(CARGO) if word == 'CARGO' else word}\tO")
    return lines


if __name__ == "__main__":
    numbers = random.Random(0)
    for part, count in NUM_SENTENCES.items():
        sentences = ("\n".join(sentence(numbers)) for _ in range(count))
        (Path(__file__).parent / f"{part}.conll").write_text("\n\n".join(sentences) + "\n", encoding="utf-8")
