"""Seconds at the borders, samples inside: the one place where the two are exchanged."""

from __future__ import annotations

import math
import re

SECONDS_DIGITS = 4  # behind the point, where seconds are printed and stored
_HEARD_RATES = 4_000, 48_000  # Hz, of recordings of what people hear


def to_samples(seconds: float, sample_rate: int) -> int:
    """The nearest whole number of samples; halves go up, as a person rounds."""
    return math.floor(seconds * sample_rate + 0.5)


def to_seconds(samples: int, sample_rate: int) -> float:
    return samples / sample_rate


def round_seconds(seconds: float) -> float:
    """Seconds as they are printed and stored: to a tenth of a millisecond, which is finer than any hop."""
    return round(float(seconds), SECONDS_DIGITS)


def count_noun(count: int, noun: str) -> str:
    """`1 clip`, `1,234 clips`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def clock(seconds: float) -> str:
    """Seconds as a person reads them: `7.3 s`, `12:05`, `3:07:10`."""
    if not math.isfinite(seconds) or seconds < 0:
        return "?"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def plural(number: int, word: str) -> str:
    """`1 segment`, `2 segments`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def heard_rate(rate: int) -> int:
    """The rate in Hz at which people would play a recording of a rate, to hear it: bats slowed down, whales sped up."""
    return min(max(rate, _HEARD_RATES[0]), _HEARD_RATES[1])


def time_scale(rate: int) -> float:
    """How much longer sounds are in recordings of a rate in Hz than those that people hear; 1 where they hear them."""
    return heard_rate(rate) / rate


def format_speed(audio_seconds: float, seconds: float) -> str:
    """How much faster than the recording plays: `310x real time`."""
    if seconds <= 0:
        return ""
    times = audio_seconds / seconds
    return f"{times:.0f}x real time" if times >= 10 else f"{times:.1f}x real time"


_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")


def parse_number(word: str) -> float:
    """A number, also with a decimal comma, as spreadsheets of many countries write it. ValueError: none."""
    return float(word.replace(",", ".") if _DECIMAL_COMMA.fullmatch(word) else word)


def is_numeric(word: str) -> bool:
    """Whether `parse_number` takes a word."""
    try:
        parse_number(word)
    except ValueError:
        return False
    return True
