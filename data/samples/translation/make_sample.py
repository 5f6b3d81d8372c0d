"""Make the bundled sample of translation: short English sentences and their German, from a small grammar of our own, no download.

The grammar knows gender, case, number, the endings of adjectives after every article, two verbs that come apart, modal verbs, the
perfect tense, the dative, negation, clauses with `dass`, and where the German verb stands. Writes next to this file

    train.en, train.de    1,000 pairs, line by line
    val.en, val.de          100
    test.en, test.de        100

No sentence stands twice, on either side. Every choice comes from a generator with a fixed seed, so running it again writes the same bytes.
Files of these names are overwritten.

Run:    python data/samples/translation/make_sample.py
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

FOLDER = Path(__file__).resolve().parent
SEED = 4
SIZES = {"train": 1000, "val": 100, "test": 100}
MOST_WORDS = 12
Item = TypeVar("Item")

# Words


@dataclass(frozen=True)
class Noun:
    """English singular and plural; German gender, singular and plural (nominative)."""

    one: str
    many: str
    gender: str
    ein: str
    mehr: str


@dataclass(frozen=True)
class Verb:
    """English base, -s, -ing and participle; German singular, plural (also the infinitive), participle, auxiliary, what comes apart."""

    base: str
    with_s: str
    with_ing: str
    done: str
    er: str
    sie: str
    getan: str
    hat: str = "hat"
    prefix: str = ""
    is_state: bool = False


NOUNS = {
    noun.one: noun
    for noun in (
        Noun("man", "men", "m", "Mann", "Männer"),
        Noun("woman", "women", "f", "Frau", "Frauen"),
        Noun("child", "children", "n", "Kind", "Kinder"),
        Noun("girl", "girls", "n", "Mädchen", "Mädchen"),
        Noun("teacher", "teachers", "m", "Lehrer", "Lehrer"),
        Noun("doctor", "doctors", "m", "Arzt", "Ärzte"),
        Noun("dog", "dogs", "m", "Hund", "Hunde"),
        Noun("cat", "cats", "f", "Katze", "Katzen"),
        Noun("horse", "horses", "n", "Pferd", "Pferde"),
        Noun("bird", "birds", "m", "Vogel", "Vögel"),
        Noun("book", "books", "n", "Buch", "Bücher"),
        Noun("letter", "letters", "m", "Brief", "Briefe"),
        Noun("newspaper", "newspapers", "f", "Zeitung", "Zeitungen"),
        Noun("apple", "apples", "m", "Apfel", "Äpfel"),
        Noun("egg", "eggs", "n", "Ei", "Eier"),
        Noun("flower", "flowers", "f", "Blume", "Blumen"),
        Noun("picture", "pictures", "n", "Bild", "Bilder"),
        Noun("ball", "balls", "m", "Ball", "Bälle"),
        Noun("bag", "bags", "f", "Tasche", "Taschen"),
        Noun("car", "cars", "n", "Auto", "Autos"),
    )
}
PEOPLE = ("man", "woman", "child", "girl", "teacher", "doctor")
ANIMALS = ("dog", "cat", "horse", "bird")
AGES = {"small": "klein", "big": "groß", "old": "alt", "young": "jung"}
LOOKS = {"small": "klein", "big": "groß", "black": "schwarz", "white": "weiß"}
KINDS = {"small": "klein", "big": "groß", "old": "alt", "new": "neu", "red": "rot", "white": "weiß", "beautiful": "schön"}
ADJECTIVES = AGES | LOOKS | KINDS
EDIBLE = ("apple", "egg")

SLEEP = Verb("sleep", "sleeps", "sleeping", "slept", "schläft", "schlafen", "geschlafen")
PLAY = Verb("play", "plays", "playing", "played", "spielt", "spielen", "gespielt")
WAIT = Verb("wait", "waits", "waiting", "waited", "wartet", "warten", "gewartet")
RUN = Verb("run", "runs", "running", "run", "läuft", "laufen", "gelaufen", hat="ist")
STAND = Verb("stand", "stands", "standing", "stood", "steht", "stehen", "gestanden")
ALONE = (SLEEP, PLAY, WAIT, RUN, STAND)
THINGS_OF = {
    Verb("read", "reads", "reading", "read", "liest", "lesen", "gelesen"): ("book", "letter", "newspaper"),
    Verb("buy", "buys", "buying", "bought", "kauft", "kaufen", "gekauft"): ("book", "newspaper", "apple", "egg", "flower", "bag", "car"),
    Verb("see", "sees", "seeing", "seen", "sieht", "sehen", "gesehen", is_state=True): (*PEOPLE, *ANIMALS, "flower", "picture", "car"),
    Verb("look for", "looks for", "looking for", "looked for", "sucht", "suchen", "gesucht"): ("book", "letter", "ball", "bag", *ANIMALS),
    Verb("eat", "eats", "eating", "eaten", "isst", "essen", "gegessen"): EDIBLE,
    Verb("pick up", "picks up", "picking up", "picked up", "hebt", "heben", "gehoben", prefix="auf"): ("book", "letter", "ball", "bag"),
    Verb("call", "calls", "calling", "called", "ruft", "rufen", "gerufen", prefix="an"): PEOPLE,
}
ANIMALS_SEE = {verb: (*PEOPLE, *ANIMALS) for verb in THINGS_OF if verb.base in ("see", "look for")}
HELP = Verb("help", "helps", "helping", "helped", "hilft", "helfen", "geholfen")
GIVE = Verb("give", "gives", "giving", "given", "gibt", "geben", "gegeben")
SHOW = Verb("show", "shows", "showing", "shown", "zeigt", "zeigen", "gezeigt")
GIVEN = ("book", "letter", "newspaper", "apple", "flower", "picture", "ball")
MODALS = {("can", "can"): ("kann", "können"), ("must", "must"): ("muss", "müssen"), ("wants to", "want to"): ("will", "wollen")}
PLACES = (  # English, German preposition and article, German noun; always the dative
    ("in the", "garden", "im", "Garten"),
    ("in the", "house", "im", "Haus"),
    ("in the", "park", "im", "Park"),
    ("in the", "kitchen", "in der", "Küche"),
    ("on the", "bridge", "auf der", "Brücke"),
    ("on the", "street", "auf der", "Straße"),
    ("under the", "tree", "unter dem", "Baum"),
    ("at the", "station", "am", "Bahnhof"),
)
TIMES = {"today": "heute", "now": "jetzt", "every day": "jeden Tag", "in the evening": "am Abend"}
KNOWN = {"I know that": "ich weiß, dass", "we hope that": "wir hoffen, dass", "she says that": "sie sagt, dass"}

# Endings: masculine, feminine, neuter, plural
ENDINGS_OF_DER = {
    "nominative": ("der", "die", "das", "die"),
    "accusative": ("den", "die", "das", "die"),
    "dative": ("dem", "der", "dem", "den"),
}
ENDINGS_OF_EIN = {"nominative": ("", "e", "", "e"), "accusative": ("en", "e", "", "e"), "dative": ("em", "er", "em", "en")}
AFTER_DER = {"nominative": ("e", "e", "e", "en"), "accusative": ("en", "e", "e", "en"), "dative": ("en", "en", "en", "en")}
AFTER_EIN = {"nominative": ("er", "e", "es", "en"), "accusative": ("en", "e", "es", "en"), "dative": ("en", "en", "en", "en")}
AFTER_NUMBER = {"nominative": "e", "accusative": "e", "dative": "en"}
LIKE_EIN = {"a": "ein", "my": "mein", "our": "unser"}
NUMBERS = {"two": "zwei", "three": "drei"}

# Phrases


@dataclass(frozen=True)
class Phrase:
    """A noun with its article, and an adjective or none."""

    article: str
    adjective: str
    noun: Noun
    is_plural: bool

    @property
    def english(self) -> str:
        """Return the English words."""
        words = [self.article, self.adjective, self.noun.many if self.is_plural else self.noun.one]
        if self.article == "a" and (self.adjective or self.noun.one)[0] in "aeiou":
            words[0] = "an"
        return " ".join(word for word in words if word)

    def german(self, case: str) -> str:
        """Return the German words in a case."""
        form = 3 if self.is_plural else "mfn".index(self.noun.gender)
        if self.article == "the":
            article, ending = ENDINGS_OF_DER[case][form], AFTER_DER[case][form]
        elif self.article in LIKE_EIN:
            article, ending = LIKE_EIN[self.article] + ENDINGS_OF_EIN[case][form], AFTER_EIN[case][form]
        else:
            article, ending = NUMBERS[self.article], AFTER_NUMBER[case]
        noun = self.noun.mehr if self.is_plural else self.noun.ein
        if self.is_plural and case == "dative" and noun[-1] not in "ns":
            noun += "n"
        return " ".join([article, *([ADJECTIVES[self.adjective] + ending] if self.adjective else []), noun])


class Chooser:
    """Choose at random; built on `random()` alone, the same in every version of Python."""

    def __init__(self, seed: int) -> None:
        self.generator = random.Random(seed)

    def one(self, items: Sequence[Item]) -> Item:
        """Return one of these."""
        return items[int(self.generator.random() * len(items))]

    def happens(self, share: float) -> bool:
        """Return true in this share of calls."""
        return self.generator.random() < share


# Clauses


@dataclass(frozen=True)
class Clause:
    """One clause in both languages, but for where the German verb stands.

    Args:
        english: all words.
        subject: in German, as all that follows.
        time: an adverb, or "".
        middle: objects, negation, place.
        finite: the verb that agrees with the subject.
        end: infinitive, participle or what comes apart from the finite verb, or "".
        is_one_word: whether end and finite verb are one word where they meet, as in `anruft`.
    """

    english: str
    subject: str
    time: str
    middle: str
    finite: str
    end: str
    is_one_word: bool

    @property
    def main(self) -> str:
        """Return a main clause: the finite verb stands second."""
        first = [self.time, self.finite, self.subject] if self.time else [self.subject, self.finite]
        return _together(*first, self.middle, self.end)

    @property
    def subordinate(self) -> str:
        """Return a clause after a conjunction: the finite verb stands last."""
        last = [self.end + self.finite] if self.is_one_word else [self.end, self.finite]
        return _together(self.subject, self.time, self.middle, *last)


def make_phrase(choose: Chooser, name: str, is_bare: bool = False) -> Phrase:
    """Make a phrase of a noun."""
    is_plural = choose.happens(0.3)
    article = choose.one(("the", "the", *(("my", "our") if name not in EDIBLE else ()), *(NUMBERS if is_plural else ("a", "a"))))
    fitting = AGES if name in PEOPLE else LOOKS if name in ANIMALS else KINDS
    adjective = choose.one(tuple(fitting)) if not is_bare and choose.happens(0.3) else ""
    return Phrase(article, adjective, NOUNS[name], is_plural)


def make_place(choose: Chooser, share: float) -> tuple[str, str]:
    """Make a place, or none."""
    if not choose.happens(share):
        return "", ""
    english, name, german, noun = choose.one(PLACES)
    adjective = choose.one(("small", "big", "old", "new")) if choose.happens(0.25) else ""
    return _together(english, adjective, name), _together(german, ADJECTIVES[adjective] + "en" if adjective else "", noun)


def make_clause(choose: Chooser) -> Clause:
    """Make a clause."""
    name = choose.one((*PEOPLE, *PEOPLE, *ANIMALS))
    if choose.happens(0.06):
        return _predicate(choose, name)
    subject = make_phrase(choose, name)
    is_animal = name in ANIMALS
    kind = choose.one(("alone", "thing", "thing") if is_animal else ("alone", "alone", "thing", "thing", "thing", "thing", "help", "give"))
    english, german = [], []
    if kind == "alone":
        verb = choose.one(ALONE)
        if verb is PLAY and choose.happens(0.5):
            with_whom = make_phrase(choose, _other(choose, (*PEOPLE, *ANIMALS), name))
            english, german = ["with " + with_whom.english], ["mit " + with_whom.german("dative")]
    elif kind == "thing":
        things_of = ANIMALS_SEE if is_animal else THINGS_OF
        verb = choose.one(tuple(things_of))
        thing = make_phrase(choose, _other(choose, things_of[verb], name))
        english, german = [thing.english], [thing.german("accusative")]
    else:
        whom = make_phrase(choose, _other(choose, PEOPLE, name))
        verb, english, german = HELP, [whom.english], [whom.german("dative")]
        if kind == "give":
            verb = choose.one((GIVE, SHOW))
            thing = make_phrase(choose, choose.one(GIVEN))
            english, german = [*english, thing.english], [*german, thing.german("accusative")]
    place = make_place(choose, 0.7 if kind == "alone" else 0.2)
    return _with_verb(choose, subject, verb, (_together(*english, place[0]), _together(*german, place[1])), kind == "alone")


def _with_verb(choose: Chooser, subject: Phrase, verb: Verb, rest: tuple[str, str], may_deny: bool) -> Clause:
    """Put subject, verb in some tense, and the rest together."""
    many = subject.is_plural
    tense = choose.one(("plain", "plain", "plain", "plain", "modal", "perfect"))
    times = {"plain": ("every day", "in the evening") if verb.is_state else tuple(TIMES), "modal": tuple(TIMES), "perfect": ("today",)}
    time = choose.one(times[tense]) if choose.happens(0.3) else ""
    is_denied = tense == "plain" and may_deny and choose.happens(0.15)
    if tense == "modal":
        words, german = choose.one(tuple(MODALS.items()))
        english, finite, end = f"{words[many]} {verb.base}", german[many], verb.prefix + verb.sie
    elif tense == "perfect":
        auxiliary = {"hat": ("hat", "haben"), "ist": ("ist", "sind")}[verb.hat]
        english, finite, end = f"{('has', 'have')[many]} {verb.done}", auxiliary[many], verb.prefix + verb.getan
    else:
        english, finite, end = _present(verb, many, time in ("today", "now"), is_denied), verb.sie if many else verb.er, verb.prefix
    middle = _together("nicht" if is_denied else "", rest[1])
    whole = _together(subject.english, english, rest[0], time)
    return Clause(whole, subject.german("nominative"), TIMES.get(time, ""), middle, finite, end, tense == "plain")


def _present(verb: Verb, many: bool, is_going_on: bool, is_denied: bool) -> str:
    if is_going_on:
        return _together(("is", "are")[many], "not" if is_denied else "", verb.with_ing)
    if is_denied:
        return f"{('does', 'do')[many]} not {verb.base}"
    return verb.base if many else verb.with_s


def _predicate(choose: Chooser, name: str) -> Clause:
    subject = make_phrase(choose, name, is_bare=True)
    adjective = choose.one(tuple(LOOKS if name in ANIMALS else AGES))
    many = subject.is_plural
    english = f"{subject.english} {('is', 'are')[many]} {adjective}"
    return Clause(english, subject.german("nominative"), "", ADJECTIVES[adjective], ("ist", "sind")[many], "", False)


def _other(choose: Chooser, names: Sequence[str], name: str) -> str:
    return choose.one([each for each in names if each != name])


def _together(*words: str) -> str:
    return " ".join(word for word in words if word)


def make_pair(choose: Chooser) -> tuple[str, str]:
    """Make a sentence and its translation."""
    clause = make_clause(choose)
    if choose.happens(0.12):
        english, german = choose.one(tuple(KNOWN.items()))
        return f"{english} {clause.english}", f"{german} {clause.subordinate}"
    return clause.english, clause.main


def main() -> None:
    """Write all files."""
    choose = Chooser(SEED)
    pairs: dict[str, str] = {}
    while len(pairs) < sum(SIZES.values()):
        english, german = make_pair(choose)
        if len(english.split()) <= MOST_WORDS and english not in pairs and german not in pairs.values():
            pairs[english] = german
    first, rows = 0, list(pairs.items())
    for split, size in SIZES.items():
        for place, language in enumerate(("en", "de")):
            text = "".join(row[place] + "\n" for row in rows[first : first + size])
            (FOLDER / f"{split}.{language}").write_bytes(text.encode())
        first += size


if __name__ == "__main__":
    main()
