"""What a source is like before it is ingested: rates and channels by the headers of as many as tell enough, and whether
its clips have several labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from audiocnn.errors import RecordingError
from audiocnn.recording import read_info
from audiocnn.sources import DataSettings, read_source
from audiocnn.sources.settings import SEPARATORS, TABLE_SUFFIXES

MOST_HEADERS = 400
SEVERAL_SHARE = 0.05  # of the clips: where fewer have two labels, these are slips of the pen


@dataclass(frozen=True)
class Originals:
    """rates and channels: value -> recordings, of those whose headers were read. timed: segments are known, rather than
    labels of whole clips. left_out: by suffix, what only ffmpeg reads, where there is none."""

    rates: Counter[int]
    channels: Counter[int]
    timed: bool
    left_out: Counter[str]


def originals_of(data: DataSettings, most: int = MOST_HEADERS) -> Originals:
    """Look at a source, at `most` of its recordings, evenly spread. Raises as `read_source` does."""
    left_out = Counter[str]()
    source = read_source(data, left_out)
    rates, channels = Counter[int](), Counter[int]()
    # To read the header of one at an address, it would have to be copied.
    for path in spread([item.path for item in source.items if isinstance(item.path, Path)], most):
        try:
            info = read_info(path)
        except RecordingError:  # ingest says what is wrong with it
            continue
        rates[info.sample_rate] += 1
        channels[info.channels] += 1
    return Originals(rates, channels, any(item.annotated for item in source.items), left_out)


def spread(paths: Sequence[Path], most: int) -> list[Path]:
    """So many at most, evenly spread."""
    step = max(1.0, len(paths) / most)
    return [paths[int(number * step)] for number in range(min(len(paths), most))]


def with_several(data: DataSettings, asked_for: bool = False) -> DataSettings:
    """The settings of a table in which clips have several labels, on several rows or in one cell, saying so; of any
    other source, as they are. asked_for: a table of clips is one of these in any case, even where none has two."""
    if data.source.suffix.lower() not in TABLE_SUFFIXES or data.labels_per_clip == "several":
        return data
    asked = replace(data, labels_per_clip="several")
    items = [item for item in read_source(asked).items if item.label]
    whole = {label for item in items for label in item.labels}
    least = 1.0 if asked_for else SEVERAL_SHARE * len(items)
    for separator in (*(one for one in SEPARATORS if any(one in label for label in whole)), ""):
        found = replace(asked, separator=separator)
        parted = [item for item in read_source(found).items if item.label] if separator else items
        if parted and sum(bool(item.more) for item in parted) >= least:
            return found
    return asked if asked_for and items else data
