"""A table of corrections that is written while a person listens. It is saved atomically after each change.

Other programs may change the table at the same time, such as a second review of the same recordings. Before each save
it is read again under a lock, and only the rows of the recording in question change. All other rows, and extra columns,
are kept.
"""

from __future__ import annotations

import csv
import io
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Literal

from audiocnn.data.sources.corrections import LEFT_OUT, TIME_COLUMNS, Correction, Corrections, corrections_in
from audiocnn.errors import UsageError, show_name
from audiocnn.files import lock, write_whole
from audiocnn.labels.formats import dcase
from audiocnn.labels.formats.columns import NamedCells
from audiocnn.labels.formats.table import CELL_SEPARATORS
from audiocnn.labels.formats.text import DelimitedTable, escape_cell, read_table
from audiocnn.units import round_seconds

_COLUMNS = ("filename", "label")
_PATIENCE_SECONDS = 10.0  # to wait for another process to save
_TEMPORARY = "[a-z0-9_]{8}"  # suffix of incomplete files that a killed process left behind


Said = Correction | None | Literal[""]
"""What a table says about a recording. None: excluded; "": nothing."""


class ChangedElsewhereError(Exception):
    """The table's entry for a recording differs from what the caller last saw. now: the present entry."""

    def __init__(self, now: Said) -> None:
        super().__init__("changed elsewhere")
        self.now = now


class CorrectionTable:
    """`rows` holds the content of the table; `set` changes it. timed: the corrections are segments, not labels of whole
    clips."""

    def __init__(self, path: Path, timed: bool = False) -> None:
        """Raises UsageError for a name that is not a table's, LabelError if the file exists but is not a table of
        corrections."""
        self.path, self.timed = path, timed
        if path.suffix.lower().removeprefix(".") not in CELL_SEPARATORS:
            raise UsageError(f"-o {show_name(path)}: not a table; choose a name that ends in .csv or .tsv")
        if path.is_dir():
            raise UsageError(f"-o {show_name(path)}: is a folder; name a file in it")
        if not path.absolute().parent.is_dir():
            raise UsageError(
                f"-o {show_name(path)}: the folder {show_name(path.parent)} does not exist; create it first"
            )
        self._guard = Lock()
        with self._locked():
            self._sweep()
            self.rows: Corrections = corrections_in(self._read())

    def of(self, name: str) -> Said:
        return self.rows.get(name, "")

    def set(self, name: str, right: Said, seen: Said = "") -> None:
        """Save the correct labels of a recording. seen: the entry that the caller last saw. Raises
        ChangedElsewhereError if the entry is different now, UsageError if the table cannot be written, LabelError if it
        can no longer be read."""
        cells = self._cells(name, right)
        with self._guard, self._locked():
            table = self._read()
            self.rows = corrections_in(table)
            if (now := self.of(name)) != seen:
                raise ChangedElsewhereError(now)
            columns, rows = table.columns, [row for _, row in table.rows]
            more = [column for column in ("filename", *self._own_columns()) if column not in columns]
            columns = (*columns, *more)
            if cells and "onset" in columns:
                cells = [dict.fromkeys(TIME_COLUMNS, "") | row for row in cells]
            places = [k for k, row in enumerate(rows) if dcase.normal_name(row["filename"]) == name]
            kept = dict(rows[places[0]]) if places else {}
            at = places[0] if places else len(rows)
            changed = [kept | row for row in cells]
            rows = [*rows[:at], *changed, *(row for k, row in enumerate(rows[at:], at) if k not in places)]
            self._write(columns, rows)
            self.rows = corrections_in(self._read())

    def _own_columns(self) -> tuple[str, ...]:
        return (*TIME_COLUMNS, "label") if self.timed else ("label",)

    def _cells(self, name: str, correction: Said) -> list[NamedCells]:
        if correction == "":
            return []
        if correction is None:
            return [{"filename": name, "label": LEFT_OUT}]
        if correction.annotations is None:
            return [{"filename": name, "label": label} for label in correction.labels]
        found = [
            {
                "filename": name,
                "onset": str(round_seconds(one.onset)),
                "offset": str(round_seconds(one.offset)),
                "label": escape_cell(one.label),
            }
            for one in correction.annotations
        ]
        return found or [{"filename": name, "onset": "", "offset": "", "label": ""}]

    def _read(self) -> DelimitedTable:
        try:
            empty = not self.path.stat().st_size
        except FileNotFoundError:
            empty = True
        return DelimitedTable(self.path, ("filename", *self._own_columns()), []) if empty else read_table(self.path)

    def _write(self, columns: tuple[str, ...], rows: list[NamedCells]) -> None:
        text = io.StringIO()
        delimiter = CELL_SEPARATORS[self.path.suffix.lower().removeprefix(".")]
        writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([row.get(column, "") for column in columns] for row in rows)
        try:
            write_whole(self.path, text.getvalue().encode("utf-8", "surrogateescape"))
        except OSError as problem:
            what = f"{show_name(self.path)}: cannot be written ({problem.strerror})"
            raise UsageError(f"{what}; free some space, or change its permissions") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time, by means of a lock file beside the table, which is removed afterwards. Where locks are
        not supported, it does not wait."""
        path = self.path.with_name(f".{self.path.name}.lock")
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
            except OSError as problem:
                what = f"{show_name(self.path.absolute().parent)}: cannot be written ({problem.strerror})"
                raise UsageError(f"{what}; choose another table with -o, or change its permissions") from None
            try:
                if lock(handle) is not False and _is_at(handle, path):
                    try:
                        yield
                    finally:
                        path.unlink(missing_ok=True)
                    return
            finally:
                os.close(handle)
            if time.monotonic() > end:
                what = f"{show_name(self.path)}: locked by another process for more than {_PATIENCE_SECONDS:g} s"
                raise UsageError(f"{what}; end that process, or choose another table with -o")
            time.sleep(0.01)

    def _sweep(self) -> None:
        """Remove incomplete files of a killed process. Call it with the lock held."""
        left = re.compile(re.escape(f".{self.path.name}.") + _TEMPORARY)
        with suppress(OSError):
            for path in self.path.absolute().parent.iterdir():
                if left.fullmatch(path.name):
                    path.unlink()


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file still exists under its name: the previous holder of the lock may have removed it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
