"""Segments in rows with tabs between the cells: see `rows.py`."""

from __future__ import annotations

from audiocnn.formats.rows import RowsWriter, read_found

__all__ = ["Writer", "read_found"]


class Writer(RowsWriter):
    """TSV."""

    separator = "\t"
