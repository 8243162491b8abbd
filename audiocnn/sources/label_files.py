"""A file of labels as a source: it names the recordings, and says what is in them."""

from __future__ import annotations

import os
from pathlib import Path

from audiocnn.dataset_writer import Item
from audiocnn.filenames import show_name
from audiocnn.formats import FORMATS, label_format, label_reader
from audiocnn.formats.sniffing import sniff_file
from audiocnn.labels import Annotation
from audiocnn.locating import Recordings
from audiocnn.sources.tables import Refused

TABLE_FORMATS = ("dcase",)  # whose other columns count too: see `tables.py`
KALDI_TABLES = ("segments", "wav.scp")
RECORDS = (".json", ".jsonl", ".ndjson", ".gz")  # may hold anything, so that they must tell what they are


def holds_labels(path: Path) -> bool:
    """Whether a file is one of labels by its name and, where that does not tell, by how it begins."""
    if not any(one.fits(path) for one in FORMATS.values()) or label_format(path) in TABLE_FORMATS:
        return False
    return path.suffix.lower() not in RECORDS or sniff_file(path) is not None


def is_kaldi(folder: Path) -> bool:
    """Whether a folder is a data directory of Kaldi, with segments."""
    return all((folder / name).is_file() for name in KALDI_TABLES)


def read_label_file(path: Path) -> tuple[list[Item], Refused]:
    """Items in the order of the file; the recordings are looked for under its folder. LabelError: it cannot be read."""
    recordings = Recordings(path.parent)
    known: dict[Path, list[Annotation]] = {}
    refused: Refused = []
    for name, found_in_it in label_reader(label_format(path))(path).items():
        found = recordings.find(name, path)
        if found is None:
            why = "there is no such recording, or several; correct the name"
            refused.append((show_name(name), f"{show_name(path)} names it, but {why}"))
            continue
        known.setdefault(found, []).extend(found_in_it)
    items = [
        Item(found, _name(found, path.parent), annotated=True, annotations=tuple(found_in_it))
        for found, found_in_it in known.items()
    ]
    return items, refused


def _name(recording: Path, folder: Path) -> str:
    """The recording's name from the folder on; its whole name where it lies elsewhere."""
    inside = os.path.relpath(recording, folder)
    return recording.as_posix() if inside.startswith(os.pardir) else Path(inside).as_posix()
