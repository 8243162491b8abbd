"""Label formats, one file each. To add one: write the file, with `read`, and name it here.

A reader takes a path and gives, for each recording it names (a file name, or a stem where the format knows no more), its
annotations as they stand in the file. What cannot be parsed is a LabelError with file and line; whether the times make
sense (order, end of the recording) is judged where the recording is at hand.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from audiocnn.errors import LabelError, did_you_mean
from audiocnn.labels import Annotation

Labels = dict[str, list[Annotation]]

# format -> suffixes of its files, in the order in which they are looked for beside a recording
READERS: dict[str, tuple[str, ...]] = {
    "rttm": (".rttm",),
    "audacity": (".txt",),
    "dcase": (".tsv", ".csv"),
}


def label_reader(name: str) -> Callable[[Path], Labels]:
    """The `read` function of a format; LabelError for an unknown one."""
    if name not in READERS:
        raise LabelError(f'unknown label format "{name}"; {did_you_mean(name, READERS)}')
    reader: Callable[[Path], Labels] = importlib.import_module(f"audiocnn.formats.{name}").read
    return reader


def format_of(path: Path) -> str:
    """The label format that a file's suffix stands for; LabelError for none."""
    for name, suffixes in READERS.items():
        if path.suffix.lower() in suffixes:
            return name
    known = " ".join(suffix for suffixes in READERS.values() for suffix in suffixes)
    raise LabelError(f"{path}: no label format ends in {path.suffix or 'nothing'}; known: {known}")


def read_labels(path: Path) -> Labels:
    """Read a file of labels by its suffix."""
    return label_reader(format_of(path))(path)
