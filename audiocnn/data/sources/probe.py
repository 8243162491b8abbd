"""Look at a source before it is ingested: rates and channels, from the headers of some recordings, and whether clips
have several labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from audiocnn.audio.recording import read_info
from audiocnn.data.sources import read_source
from audiocnn.data.sources.settings import LABEL_SEPARATORS, TABLE_SUFFIXES, DataSettings
from audiocnn.errors import RecordingError

_MOST_HEADERS = 400
_SEVERAL_SHARE = 0.05  # of the clips: if fewer have two labels, these are typing errors


@dataclass(frozen=True)
class Originals:
    """rates, channels: value -> recordings, of those whose headers were read. timed: there are segments, rather than
    labels of whole clips. left_out: suffix -> files that need ffmpeg, which is missing."""

    rates: Counter[int]
    channels: Counter[int]
    timed: bool
    left_out: Counter[str]


def originals_of(data: DataSettings, most: int = _MOST_HEADERS) -> Originals:
    """Look at a source, at `most` of its recordings, evenly spread. Raises as `read_source` does."""
    left_out = Counter[str]()
    source = read_source(data, left_out)
    rates, channels = Counter[int](), Counter[int]()
    # To read the header of one at an address, it would have to be copied.
    for path in take_evenly([item.path for item in source.items if isinstance(item.path, Path)], most):
        try:
            info = read_info(path)
        except RecordingError:  # ingest says what is wrong with it
            continue
        rates[info.sample_rate] += 1
        channels[info.channels] += 1
    return Originals(rates, channels, any(item.annotated for item in source.items), left_out)


def take_evenly(paths: Sequence[Path], most: int) -> list[Path]:
    step = max(1.0, len(paths) / most)
    return [paths[int(number * step)] for number in range(min(len(paths), most))]


def with_several(data: DataSettings, asked_for: bool = False) -> DataSettings:
    """The settings with labels_per_clip = "several" and the separator, if this is a table in which clips have several
    labels, on several rows or in one cell; else unchanged. asked_for: for any table of clips, even if none has two."""
    if data.source.suffix.lower() not in TABLE_SUFFIXES or data.labels_per_clip == "several":
        return data
    several = replace(data, labels_per_clip="several")
    items = [item for item in read_source(several).items if item.label]
    whole = {label for item in items for label in item.labels}
    least = 1.0 if asked_for else _SEVERAL_SHARE * len(items)
    for separator in (*(one for one in LABEL_SEPARATORS if any(one in label for label in whole)), ""):
        found = replace(several, separator=separator)
        separated = [item for item in read_source(found).items if item.label] if separator else items
        if separated and sum(bool(item.more) for item in separated) >= least:
            return found
    return several if asked_for and items else data
