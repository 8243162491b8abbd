"""Shards: `samples-00000.npy`, `samples-00001.npy`, ...: long append-only arrays on disk.

Each shard is an ordinary .npy file of shape (length, columns) that `np.load(path, mmap_mode="r")` can open at any time:
values are written first, then the header that counts them. A killed process leaves at most uncounted values at the end,
which are truncated when the shards are opened for writing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray

from audiocnn.errors import DatasetError

# 2.3 hours at 16 kHz: few files for a large corpus, and none too large to copy.
SHARD_VALUES = 1 << 27
_HEADER_BYTES = 128


class Slice(NamedTuple):
    """Rows [start, start + length) of shard `number`."""

    number: int
    start: int
    length: int


class ShardWriter:
    """Appends arrays of shape (n, columns) to the shards `kind`-NNNNN.npy of a folder. A context manager."""

    def __init__(self, folder: Path, kind: str, columns: int, dtype: str, lengths: Mapping[int, int]) -> None:
        """lengths: the valid rows of each shard. Rows after them are truncated, and other shards are removed."""
        self._folder, self._kind, self._columns = folder, kind, columns
        self._dtype = np.dtype(dtype)
        self._capacity = max(1, SHARD_VALUES // columns)
        self._file: BinaryIO | None = None
        self.lengths = dict(lengths)
        self._repair()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, parts: Iterable[NDArray[Any]]) -> Slice:
        """Write consecutive (n, columns) parts. If an error occurs while reading the parts, the shard is unchanged."""
        number = self._open_shard()
        file = self._file
        assert file is not None
        start = end = self.lengths[number]
        file.seek(self._offset(start))
        for part in parts:
            file.write(np.ascontiguousarray(part, self._dtype).data)
            end += len(part)
        self.lengths[number] = end
        return Slice(number, start, end - start)

    def view(self, part: Slice) -> NDArray[Any]:
        """(columns, length) view of appended rows, flushed or not."""
        if self._file is not None:
            self._file.flush()
        path = shard_path(self._folder, self._kind, part.number)
        shape = (part.length, self._columns)
        return np.asarray(np.memmap(path, self._dtype, "r", self._offset(part.start), shape)).T

    def flush(self) -> None:
        """Flush all appended rows to disk, and count them in the header."""
        if self._file is None:
            return
        number = max(self.lengths)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.seek(0)
        self._file.write(self._header(self.lengths[number]))
        self._file.flush()
        os.fsync(self._file.fileno())

    def drop(self, keep: set[int]) -> None:
        for number in sorted(set(self.lengths) - keep):
            if number == max(self.lengths):
                self._end_shard()
            shard_path(self._folder, self._kind, number).unlink(missing_ok=True)
            del self.lengths[number]

    def close(self, keep: bool = True) -> None:
        """Count the appended rows, or with `keep` false (for example if the disk is full) leave that to the next
        writer."""
        if keep:
            self._end_shard()
        elif self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _open_shard(self) -> int:
        """The number of the shard to append to; a new one if the last is full."""
        last = max(self.lengths, default=-1)
        if last >= 0 and self.lengths[last] < self._capacity:
            if self._file is None:
                self._file = shard_path(self._folder, self._kind, last).open("r+b")
            return last
        self._end_shard()
        self.lengths[last + 1] = 0
        self._file = shard_path(self._folder, self._kind, last + 1).open("w+b")
        self._file.write(self._header(0))
        return last + 1

    def _end_shard(self) -> None:
        if self._file is None:
            return
        self.flush()
        number = max(self.lengths)
        self._file.truncate(self._offset(self.lengths[number]))
        self._file.close()
        self._file = None

    def _repair(self) -> None:
        for path in self._folder.glob(f"{self._kind}-*.npy"):
            number = _number(path, self._kind)
            if number is None:
                continue
            if number not in self.lengths:
                path.unlink()
                continue
            with path.open("r+b") as file:
                if file.seek(0, os.SEEK_END) < self._offset(self.lengths[number]):
                    raise DatasetError(f"{path}: shorter than the index states; {rebuild_hint(self._folder)}")
                file.seek(0)
                file.write(self._header(self.lengths[number]))
                file.truncate(self._offset(self.lengths[number]))

    def _offset(self, row: int) -> int:
        return _HEADER_BYTES + row * self._columns * self._dtype.itemsize

    def _header(self, length: int) -> bytes:
        text = BytesIO()
        shape = (length, self._columns)
        write_array_header_1_0(text, {"descr": self._dtype.str, "fortran_order": False, "shape": shape})
        header = text.getvalue()
        assert len(header) == _HEADER_BYTES
        return header


class ShardReader:
    """Views of the shards of one kind. Files are reopened after pickling."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder, self._kind = folder, kind
        self._open: dict[int, NDArray[Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_folder": self._folder, "_kind": self._kind, "_open": {}}

    def view(self, part: Slice) -> NDArray[Any]:
        """(columns, length) view. Raises DatasetError if the shard is missing or too short."""
        shard = self._open.get(part.number)
        if shard is None:
            shard = self._load(part.number)
        if not 0 <= part.start <= part.start + part.length <= len(shard):
            path = shard_path(self._folder, self._kind, part.number)
            raise DatasetError(f"{path}: shorter than the index states; {rebuild_hint(self._folder)}")
        return shard[part.start : part.start + part.length].T

    def _load(self, number: int) -> NDArray[Any]:
        path = shard_path(self._folder, self._kind, number)
        try:
            # A plain array over the memory map: slicing np.memmap costs ten times as much.
            shard = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
            if shard.ndim != 2:
                raise ValueError(f"shape {shard.shape}")
        except FileNotFoundError:
            raise DatasetError(f"{path}: missing; {rebuild_hint(self._folder)}") from None
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path}: damaged ({error}); {rebuild_hint(self._folder)}") from None
        self._open[number] = shard
        return shard


def shard_path(folder: Path, kind: str, number: int) -> Path:
    return folder / f"{kind}-{number:05d}.npy"


def rebuild_hint(folder: Path) -> str:
    return f"delete {folder} and ingest again"


def _number(path: Path, kind: str) -> int | None:
    digits = path.stem.removeprefix(f"{kind}-")
    return int(digits) if digits.isdecimal() else None
