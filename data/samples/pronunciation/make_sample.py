"""Make the bundled sample of pronunciations: invented words of an invented, regular spelling, no dictionary copied.

A word is a few syllables drawn from ONSETS, VOWELS and CODAS; `pronounce` reads it by the rules that README.md lists.
Writes next to this file

    words.csv    word, pronunciation, split; 1,500 words: train 1,200, val 150, test 150

Every choice comes from a generator with a fixed seed, so running it again writes the same bytes. A file of that name
is overwritten.

Run:    python data/samples/pronunciation/make_sample.py
Needs:  numpy.
"""

import csv
import re
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent
SEED = 1
SPLITS = {"train": 1200, "val": 150, "test": 150}
NUM_LETTERS = (4, 11)
ONSETS = "b|c|d|f|g|h|j|k|l|m|n|p|r|s|t|v|w|y|z|sh|ch|th|ph|wh|qu|kn|bl|br|cl|cr|dr|fl|gr|pl|pr|sl|sm|sn|sp|st|tr|zh|zh"
VOWELS = "a|e|i|o|u|a|e|i|o|u|ee|ea|ai|oa|oo|ou|oi|au|er|ir|ar|or"
INNER = "b|d|f|g|k|l|m|n|p|r|s|t|v|z|bb|dd|ff|gg|ll|mm|nn|pp|rr|ss|tt|ck|sh|ch|th|c|g|x|ng|mb|nd|nt|st|zh"
CODAS = "b|d|f|g|k|l|m|n|p|r|s|t|v|z|ll|ss|ff|ck|sh|ch|th|x|ng|nd|nt|st|lt|mp|sk"
VOWEL_ENDINGS, ENDINGS = "y|ay|oy|ow|aw|ook|ook", "ble|tle|ge|ce"

OFFENSIVE = "arse|bitch|cock|coon|crap|cum|cunt|dick|fag|fuck|gook|homo|kike|knob|nig|piss|prick|rape|shit|slut|spic|tard|tit|turd|whor"

# Tried in this order at each place; `^` and `$` are the word's ends, what is looked at but not read stands in (?= ) and (?<= ).
LONG = {"a": "EY", "e": "IY", "i": "AY", "o": "OW", "u": "UW"}
SILENT_E = r"(?=(?:[bdfgklmnprstvzc]|sh|ch|th)e$)"
RULES = [
    *((rf"{letter}{SILENT_E}", phone) for letter, phone in LONG.items()),
    (r"(?<=[bdfgkpt])le$", "AH L"),
    (r"(?<=[^aeiouy])e$", ""),
    (r"oo(?=k)", "UH"),
    *((f"{letters}", "IY") for letters in ("ee", "ea")),
    *((f"{letters}", "EY") for letters in ("ai", "ay")),
    ("oa", "OW"),
    ("oo", "UW"),
    *((f"{letters}", "AW") for letters in ("ou", "ow")),
    *((f"{letters}", "OY") for letters in ("oi", "oy")),
    *((f"{letters}", "AO") for letters in ("au", "aw")),
    *((rf"{letter}r(?!r)", "ER") for letter in "eiu"),
    (r"ar(?!r)", "AA R"),
    (r"or(?!r)", "AO R"),
    *(("a", "AE"), ("e", "EH"), ("i", "IH"), ("o", "AA"), ("u", "AH")),
    *((r"^y", "Y"), (r"(?<=.)y$", "IY"), ("y", "Y")),
    *(("sh", "SH"), ("ch", "CH"), ("ph", "F"), ("wh", "W"), ("zh", "ZH"), ("ck", "K"), ("ng", "NG"), ("qu", "K W")),
    *((r"(?<=[aeiou])th(?=[aeiou])", "DH"), ("th", "TH")),
    (r"^kn", "N"),
    *((rf"{letter}{letter}", phone) for letter, phone in zip("bdfglmnprst", "BDFGLMNPRST", strict=True)),
    *((r"c(?=[eiy])", "S"), ("c", "K"), (r"g(?=[eiy])", "JH"), (r"(?<=[aeiou])s(?=[aeiou])", "Z")),
    *zip("bdfgklmnprstvwz", "BDFGKLMNPRSTVWZ", strict=True),
    *(("h", "HH"), ("j", "JH")),
    ("x", "K S"),
]
COMPILED = [(re.compile(pattern), phones) for pattern, phones in RULES]


def pronounce(word: str) -> str:
    """Read a word by the rules, from left to right; `ARPABET` phones with blanks between."""
    place, phones = 0, []
    while place < len(word):
        pattern, found = next((pattern, found) for pattern, found in COMPILED if pattern.match(word, place))
        match = pattern.match(word, place)
        assert match is not None and match.end() > place
        phones.append(found)
        place = match.end()
    return " ".join(" ".join(phones).split())


def draw(random: np.random.Generator) -> str:
    """Draw a word of one to three syllables, with one of several endings."""
    num_syllables = random.integers(1, 4)
    word = str(random.choice(ONSETS.split("|")))
    for number in range(num_syllables):
        word += str(random.choice(VOWELS.split("|")))
        is_last = number == num_syllables - 1
        if not is_last:
            word += str(random.choice(INNER.split("|")))
    kind = random.random()
    if kind < 0.2:  # a silent e
        return word[:-1] + str(random.choice(list("aeiou"))) + str(random.choice(list("bdfklmnprstvz"))) + "e"
    if kind < 0.3:  # an ending that brings its vowel
        return re.sub("[aeiou]+r?$", "", word) + str(random.choice(VOWEL_ENDINGS.split("|")))
    return word + str(random.choice((ENDINGS if kind < 0.4 else CODAS).split("|")))


def is_regular(word: str) -> bool:
    """Leave out what the rules are not about, runs of letters that nobody could read, and what might offend."""
    has_other_pair = re.search(r"[aiu]a|[aiou]e|[iu]i|[aei]o|[eiu]u|eo|[aeiou]y.|[aeiou][yw][aeiou]", word)
    return not has_other_pair and not re.search(OFFENSIVE, word) and not re.search(r"[aeiouwy]{3}|(.)\1\1|[^aeiouy]{4}|h[hw]|q[^u]", word)


def main() -> None:
    """Draw the words and write them in the order of the alphabet."""
    random = np.random.default_rng(SEED)
    words: dict[str, str] = {}
    while len(words) < sum(SPLITS.values()):
        word = draw(random)
        if NUM_LETTERS[0] <= len(word) <= NUM_LETTERS[1] and is_regular(word):
            words.setdefault(word, pronounce(word))
    splits = random.permutation([split for split, count in SPLITS.items() for _ in range(count)])
    rows = sorted((word, phones, str(split)) for (word, phones), split in zip(words.items(), splits, strict=True))
    with (FOLDER / "words.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["word", "pronunciation", "split"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
