"""Label formats. To add one, write a file with a `LabelFormat` and add a line to `FORMATS`. If another format has the
same suffix, `sniff.py` must recognise how its files begin.

Text is written as UTF-8. Bytes of file names that are not UTF-8 appear as surrogates, as in `os.fsdecode`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from audiocnn.errors import LabelError, did_you_mean, show_name
from audiocnn.labels.formats.columns import LABEL_OPTION

if TYPE_CHECKING:
    from audiocnn.labels.formats.base import ColumnFormat, LabelFormat, LabelledRecording, Labels
    from audiocnn.labels.formats.columns import LabelColumn


@dataclass(frozen=True)
class Format:
    """home: the file and the class that reads and writes it. suffixes: of its files, the first one for new files. many:
    one file may hold several recordings. keeps: the information that survives writing and reading: the name of the file
    with its folder, channel, score, label, point (a segment without length), empty (a recording without segments)."""

    name: str
    home: str
    suffixes: tuple[str, ...]
    keeps: frozenset[str]
    many: bool = True

    def fits(self, path: Path) -> bool:
        """Whether a file name has one of the suffixes; Kaldi's `segments` is a whole name."""
        name = path.name.lower()
        return name.endswith(tuple(suffix.lower() for suffix in self.suffixes)) or name == self.suffixes[0][1:].lower()


def _format(name: str, home: str, suffixes: str, keeps: str, many: bool = True) -> Format:
    return Format(name, home, tuple(suffixes.split()), frozenset(keeps.split()), many)


_ALL = "file channel score label point"
_LIST = (
    _format("jsonl", "jsonl:JsonLines", ".jsonl .ndjson .json", f"{_ALL} empty"),
    _format("csv", "table:Csv", ".csv", _ALL),
    _format("tsv", "table:Tsv", ".tsv", _ALL),
    _format("rttm", "rttm:Rttm", ".rttm", "channel score label point"),
    _format("audacity", "audacity:Audacity", ".txt", "label point empty", many=False),
    _format("textgrid", "textgrid:TextGrid", ".TextGrid", "channel label empty", many=False),
    _format("dcase", "dcase:Dcase", ".tsv .csv", "file label point empty"),
    _format("srt", "subtitles:SubRip", ".srt", "label point empty", many=False),
    _format("vtt", "subtitles:WebVtt", ".vtt", "label point empty", many=False),
    _format("kaldi", "kaldi:Kaldi", ".segments", "channel label"),
    _format("lhotse", "lhotse:Lhotse", ".jsonl .jsonl.gz .json", _ALL),
    _format("nemo", "nemo:Nemo", ".json .jsonl", _ALL),
    _format("raven", "raven:Raven", ".selections.txt .txt", _ALL),
    _format("elan", "elan:Elan", ".eaf", "file channel label empty", many=False),
)
FORMATS: dict[str, Format] = {one.name: one for one in _LIST}
# The order in which formats are searched for beside a recording, and tried if they share a suffix; any other comes
# last.
_FIRST = ("rttm", "audacity", "dcase", "textgrid", "elan", "raven", "csv", "tsv", "jsonl", "kaldi", "lhotse", "nemo")
READERS: dict[str, tuple[str, ...]] = {name: FORMATS[name].suffixes for name in dict.fromkeys([*_FIRST, *FORMATS])}
LABEL_SUFFIXES = tuple(dict.fromkeys(suffix for suffixes in READERS.values() for suffix in suffixes))
TABLES = ("dcase", "csv", "tsv")  # which may have extra columns
SUBTITLES = ("srt", "vtt")  # mostly transcripts: they are read if named, but not searched for


def format_class(name: str) -> type[LabelFormat]:
    """The class of a format, imported on demand. Raises LabelError for an unknown format."""
    if name not in FORMATS:
        raise LabelError(f'unknown label format "{name}"; {did_you_mean(name, FORMATS)}')
    file, _, inside = FORMATS[name].home.partition(":")
    found: type[LabelFormat] = getattr(importlib.import_module(f"audiocnn.labels.formats.{file}"), inside)
    return found


def format_writer(name: str) -> LabelFormat:
    """A new writer of a format. Raises LabelError for an unknown format."""
    return format_class(name)()


def read_labelled_recordings(
    path: Path, name: str | None = None, label_column: str | None = None
) -> list[LabelledRecording]:
    """Read a label file with all details; its format is found by `label_format` if not given. label_column: see
    `find_label_column`."""
    reader = _reader(path, name, label_column)
    return reader.read(path, label_column) if _has_columns(reader) else reader.read(path)


def read_labels(path: Path, name: str | None = None, label_column: str | None = None) -> Labels:
    """Read only the annotations; the format is found by `label_format` if not given. label_column: see
    `find_label_column`."""
    reader = _reader(path, name, label_column)
    return reader.read_annotations(path, label_column) if _has_columns(reader) else reader.read_annotations(path)


def read_makers(path: Path, name: str | None = None) -> list[str]:
    """The models that made the labels of a file, if its format states them. Raises LabelError."""
    if (name or label_format(path)) != "jsonl":
        return []
    return list(dict.fromkeys(one.model for one in read_labelled_recordings(path, "jsonl") if one.model))


def find_label_column(path: Path, name: str | None = None, label_column: str | None = None) -> LabelColumn | None:
    """The column of a table from which `read_labels` takes the labels; `label_column` selects it. None for formats
    without columns. Raises LabelError if the column does not exist or is ambiguous, or if one is given for a format
    without columns."""
    reader = _reader(path, name, label_column)
    return reader.label_column(path, label_column) if _has_columns(reader) else None


def has_columns(name: str) -> bool:
    """Whether the labels of a format are in a column whose name or meaning varies."""
    return _has_columns(format_class(name))


def _reader(path: Path, name: str | None, label_column: str | None) -> type[LabelFormat]:
    name = name or label_format(path)
    reader = format_class(name)
    if label_column is not None and not _has_columns(reader):
        what = f"{name} has no columns"
        raise LabelError(f"{show_name(path)}: {what}, but {LABEL_OPTION} names one; omit it")
    return reader


def _has_columns(reader: type[LabelFormat]) -> TypeGuard[type[ColumnFormat]]:
    from audiocnn.labels.formats.base import ColumnFormat

    return issubclass(reader, ColumnFormat)


def recording_stem(path: Path, name: str) -> str:
    """The base name of the recording that a label file of this format belongs to: `a` for `a.selections.txt`."""
    if name == "raven":
        from audiocnn.labels.formats.raven import own_stem

        return own_stem(path)
    suffixes = sorted(FORMATS[name].suffixes, key=len, reverse=True)
    return next((path.name[: -len(end)] for end in suffixes if path.name.lower().endswith(end.lower())), path.stem)


def label_format(path: Path) -> str:
    """The format of a file, from its suffix, and from its beginning if several formats share the suffix.

    Raises LabelError if both are unknown.
    """
    from audiocnn.labels.formats.sniff import sniff_file

    fitting = [name for name in READERS if FORMATS[name].fits(path)]
    if len(fitting) == 1:
        return fitting[0]
    sniffed = sniff_file(path)
    tables = TABLES if path.suffix.lower() == ".txt" else ()  # also as spreadsheets save them
    if sniffed is not None and (sniffed in (*fitting, *tables) or not fitting):
        return sniffed
    if fitting:
        return fitting[0]
    shown, remedy = show_name(path), "with `convert`, use --from FORMAT"
    if path.suffix:
        known = " ".join(LABEL_SUFFIXES)
        raise LabelError(f"{shown}: {path.suffix} is not the suffix of a label format; known: {known}; {remedy}")
    raise LabelError(
        f"{shown}: neither its name nor its beginning is that of a label format; {remedy}: {' '.join(READERS)}"
    )
