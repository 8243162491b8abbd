"""Ways to spoil a text file: most keep to its structure (lines, fields, numbers, quotes, values), some are plain noise.

`random` is a numpy Generator throughout: the same seed makes the same mutants.
"""

from __future__ import annotations

import gzip
import re

NUMBERS = [
    *("0", "-0", "1", "-1", "0.5", "-0.0001", "1e-9", "1e999", "-1e999", "nan", "NaN", "inf", "-Infinity", "1."),
    *("9" * 20, "9" * 400, "9" * 5000, "0x10", "1_000", "1,5", "٣", "½", "", " ", "+-1", "1e", "--", "1e308"),
    *("2147483648", "65536", "18446744073709551616", "00000001", "1:02", "99:59:59", "true", "null", '"1"', "[1]"),
]  # fmt: skip
VALUES = [
    *("null", "true", "0", "-1", "1e999", '""', '"\\u0000"', '"\\ud800"', '"\\udcff"', "[]", "{}", "[[]]"),
    *('{"a":1}', "[0,1]", '"x"', "1.5", "9" * 400, "[" * 3000, '{"a":' * 3000, '"' + "x" * 5000 + '"', "NaN"),
]  # fmt: skip
PIECES = [
    *("\t", "\n", "\r", "\r\n", "\n\n", " ", ",", ";", '"', '""', "'", "\\", "%", "%00", "%FF", "<", ">", "&", "&#0;"),
    *("]]>", "#", "\x00", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\ufeff", "\ufffe", "\ud800", "\udcff", "é"),
    *("--", "\U0001f600", "<!--", "<![CDATA[", "<!DOCTYPE a [<!ENTITY b 'c'>]>", "-->", "{", "}", "[", "]", ":", ";;"),
]  # fmt: skip
ENCODINGS = ("utf-16", "utf-16-be", "utf-32", "latin-1", "utf-8-sig", "cp037")
MOST_CHARACTERS = 1 << 21
NUMBER = re.compile(r"[-+]?\d[\d.]*")
FIELD = re.compile(r"[\t ,]+")
JSON_VALUE = re.compile(r"(?<=:)(?:\"(?:[^\"\\]|\\.)*\"|[-\w.]+)")
QUOTED = re.compile(r"\"[^\"\n]*\"")
TAG = re.compile(r"<[^<>\n]*>")


def mutant(data, others, random, noise=0.25):
    """A spoiled copy of bytes: one to three changes, or with the share `noise` plain bytes.

    others: where pieces are taken from.
    """
    if random.random() < noise:
        return noisy(data, random)
    packed = data[:2] == b"\x1f\x8b"
    text = (gzip.decompress(data) if packed else data).decode("utf-8", "surrogateescape")
    for _ in range(int(random.integers(1, 4))):
        text = pick(CHANGES, random)(text, random)[:MOST_CHARACTERS]
    if random.random() < 0.1:
        other = pick(others, random)
        text = spliced(text, other.decode("utf-8", "replace"), random)
    content = encoded(text, random)
    return gzip.compress(content, 1) if packed else content


def encoded(text, random):
    """As UTF-8 mostly."""
    if random.random() < 0.06:
        return text.encode(pick(ENCODINGS, random), "replace")
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # halves of pairs that stand for no byte
        return text.encode("utf-8", "surrogatepass")


def noisy(data, random):
    """Bytes flipped, put in, taken out or cut off; or nothing but noise."""
    content = bytearray(data)
    kind = int(random.integers(6))
    if kind == 0:
        return random.bytes(int(random.integers(0, 300)))
    if kind == 1:
        return bytes(content[: int(random.integers(len(content) + 1))])
    for _ in range(int(random.integers(1, 9))):
        at = int(random.integers(len(content) + 1))
        if kind == 2:
            content[at:at] = random.bytes(int(random.integers(1, 9)))
        elif kind == 3:
            del content[at : at + int(random.integers(1, 9))]
        elif at < len(content):
            content[at] = int(random.integers(256)) if kind == 4 else content[at] ^ (1 << int(random.integers(8)))
    return bytes(content)


def pick(choices, random):
    """One of them."""
    return choices[int(random.integers(len(choices)))]


def replaced(pattern, text, new, random):
    """One match of a pattern, changed to `new`."""
    matches = list(pattern.finditer(text))
    if not matches:
        return text
    one = pick(matches, random)
    return text[: one.start()] + new + text[one.end() :]


def number(text, random):
    """A number is another one, or none."""
    return replaced(NUMBER, text, pick(NUMBERS, random), random)


def counted(text, random):
    """A whole number is off by a little: counts, ids, channels."""
    matches = [one for one in re.finditer(r"\d+", text) if len(one[0]) < 16]
    if not matches:
        return text
    one = pick(matches, random)
    return text[: one.start()] + str(int(one[0]) + int(random.integers(-2, 3))) + text[one.end() :]


def value(text, random):
    """A value behind a colon is of another type."""
    return replaced(JSON_VALUE, text, pick(VALUES, random), random)


def key(text, random):
    """A word in quotes is another, or its quotes are gone."""
    words = QUOTED.findall(text)
    return replaced(QUOTED, text, pick([*words[:50], '"x"', "x", '""', '"'], random), random)


def tag(text, random):
    """An element is gone, doubled, or another."""
    tags = TAG.findall(text)
    return replaced(TAG, text, pick([*tags[:50], "", "<a>", "</a>", "<a/>", "<"], random), random)


def with_line(change):
    """Changes one line alone."""

    def changed(text, random):
        lines = text.split("\n")
        at = int(random.integers(len(lines)))
        lines[at : at + 1] = change(lines[at], random)
        return "\n".join(lines)

    return changed


def fields_swapped(line, random):
    """Two fields change places."""
    parts = re.split(r"([\t ,]+)", line)
    if len(parts) > 2:
        one, two = (2 * int(random.integers((len(parts) + 1) // 2)) for _ in range(2))
        parts[one], parts[two] = parts[two], parts[one]
    return ["".join(parts)]


def field_gone(line, random):
    """A field is taken out, with what stands before it."""
    parts = re.split(r"([\t ,]+)", line)
    at = 2 * int(random.integers((len(parts) + 1) // 2))
    del parts[max(at - 1, 0) : at + 1]
    return ["".join(parts)]


def field_doubled(line, random):
    """A field stands there twice."""
    parts = re.split(r"([\t ,]+)", line)
    at = 2 * int(random.integers((len(parts) + 1) // 2))
    parts[at : at + 1] = [parts[at], parts[1] if len(parts) > 1 else "\t", parts[at]]
    return ["".join(parts)]


def line_cut(line, random):
    """A line ends early."""
    return [line[: int(random.integers(len(line) + 1))]]


def line_gone(line, random):
    """A line less."""
    return []


def line_doubled(line, random):
    """A line more, or two thousand."""
    return [line] * pick((2, 2, 2, 2, 2000), random)


def lines_swapped(text, random):
    """Two lines change places."""
    lines = text.split("\n")
    one, two = (int(random.integers(len(lines))) for _ in range(2))
    lines[one], lines[two] = lines[two], lines[one]
    return "\n".join(lines)


def cut(text, random):
    """The file ends early, or begins late."""
    at = int(random.integers(len(text) + 1))
    return pick((text[:at], text[:at], text[at:]), random)


def piece(text, random):
    """Something stands where it should not."""
    at = int(random.integers(len(text) + 1))
    return text[:at] + pick(PIECES, random) * pick((1, 1, 1, 1, 50), random) + text[at:]


def grown(text, random):
    """A stretch stands there very often: long lines, deep nesting, many rows."""
    at = int(random.integers(len(text) + 1))
    stretch = text[at : at + int(random.integers(1, 40))] or "x"
    return text[:at] + stretch * min(pick((100, 1000, 20000), random), MOST_CHARACTERS // len(stretch)) + text[at:]


def ends(text, random):
    """Other ends of lines."""
    return text.replace("\n", pick(("\r\n", "\r", "\n\n", "\n\r", "\u2028", " \n", "\x0b"), random))


def spliced(text, other, random):
    """The beginning of one and the end of another."""
    at, behind = int(random.integers(len(text) + 1)), int(random.integers(len(other) + 1))
    return text[:at] + other[behind:]


CHANGES = [
    *(number, number, number, counted, counted, value, value, key, tag, cut, piece, piece, lines_swapped, ends),
    *(with_line(fields_swapped), with_line(field_gone), with_line(field_doubled), with_line(line_cut)),
    *(with_line(line_gone), with_line(line_doubled), grown),
]  # fmt: skip
