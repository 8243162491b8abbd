"""Formats of labels, one file each. To add one: write the file, name it in `FORMATS` and say how it is told in
`sniffing.py`.

A file that writes has a class `Writer` (see `found.Writer`), made without arguments; the text goes out as UTF-8, and
what a name has of bytes that are none comes as surrogates of `os.fsdecode`. A file that reads has
`read_found(path) -> list[Found]`. What cannot be parsed is a LabelError with file and line; whether the times make
sense (their order, the end of the recording) is judged by whoever uses them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocnn.errors import LabelError, did_you_mean
from audiocnn.filenames import show_name
from audiocnn.labels import Annotation

if TYPE_CHECKING:
    from audiocnn.formats.found import Found, Writer

Labels = dict[str, list[Annotation]]  # file name, or stem where the format knows no more -> what is in it


@dataclass(frozen=True)
class Format:
    """suffixes: how names of its files end, the first one for files that are made. many: one file may hold several
    recordings. keeps: which of these come back when it is read: the name of the file with its folder, channel, score,
    label, point (a stretch of no length), empty (a recording without a segment)."""

    name: str
    suffixes: tuple[str, ...]
    keeps: frozenset[str]
    many: bool = True
    reads: bool = True
    writes: bool = True

    def fits(self, path: Path) -> bool:
        """Whether a name ends as those of its files do; of Kaldi's, `segments` is a whole name."""
        name = path.name.lower()
        return name.endswith(tuple(suffix.lower() for suffix in self.suffixes)) or name == self.suffixes[0][1:].lower()


def _format(name: str, suffixes: str, keeps: str, many: bool = True) -> Format:
    return Format(name, tuple(suffixes.split()), frozenset(keeps.split()), many)


_ALL = "file channel score label point"
_LIST = (
    _format("jsonl", ".jsonl .ndjson .json", f"{_ALL} empty"),
    _format("csv", ".csv", _ALL),
    _format("tsv", ".tsv", _ALL),
    _format("rttm", ".rttm", "channel score label point"),
    _format("audacity", ".txt", "label point empty", many=False),
    _format("textgrid", ".TextGrid", "channel label empty", many=False),
    _format("dcase", ".tsv .csv", "file label point empty"),
    _format("srt", ".srt", "label point empty", many=False),
    _format("vtt", ".vtt", "label point empty", many=False),
    _format("kaldi", ".segments", "channel label"),
    _format("lhotse", ".jsonl .jsonl.gz .json", _ALL),
    _format("nemo", ".json .jsonl", _ALL),
    _format("raven", ".selections.txt .txt", _ALL),
    _format("elan", ".eaf", "file channel label empty", many=False),
)
FORMATS: dict[str, Format] = {one.name: one for one in _LIST}

# format -> suffixes of its files, in the order in which they are looked for beside a recording
_ORDER = "rttm audacity dcase textgrid elan raven csv tsv jsonl kaldi lhotse nemo srt vtt"
READERS: dict[str, tuple[str, ...]] = {name: FORMATS[name].suffixes for name in _ORDER.split() if FORMATS[name].reads}
LABEL_SUFFIXES = tuple(dict.fromkeys(suffix for suffixes in READERS.values() for suffix in suffixes))
SUBTITLES = ("srt", "vtt")  # which mostly hold what is said: they are read where they are named, and not found


def format_module(name: str) -> Any:
    """The file of a format, imported when it is wanted. LabelError for an unknown one."""
    if name not in FORMATS:
        raise LabelError(f'unknown label format "{name}"; {did_you_mean(name, FORMATS)}')
    return importlib.import_module(f"audiocnn.formats.{name}")


def format_writer(name: str) -> Writer:
    """A new writer of a format. LabelError for an unknown one."""
    writer: Writer = format_module(name).Writer()
    return writer


def read_found(path: Path, name: str | None = None) -> list[Found]:
    """Read a file of labels with all that it says; its format by `label_format` where it is not given."""
    found: list[Found] = format_module(name or label_format(path)).read_found(path)
    return found


def label_reader(name: str) -> Callable[[Path], Labels]:
    """The annotations alone, by recording: the `read` of a format that has its own way, else what it finds."""
    module = format_module(name)
    reader: Callable[[Path], Labels] | None = getattr(module, "read", None)
    return reader or (lambda path: labels_in(module.read_found(path)))


def labels_in(found: list[Found]) -> Labels:
    """Recording -> its annotations, channel by channel."""
    labels: Labels = {}
    for one in found:
        labels.setdefault(one.file, []).extend(Annotation(s.start, s.end, s.label) for s in one.segments)
    return labels


def label_format(path: Path) -> str:
    """The format of a file: by the end of its name, and by its beginning where several formats share that end.

    LabelError: neither tells.
    """
    from audiocnn.formats.sniffing import sniff_file

    fitting = [name for name in READERS if FORMATS[name].fits(path)]
    if len(fitting) == 1:
        return fitting[0]
    told = sniff_file(path)
    if told is not None and (told in fitting or not fitting):
        return told
    if fitting:
        return fitting[0]
    shown, remedy = show_name(path), "`convert` takes --from FORMAT"
    if path.suffix:
        known = " ".join(LABEL_SUFFIXES)
        raise LabelError(f"{shown}: no label format ends in {path.suffix}; known: {known}; {remedy}")
    raise LabelError(f"{shown}: neither name nor beginning is that of a label format; {remedy}: {' '.join(READERS)}")


def read_labels(path: Path) -> Labels:
    """Read a file of labels, its format by `label_format`."""
    return label_reader(label_format(path))(path)
