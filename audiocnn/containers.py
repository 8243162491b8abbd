"""Files in containers: by libsndfile, plain samples in this process, others in one of its own; the rest by ffmpeg."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from pathlib import Path
from shutil import copyfileobj
from typing import BinaryIO

from audiocnn.errors import RecordingError
from audiocnn.ffmpeg import INSTALL, find_program
from audiocnn.headers import read_layout
from audiocnn.helped import open_helped
from audiocnn.outside import OutsideFile
from audiocnn.sniffing import HEAD_BYTES, is_media, is_plain
from audiocnn.soundfiles import CONVERT, COPY_OR_CONVERT, RefusedError, check_not_empty, open_file
from audiocnn.streams import READ_BYTES, ByteStream, Decoder, PcmStream

RAW = "`detect` and `score` take them with --raw and --rate"
RAW_STREAM = "if these are samples without a header, say with --raw what they are"
_SAYS_NO_RATE, _RAW_SUFFIX = "samplerate must be specified", b".raw"


def open_named(path: bytes, name: str) -> Decoder:
    """Open a file on disk; OSError, RecordingError."""
    # Processes have a folder of their own, and "-" is standard input to libsndfile.
    whole = Path(os.fsdecode(path)).absolute()
    with whole.open("rb", buffering=0) as file:
        head = file.read(HEAD_BYTES)
    return _open(bytes(whole), name, head, is_stream=False)


def open_stream(file: BinaryIO, name: str, owned: bool) -> Decoder:
    """Open a stream with a way back, from where it stands; one that is `owned` is closed with it. RecordingError."""
    try:
        place = file.tell()
        head = file.read(HEAD_BYTES)
        check_not_empty(head, name)
        file.seek(place)
        if is_plain(head):
            try:
                return open_file(file, file if owned else None)
            except RefusedError:
                file.seek(place)
        decoder = _open(_on_disk(file), name, head, is_stream=owned)
    except BaseException:
        if owned:
            file.close()
        raise
    if owned:
        file.close()
    return decoder


def check_known(head: bytes, name: str) -> None:
    """RecordingError where the beginning of a stream is that of no audio."""
    # Behind a long ID3 tag stands what libsndfile reads, or what ffmpeg does.
    if is_media(head) and (find_program() or head.startswith(b"ID3")):
        return
    try:
        open_stream(io.BytesIO(head), name, owned=True).close()
    except RecordingError as error:
        if not isinstance(error, _DamagedError):
            raise


class _DamagedError(RecordingError):
    """Of audio that libsndfile knows, but cannot open."""


def _open(source: bytes | BinaryIO, name: str, head: bytes, is_stream: bool) -> Decoder:
    """`source` is a name, or a file on disk, which is closed with the decoder, or where it cannot be opened."""
    try:
        try:
            if isinstance(source, bytes) and source.lower().endswith(_RAW_SUFFIX):
                raise RefusedError(_SAYS_NO_RATE)
            helped = None if is_plain(head) else open_helped(source, name)
            return helped or open_file(source, None if isinstance(source, bytes) else source)
        except RefusedError as refused:
            reason = str(refused)
        if is_plain(head) and (plain := _plain(source)):
            return plain
        if is_media(head) if _no_audio(reason) else _SAYS_NO_RATE not in reason:
            if program := find_program():
                file = Path(os.fsdecode(source)).open("rb") if isinstance(source, bytes) else source  # noqa: SIM115
                try:
                    return OutsideFile(program, file, name)
                except RecordingError:
                    if _no_audio(reason):
                        raise
                    raise _DamagedError(f"{name}: {_why_not(reason)}") from None
            if is_media(head):
                raise RecordingError(f"{name}: cannot be read without ffmpeg; {INSTALL}")
        if _no_audio(reason):
            remedy = f"{CONVERT}, or {RAW_STREAM}" if is_stream else CONVERT
            raise RecordingError(f"{name}: not audio that can be read here; {remedy}")
        raise _DamagedError(f"{name}: {_why_not(reason)}")
    except BaseException:
        if not isinstance(source, bytes):
            source.close()
        raise


def _plain(source: bytes | BinaryIO) -> Decoder | None:
    """Plain samples of a width that libsndfile has not, such as 64 bits."""
    file = Path(os.fsdecode(source)).open("rb", buffering=0) if isinstance(source, bytes) else source  # noqa: SIM115
    file.seek(0)
    stream = ByteStream(file, owned=True)
    layout = read_layout(stream)
    if layout is not None:
        return PcmStream(stream, layout)
    stream.owned = isinstance(source, bytes)
    stream.close()
    return None


def _why_not(reason: str) -> str:
    """What is wrong with a file that libsndfile knows and will not open, and what to do."""
    if _SAYS_NO_RATE in reason:
        return f"raw samples, which say neither rate nor channels; {RAW}, or {CONVERT}"
    if "annel count is zero" in reason:
        return "the header says 0 channels; write the file again"
    return f"damaged or cut short, or a format that is not read here ({reason}); {COPY_OR_CONVERT}"


def _no_audio(reason: str) -> bool:
    """What libsndfile says of a file that looks like MP3 and is none is about pipes."""
    return "not recognised" in reason or "possibly a pipe" in reason


def _on_disk(file: BinaryIO) -> BinaryIO:
    """The rest of a stream as a file of its own: itself once more where it is one, from its beginning, or a copy."""
    plain = file.raw if isinstance(file, io.BufferedReader | io.BufferedRandom) else file
    if isinstance(plain, io.FileIO) and file.tell() == 0 and stat.S_ISREG(os.fstat(plain.fileno()).st_mode):
        return os.fdopen(os.dup(plain.fileno()), "rb")
    copied = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the recording
    try:
        copyfileobj(file, copied, READ_BYTES)
        copied.seek(0)
    except BaseException:
        copied.close()
        raise
    return copied
