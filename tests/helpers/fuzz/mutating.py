"""Mutations of text files: most keep the structure (lines, fields, numbers, quotes, values), some are plain noise.

`random` is always a numpy Generator: the same seed gives the same mutants.
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
    """A copy of bytes with one to three changes, or, in a share `noise` of the cases, random bytes.

    others: files from which pieces are taken.
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
    """The text in UTF-8, sometimes in another encoding."""
    if random.random() < 0.06:
        return text.encode(pick(ENCODINGS, random), "replace")
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates that stand for no byte
        return text.encode("utf-8", "surrogatepass")


def noisy(data, random):
    """Flip, insert, remove or cut off bytes; or return only noise."""
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
    """A random element."""
    return choices[int(random.integers(len(choices)))]


def replaced(pattern, text, new, random):
    """Replace one match of a pattern by `new`."""
    matches = list(pattern.finditer(text))
    if not matches:
        return text
    one = pick(matches, random)
    return text[: one.start()] + new + text[one.end() :]


def number(text, random):
    """Replace a number by another one, or by something else."""
    return replaced(NUMBER, text, pick(NUMBERS, random), random)


def counted(text, random):
    """Change a whole number slightly: counts, ids, channels."""
    matches = [one for one in re.finditer(r"\d+", text) if len(one[0]) < 16]
    if not matches:
        return text
    one = pick(matches, random)
    return text[: one.start()] + str(int(one[0]) + int(random.integers(-2, 3))) + text[one.end() :]


def value(text, random):
    """Give a value after a colon another type."""
    return replaced(JSON_VALUE, text, pick(VALUES, random), random)


def key(text, random):
    """Replace a word in quotes, or remove its quotes."""
    words = QUOTED.findall(text)
    return replaced(QUOTED, text, pick([*words[:50], '"x"', "x", '""', '"'], random), random)


def tag(text, random):
    """Remove, double or replace an element."""
    tags = TAG.findall(text)
    return replaced(TAG, text, pick([*tags[:50], "", "<a>", "</a>", "<a/>", "<"], random), random)


def with_line(change):
    """Change only one line."""

    def changed(text, random):
        lines = text.split("\n")
        at = int(random.integers(len(lines)))
        lines[at : at + 1] = change(lines[at], random)
        return "\n".join(lines)

    return changed


def fields_swapped(line, random):
    """Swap two fields."""
    parts = re.split(r"([\t ,]+)", line)
    if len(parts) > 2:
        one, two = (2 * int(random.integers((len(parts) + 1) // 2)) for _ in range(2))
        parts[one], parts[two] = parts[two], parts[one]
    return ["".join(parts)]


def field_gone(line, random):
    """Remove a field and its separator."""
    parts = re.split(r"([\t ,]+)", line)
    at = 2 * int(random.integers((len(parts) + 1) // 2))
    del parts[max(at - 1, 0) : at + 1]
    return ["".join(parts)]


def field_doubled(line, random):
    """Double a field."""
    parts = re.split(r"([\t ,]+)", line)
    at = 2 * int(random.integers((len(parts) + 1) // 2))
    parts[at : at + 1] = [parts[at], parts[1] if len(parts) > 1 else "\t", parts[at]]
    return ["".join(parts)]


def line_cut(line, random):
    """Cut off the end of a line."""
    return [line[: int(random.integers(len(line) + 1))]]


def line_gone(line, random):
    """Remove a line."""
    return []


def line_doubled(line, random):
    """Repeat a line, up to two thousand times."""
    return [line] * pick((2, 2, 2, 2, 2000), random)


def lines_swapped(text, random):
    """Swap two lines."""
    lines = text.split("\n")
    one, two = (int(random.integers(len(lines))) for _ in range(2))
    lines[one], lines[two] = lines[two], lines[one]
    return "\n".join(lines)


def cut(text, random):
    """Cut off the end or the beginning of the file."""
    at = int(random.integers(len(text) + 1))
    return pick((text[:at], text[:at], text[at:]), random)


def piece(text, random):
    """Insert a piece of text in a wrong place."""
    at = int(random.integers(len(text) + 1))
    return text[:at] + pick(PIECES, random) * pick((1, 1, 1, 1, 50), random) + text[at:]


def grown(text, random):
    """Repeat a section very often: long lines, deep nesting, many rows."""
    at = int(random.integers(len(text) + 1))
    stretch = text[at : at + int(random.integers(1, 40))] or "x"
    return text[:at] + stretch * min(pick((100, 1000, 20000), random), MOST_CHARACTERS // len(stretch)) + text[at:]


def ends(text, random):
    """Use other line ends."""
    return text.replace("\n", pick(("\r\n", "\r", "\n\n", "\n\r", "\u2028", " \n", "\x0b"), random))


def spliced(text, other, random):
    """Join the beginning of one file and the end of another."""
    at, behind = int(random.integers(len(text) + 1)), int(random.integers(len(other) + 1))
    return text[:at] + other[behind:]


CHANGES = [
    *(number, number, number, counted, counted, value, value, key, tag, cut, piece, piece, lines_swapped, ends),
    *(with_line(fields_swapped), with_line(field_gone), with_line(field_doubled), with_line(line_cut)),
    *(with_line(line_gone), with_line(line_doubled), grown),
]  # fmt: skip
