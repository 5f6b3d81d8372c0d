"""How tags mark entities: `plain` tags mark none; `bio` and `bioes` are turned into each other.

bio      B- begins an entity, I- goes on, O is outside
bioes    E- ends an entity of several words, S- is one of a single word
"""

from collections.abc import Iterable, Sequence

from rnnlab.contracts import Scheme, spans_of

LETTERS = {"bio": "BI", "bioes": "BIES"}


def scheme_of(tags: Iterable[str]) -> Scheme:
    """Tell by all tags of a source what they are: entities if each is `O`, or B, I, E or S with a dash and a type."""
    letters = set()
    for tag in set(tags) - {"O"}:
        letter, dash, kind = tag.partition("-")
        if letter not in ("B", "I", "E", "S") or not dash or not kind:
            return "plain"
        letters.add(letter)
    if not letters:
        return "plain"
    return "bioes" if letters & {"E", "S"} else "bio"


def written_as(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """Write the entities of a sentence in a scheme, `bio` or `bioes`; plain tags stay as they are."""
    if scheme == "plain":
        return list(tags)
    found = ["O"] * len(tags)
    for kind, start, end in spans_of(tags):
        found[start:end] = [f"B-{kind}"] + [f"I-{kind}"] * (end - start - 1)
        if scheme == "bioes":
            found[end - 1] = f"S-{kind}" if end - start == 1 else f"E-{kind}"
    return found


def num_without_begin(tags: Sequence[str]) -> int:
    """Count the entities that begin with I- or E-, and not with B- or S-."""
    return sum(tags[span.start][0] in "IE" for span in spans_of(tags))


def refuse_odd(tag: str, scheme: Scheme, place: str) -> None:
    """Raise ValueError where a tag is not one of the scheme that was asked for."""
    letter, dash, kind = tag.partition("-")
    if scheme == "plain" or tag == "O" or (letter in LETTERS[scheme] and dash and kind):
        return
    letters = ", ".join(f"{each}-TYPE" for each in LETTERS[scheme])
    raise ValueError(
        f"{place}: the tag {tag!r} is not one of {scheme} ({letters}, O): mend it, or set data.prepare.scheme to what the tags are (plain, "
        "bio, bioes, or auto)"
    )
