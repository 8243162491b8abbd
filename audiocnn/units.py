"""Conversion between seconds, which users see, and samples, which the code counts."""

from __future__ import annotations

import math
import re

SECONDS_DIGITS = 4  # decimals of seconds that are printed and stored
_HEARD_RATES = 4_000, 48_000  # Hz: usual rates of audible recordings


def to_samples(seconds: float, sample_rate: int) -> int:
    """The nearest integer number of samples; halves are rounded up."""
    return math.floor(seconds * sample_rate + 0.5)


def to_seconds(samples: int, sample_rate: int) -> float:
    return samples / sample_rate


def round_seconds(seconds: float) -> float:
    """Seconds rounded for printing and storing, to 0.1 ms, which is finer than any hop."""
    return round(float(seconds), SECONDS_DIGITS)


def count_noun(count: int, noun: str) -> str:
    """`1 clip`, `1,234 clips`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def clock(seconds: float) -> str:
    """Seconds for display: `7.3 s`, `12:05`, `3:07:10`."""
    if not math.isfinite(seconds) or seconds < 0:
        return "?"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def parse_clock(text: str) -> float:
    """Seconds from `90`, `1:30` or `1:02:03.5`. Raises ValueError."""
    *before, last = text.split(":")
    if len(before) > 2 or not all(part.isdecimal() for part in before) or (before and last.startswith(("+", "-"))):
        raise ValueError(text)
    seconds = float(last)
    if (before and not 0 <= seconds < 60) or (len(before) == 2 and int(before[1]) > 59):
        raise ValueError(text)
    for unit, part in zip((60, 3600), reversed(before), strict=False):
        seconds += unit * int(part)
    return seconds


def plural(number: int, word: str) -> str:
    """`1 segment`, `2 segments`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def heard_rate(rate: int) -> int:
    """The playback rate in Hz that makes a recording audible: ultrasound is slowed down, infrasound is sped up."""
    return min(max(rate, _HEARD_RATES[0]), _HEARD_RATES[1])


def time_scale(rate: int) -> float:
    """Typical length of sounds at a sample rate, relative to audible recordings; 1 for audible rates."""
    return heard_rate(rate) / rate


def format_speed(audio_seconds: float, seconds: float) -> str:
    """Processing speed relative to playback: `310x real time`."""
    if seconds <= 0:
        return ""
    times = audio_seconds / seconds
    return f"{times:.0f}x real time" if times >= 10 else f"{times:.1f}x real time"


_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")


def parse_number(word: str) -> float:
    """Parse a number, also with a decimal comma, which spreadsheets of many countries write. Raises ValueError."""
    return float(word.replace(",", ".") if _DECIMAL_COMMA.fullmatch(word) else word)


def is_numeric(word: str) -> bool:
    """Whether `parse_number` accepts the word."""
    try:
        parse_number(word)
    except ValueError:
        return False
    return True
