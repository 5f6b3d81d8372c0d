"""Hostile variants of files: bytes, lines and nested values that are changed as damage, other programs and attackers change them.

A mutation is a function of content and a seeded `Random`. Those of bytes go with every file; those of lines and of values with texts, JSON
and YAML; archives are changed inside and packed again.
"""

import copy
import gzip
import io
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

MOST_PLACES = 10_000  # of nested values, which may contain themselves
MOST_BYTES = 200_000  # of a mutated file: the readers are fuzzed, not the disk
BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")
NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**40, 2**48, 2**63 - 1, 2**64 - 1)
MAGIC = (b"PK\x03\x04", b"\x1f\x8b\x08\x00", b"\xd0\xcf\x11\xe0", b"\x89PNG", b"\x93NUMPY", b"RIFF", b"fLaC", b"OggS", b"%PDF-", b"<html")
WORDS = (
    *("", " ", "\u00a0", "\x00", "\x1b[31m", "\x85", "\u2028", "\u202e", "\u200b", "\ufeff", "\ufffd", "e\u0301", "\U0001f600"),
    *("ß", "İ", "文本", '"', '""', '"""', "'", "`", ",", ";", "|", "\t", "\r", "\n", "\r\n", "\\", "\\n", "\\u0000", "\\ud800"),
    *("%", "$", "€", "#", "[/q]", "{", "[[", "nan", "NaN", "inf", "-inf", "1e309", "-0", "1e-400", "9" * 400, "1_000", "0x10"),
    *("1,234", "1.234,5", "1,608", "12%", "3K", "(5)", "½", "٣", "99999999999999999999", "-9223372036854775808", "1e18", "-1"),
    *("253402300800", "1" * 14, "0000-00-00", "2020-02-30", "10000-01-01", "1677-01-01", "2262-04-12", "0001-01-01", "01/02/03"),
    *("24:00", "25:61", "2020-01-01T00:00:00+99:99", "2020-01-01T00:00:00Z", "Jan", "12:30 PM", "../../etc/passwd", "/etc/passwd"),
    *("/dev/zero", "~root", "..", ".", "a" * 300, "/".join("a" * 200), "CON", "x.wav\x00", "*?", "file:///x", "&#0;", "&amp;amp;amp;"),
    *("&#1114112;", "&#xD800;", "<br />", "__label__", "=cmd|' /C calc'!A0", "true", "null", "[]", "{}", "text", "label", "date"),
    *("time", "close", "path", "split", "train", "test", "val", "speaker", "source", "target", "ticker"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**30, -(2**63), 0.5, float("nan"), float("inf"), -0.0, 1e308),
    *("", " ", "x", "\x00", "../../x", "a" * 5000, "9" * 5000, "1e400", [], {}, [[]], [None], {"": None}, {"x": {}}, [0] * 1000, ["x", 1]),
    *({"_target_": "os.system"}, {"_target_": None}, {"_target_": []}),
)
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "latin-1", "gb18030", "shift_jis", "cp1252", "utf-7")
RUNS = (b"\x00", b"\xff", b"a", b"9", b'"', b",", b"\n", b"[", b"{", b"(", b" ", b"&", b"<")
Mutation = Callable[[bytes, Random], bytes]


# Bytes ----------------------------------------------------------------------------------------------------------------------------------


def place_in(data: bytes, random: Random) -> int:
    """Choose a place, half of the time among the first 200 bytes, where headers are."""
    return random.randrange(min(len(data), 200) if random.random() < 0.5 else len(data)) if data else 0


def flip_bits(data: bytes, random: Random) -> bytes:
    """Flip one bit of each of a few bytes."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 3, 20))):
        if changed:
            changed[place_in(data, random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def set_bytes(data: bytes, random: Random) -> bytes:
    """Overwrite some bytes, with one value or any."""
    place, length = place_in(data, random), random.choice((1, 2, 4, 8, 64))
    one = bytes([random.choice((0, 0x20, 0x7F, 0xFF))]) * length
    return data[:place] + random.choice((random.randbytes(length), one)) + data[place + length :]


def set_length(data: bytes, random: Random) -> bytes:
    """Overwrite a number of two, four or eight bytes: the sizes that headers claim."""
    place, width = place_in(data, random), random.choice((2, 4, 8))
    number = random.choice(NUMBERS) & (256**width - 1)
    return data[:place] + number.to_bytes(width, random.choice(("little", "big"))) + data[place + width :]


def truncate(data: bytes, random: Random) -> bytes:
    """Cut the end off, or the beginning."""
    place = place_in(data, random)
    return data[:place] if random.random() < 0.7 else data[place:]


def remove_bytes(data: bytes, random: Random) -> bytes:
    """Take some bytes out."""
    place = place_in(data, random)
    return data[:place] + data[place + random.choice((1, 4, 100, 5000)) :]


def insert_run(data: bytes, random: Random) -> bytes:
    """Insert one byte or one word many times."""
    place, word = place_in(data, random), random.choice(RUNS)
    return data[:place] + word * random.choice((1, 10, 1_000, 50_000)) + data[place:]


def repeat_part(data: bytes, random: Random) -> bytes:
    """Insert a part a second time, elsewhere."""
    start, place = place_in(data, random), place_in(data, random)
    return data[:place] + data[start : start + random.choice((1, 16, 500))] + data[place:]


def put_mark(data: bytes, random: Random) -> bytes:
    """Put a byte order mark or another format's first bytes before all."""
    return random.choice(BOMS + MAGIC) + data


def recode(data: bytes, random: Random) -> bytes:
    """Write a text in another encoding, or part of it."""
    text, name = data.decode("utf-8", "replace"), random.choice(ENCODINGS)
    half = random.choice((0, 0, len(text) // 2))
    return text[:half].encode("utf-8", "replace") + text[half:].encode(name, "replace")


BYTES: tuple[Mutation, ...] = (flip_bits, set_bytes, set_length, truncate, remove_bytes, insert_run, repeat_part, put_mark)


# Texts ----------------------------------------------------------------------------------------------------------------------------------


def on_lines(change: Callable[[list[str], Random], list[str]]) -> Mutation:
    """Return a mutation of lines as one of bytes."""

    def mutation(data: bytes, random: Random) -> bytes:
        lines = data.decode("utf-8", "surrogateescape").split("\n")
        return "\n".join(change(lines, random)).encode("utf-8", "surrogateescape")

    return mutation


def _move(lines: list[str], random: Random) -> list[str]:
    one, other = random.randrange(len(lines)), random.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return lines


def _repeat(lines: list[str], random: Random) -> list[str]:
    one = random.randrange(len(lines))
    return lines[:one] + lines[one : one + 1] * random.choice((2, 2, 100)) + lines[one + 1 :]


def _drop(lines: list[str], random: Random) -> list[str]:
    one = random.randrange(len(lines))
    return lines[:one] + lines[one + random.choice((1, 1, 5, 1000)) :]


def _field(lines: list[str], random: Random) -> list[str]:
    """Put a word in place of a field, or of a whole column."""
    delimiter = random.choice([mark for mark in ",\t;| " if mark in "".join(lines[:3])] or [","])
    column, word = random.randrange(max(1, lines[0].count(delimiter) + 1)), random.choice(WORDS)
    rows = range(len(lines)) if random.random() < 0.2 else [random.choice((0, 1, random.randrange(len(lines))))]
    for row in rows:
        fields = lines[row].split(delimiter) if row < len(lines) else []
        if column < len(fields):
            fields[column] = word
            lines[row] = delimiter.join(fields)
    return lines


def _word(lines: list[str], random: Random) -> list[str]:
    row = random.choice((0, random.randrange(len(lines))))
    place = random.randrange(len(lines[row]) + 1)
    lines[row] = lines[row][:place] + random.choice(WORDS) + lines[row][place:]
    return lines


def _exchange(lines: list[str], random: Random) -> list[str]:
    """Write one character as another everywhere: delimiters, quotes, ends of lines, digits."""
    one, other = random.choice((",", ";", "\t", ".", '"', "-", ":", " ", "0", "\n", "|")), random.choice(WORDS)
    return "\n".join(lines).replace(one, other if len(other) < 10 else ",").split("\n")


TEXTS: tuple[Mutation, ...] = (*map(on_lines, (_move, _repeat, _drop, _field, _field, _field, _word, _word, _exchange)), recode)


# Nested values --------------------------------------------------------------------------------------------------------------------------


def change_values(values: Any, random: Random) -> Any:
    """Return nested values with one of them replaced, removed, wrapped, moved or nested deeply."""
    values = copy.deepcopy(values)
    places = list(_places(values))
    if not places:
        return random.choice(VALUES)
    holder, key = random.choice(places)
    way = random.choice(("replace", "replace", "replace", "remove", "wrap", "move", "rename", "nest"))
    if way == "replace":
        holder[key] = random.choice(VALUES)
    elif way == "remove":
        del holder[key]
    elif way == "wrap":
        holder[key] = random.choice(([holder[key]], {"x": holder[key]}, str(holder[key])[:1000]))
    elif way == "move":
        other, there = random.choice(places)
        holder[key] = copy.deepcopy(other[there])
    elif way == "rename" and isinstance(holder, dict):
        holder[random.choice(WORDS)] = holder.pop(key)
    else:
        for _ in range(random.choice((10, 90, 3000))):
            holder[key] = [holder[key]] if random.random() < 0.5 else {"x": holder[key]}
    return values


def _places(values: Any) -> list[tuple[Any, Any]]:
    """List every place of nested values, as its holder and key, without recursion."""
    found: list[tuple[Any, Any]] = []
    todo = [values]
    while todo and len(found) < MOST_PLACES:
        holder = todo.pop()
        keys = list(holder) if isinstance(holder, dict) else range(min(len(holder), 20)) if isinstance(holder, list) else ()
        found += [(holder, key) for key in keys]
        todo += [holder[key] for key in keys]
    return found


# Files in files -------------------------------------------------------------------------------------------------------------------------


def in_gzip(mutations: tuple[Mutation, ...]) -> Mutation:
    """Return a mutation of what is packed by gzip."""

    def mutation(data: bytes, random: Random) -> bytes:
        try:
            inside = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            return flip_bits(data, random)
        return gzip.compress(random.choice(mutations)(inside, random)[:MOST_BYTES], 1, mtime=0)

    return mutation


def in_zip(mutations: tuple[Mutation, ...]) -> Mutation:
    """Return a mutation of one member of a zip archive, whose checksums are right again."""

    def mutation(data: bytes, random: Random) -> bytes:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = [(member.filename, archive.read(member)) for member in archive.infolist()]
        except Exception:
            return flip_bits(data, random)
        chosen = random.randrange(len(members)) if members else -1
        way = random.choice(("change", "change", "change", "remove", "rename", "repeat"))
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w") as archive:
            for number, (name, content) in enumerate(members):
                if number == chosen and way == "remove":
                    continue
                changed = random.choice(mutations)(content, random)[:MOST_BYTES] if number == chosen and way == "change" else content
                new = random.choice(("../x", "/x", "x" * 300, name.upper())) if number == chosen and way == "rename" else name
                archive.writestr(zipfile.ZipInfo(new, (2020, 1, 1, 0, 0, 0)), changed)
            if way == "repeat" and f"{members[chosen][0]}2" not in dict(members):
                archive.writestr(zipfile.ZipInfo(f"{members[chosen][0]}2", (2020, 1, 1, 0, 0, 0)), members[chosen][1])
        return written.getvalue()

    return mutation
