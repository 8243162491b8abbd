"""A table of corrections that is written while somebody listens: saved after each change, whole or not at all.

Another program may change the table meanwhile, a second review of the same recordings among them. Before each save it
is read again under a lock, and only the rows of the recording in question change; all others, and further columns,
stay.
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
_PATIENCE_SECONDS = 10.0  # that another process may take to save
_TEMPORARY = "[a-z0-9_]{8}"  # how the names end of files that a killed process left half written


Said = Correction | None | Literal[""]
"""What a table says of a recording; None: that it is left out; "": nothing."""


class ChangedElsewhereError(Exception):
    """What a table says of a recording is not what was last seen there. now: what it says."""

    def __init__(self, now: Said) -> None:
        super().__init__("changed elsewhere")
        self.now = now


class CorrectionTable:
    """`rows` is what the table says; `set` changes it. timed: of segments, rather than of whole clips."""

    def __init__(self, path: Path, timed: bool = False) -> None:
        """UsageError: a name that no table has. LabelError: the file is there, and no table of corrections."""
        self.path, self.timed = path, timed
        if path.suffix.lower().removeprefix(".") not in CELL_SEPARATORS:
            raise UsageError(f"-o {show_name(path)}: is no table; end its name in .csv or .tsv")
        if path.is_dir():
            raise UsageError(f"-o {show_name(path)}: is a folder; name a file in it")
        if not path.absolute().parent.is_dir():
            raise UsageError(f"-o {show_name(path)}: there is no folder {show_name(path.parent)}; make it first")
        self._guard = Lock()
        with self._locked():
            self._sweep()
            self.rows: Corrections = corrections_in(self._read())

    def of(self, name: str) -> Said:
        return self.rows.get(name, "")

    def set(self, name: str, right: Said, seen: Said = "") -> None:
        """Save what is right of a recording. seen: what the table was last seen to say of it. ChangedElsewhereError: it
        says something else by now. UsageError: it cannot be written; LabelError: it cannot be read any more."""
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
            raise UsageError(f"{what}; make room, or change its permissions") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time, by a file beside the table that goes again; where there are no locks, no wait."""
        path = self.path.with_name(f".{self.path.name}.lock")
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
            except OSError as problem:
                what = f"{show_name(self.path.absolute().parent)}: cannot be written ({problem.strerror})"
                raise UsageError(f"{what}; name another table with -o, or change its permissions") from None
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
                what = f"{show_name(self.path)}: another process has been saving it for {_PATIENCE_SECONDS:g} s"
                raise UsageError(f"{what}; end it, or name another table with -o")
            time.sleep(0.01)

    def _sweep(self) -> None:
        """Take away what a process that was killed had half written; whoever has the lock is alone."""
        left = re.compile(re.escape(f".{self.path.name}.") + _TEMPORARY)
        with suppress(OSError):
            for path in self.path.absolute().parent.iterdir():
                if left.fullmatch(path.name):
                    path.unlink()


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file still has its name: who had the lock before may have taken it away."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
