"""Label formats, one file each. To add one: write the file, with `read`, and name it here.

A reader takes a path and gives, for each recording that the file names (by file name, or by stem where the
format knows no more), its annotations as they stand there. What cannot be parsed is a LabelError with file
and line; whether the times make sense (their order, the end of the recording) is judged by `ingest`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from audiocnn.errors import LabelError, did_you_mean
from audiocnn.filenames import show_name
from audiocnn.labels import Annotation

Labels = dict[str, list[Annotation]]

# format -> suffixes of its files, in the order in which they are looked for beside a recording
READERS: dict[str, tuple[str, ...]] = {
    "rttm": (".rttm",),
    "audacity": (".txt",),
    "dcase": (".tsv", ".csv"),
}
LABEL_SUFFIXES = tuple(suffix for suffixes in READERS.values() for suffix in suffixes)


def label_reader(name: str) -> Callable[[Path], Labels]:
    """The `read` function of a format; LabelError for an unknown one."""
    if name not in READERS:
        raise LabelError(f'unknown label format "{name}"; {did_you_mean(name, READERS)}')
    reader: Callable[[Path], Labels] = importlib.import_module(f"audiocnn.formats.{name}").read
    return reader


def label_format(path: Path) -> str:
    """The label format that a file's suffix stands for; LabelError for none."""
    for name, suffixes in READERS.items():
        if path.suffix.lower() in suffixes:
            return name
    ends = path.suffix or "nothing"
    raise LabelError(f"{show_name(path)}: no label format ends in {ends}; known: {' '.join(LABEL_SUFFIXES)}")


def read_labels(path: Path) -> Labels:
    """Read a file of labels, its format by its suffix."""
    return label_reader(label_format(path))(path)
