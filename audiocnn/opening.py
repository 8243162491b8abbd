"""How a recording is opened: which decoder reads a file, a pipe or a stream."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import BinaryIO

from audiocnn.containers import check_known, open_named, open_stream
from audiocnn.errors import RecordingError
from audiocnn.headers import read_layout
from audiocnn.pcm import Layout, RawFormat
from audiocnn.soundfiles import check_not_empty, reason_of
from audiocnn.streams import READ_BYTES, ByteStream, Decoder, PcmStream

LOOK_BYTES = 1 << 20
_NAMES = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
_LIVE = "send WAV, AU, or raw samples with --raw and --rate; none of them compressed"


def open_decoder(path: str | Path | BinaryIO, name: str, raw: RawFormat | None, may_copy: bool) -> Decoder:
    """The decoder for what `recording.open_recording` was given; `name` is for messages. Raises RecordingError."""
    if not isinstance(path, str | os.PathLike):
        if raw is None and getattr(path, "seekable", lambda: False)():
            return _open_seekable(path, name)
        return _open_stream(ByteStream(path), name, raw, may_copy)
    try:
        status = Path(path).stat()
        regular = stat.S_ISREG(status.st_mode)
        if regular and status.st_size == 0:
            raise RecordingError(f"{name}: empty file (0 bytes); copy it again or leave it out")
        if regular and raw is None:
            decoder = open_named(os.fsencode(path), name)
            rest = _unfinished(Path(path).open("rb", buffering=0), owned=True) if decoder.frames is None else None  # noqa: SIM115
            return rest or decoder
        if stat.S_ISDIR(status.st_mode):
            raise RecordingError(f"{name}: a folder where a recording is expected; name a file in it")
        source = ByteStream(Path(path).open("rb", buffering=0), owned=True)  # noqa: SIM115 - closed with the recording
        return _open_stream(source, name, raw, may_copy)
    except FileNotFoundError:
        raise RecordingError(f"{name}: no such file; check the name") from None
    except (OSError, ValueError) as error:
        remedy = "the name" if getattr(error, "errno", errno.ENOENT) in _NAMES else "its rights"
        raise RecordingError(f"{name}: cannot be opened ({reason_of(error)}); check {remedy}") from None


def _open_seekable(file: BinaryIO, name: str) -> Decoder:
    place = file.tell()
    decoder = open_stream(file, name, owned=False)
    if decoder.frames is not None:
        return decoder
    file.seek(place)
    if (rest := _unfinished(file, owned=False)) is not None:
        return rest
    file.seek(place)
    return open_stream(file, name, owned=False)


def _unfinished(file: BinaryIO, owned: bool) -> Decoder | None:
    """A file whose header was never completed says that it holds nothing: what is there is read as from a pipe."""
    source = ByteStream(file, owned)
    layout = read_layout(source)
    if layout is None or layout.data_bytes is not None or not source.peek():
        source.close()
        return None
    return PcmStream(source, layout)


def _open_stream(source: ByteStream, name: str, raw: RawFormat | None, may_copy: bool) -> Decoder:
    try:
        check_not_empty(source.peek(), name)
        layout = read_layout(source) if raw is None else Layout(raw, source.size())
        if layout is not None:
            return PcmStream(source, layout)
        if not may_copy:
            raise RecordingError(f"{name}: cannot be read while it comes; {_LIVE}")
        copied = _copy(source, name)
    except BaseException as error:
        source.close()
        if isinstance(error, OSError):
            raise RecordingError(f"{name}: cannot be read ({reason_of(error)}); check what writes it") from None
        raise
    source.close()
    return open_stream(copied, name, owned=True)


def _copy(source: ByteStream, name: str) -> BinaryIO:
    """Containers ask for a way back, which a pipe has not: keep it on disk, not in memory. What is no audio by its
    first megabyte is not kept to its end, which may never come."""
    copied = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the recording
    looked = False
    try:
        while part := source.take(READ_BYTES):
            copied.write(part)
            if not looked and copied.tell() >= LOOK_BYTES:
                looked = True
                copied.seek(0)
                check_known(copied.read(LOOK_BYTES), name)
                copied.seek(0, os.SEEK_END)
        copied.seek(0)
    except BaseException:
        copied.close()
        raise
    return copied
