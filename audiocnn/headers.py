"""Headers of WAV (RIFF, RIFX, RF64) and AU in a stream: how the samples lie that come after them.

A header in a pipe often cannot know how much will follow, and says 0 or the largest number instead: then the stream
ends where it ends.
"""

from __future__ import annotations

import struct

from audiocnn.errors import UsageError
from audiocnn.pcm import ENCODINGS, Layout, RawFormat
from audiocnn.streams import ByteStream

MOST_HEADER_BYTES = 1 << 24


class _Header:
    """Reads a header, and keeps what it read for those who can make more of it."""

    def __init__(self, source: ByteStream) -> None:
        self.source, self.seen = source, b""

    def take(self, count: int) -> bytes:
        """So many bytes. _OtherError: the stream ends before, or it is too much for a header."""
        if count > MOST_HEADER_BYTES - len(self.seen):
            raise _OtherError
        data = self.source.take_all(count)
        self.seen += data
        if len(data) < count:
            raise _OtherError
        return data

    def give_back(self) -> None:
        """As if nothing had been read."""
        self.source.ahead = self.seen + self.source.ahead


class _OtherError(Exception):
    """Not the header of a container that is read while it comes."""


def read_layout(source: ByteStream) -> Layout | None:
    """What the header says, which is taken from the stream; None, and nothing taken, for what is no WAV or AU of plain
    samples."""
    header = _Header(source)
    try:
        magic = header.take(4)
        if magic in (b"RIFF", b"RIFX", b"RF64"):
            return _wav_layout(header, magic)
        if magic in (b".snd", b"dns."):
            return _au_layout(header, ">" if magic == b".snd" else "<")
    except (_OtherError, UsageError):
        pass
    header.give_back()
    return None


def _wav_layout(header: _Header, magic: bytes) -> Layout:
    order = ">" if magic == b"RIFX" else "<"
    riff_bytes, kind = struct.unpack(order + "I4s", header.take(8))
    if kind != b"WAVE":
        raise _OtherError
    found: RawFormat | None = None
    long_bytes: int | None = None
    while True:
        name, size = struct.unpack(order + "4sI", header.take(8))
        if name == b"data":
            break
        body = header.take(size + size % 2)
        if name == b"fmt ":
            found = _wav_format(body, order)
        elif name == b"ds64" and magic == b"RF64" and size >= 24:
            riff_bytes, long_bytes, _ = struct.unpack("<QQQ", body[:24])
    if found is None:
        raise _OtherError
    if long_bytes is not None and size == 0xFFFFFFFF:
        return Layout(found, long_bytes if 0 < long_bytes < 2**62 else None)
    empty = size == 0 and riff_bytes > len(header.seen) - 8 and not _unknown(riff_bytes)
    return Layout(found, None if _unknown(size) and not empty else size)


def _unknown(size: int) -> bool:
    """Whether a size stands for one that its writer could not know: 0, or near the largest with and without a sign.
    sox and arecord write the one, ffmpeg the other."""
    return size == 0 or 0x7FFFF000 <= size <= 0x80001000 or size >= 0xFFFFF000


_WAV_ENCODINGS = {
    (1, 1): "u8", (1, 2): "s16", (1, 3): "s24", (1, 4): "s32", (1, 8): "s64", (3, 4): "f32", (3, 8): "f64",
    (6, 1): "alaw", (7, 1): "mulaw",
}  # fmt: skip
_EXTENSIBLE, _EXTENSIBLE_TAIL = 0xFFFE, bytes.fromhex("000000001000800000aa00389b71")


def _wav_format(body: bytes, order: str) -> RawFormat:
    """The chunk `fmt `."""
    if len(body) < 16:
        raise _OtherError
    tag, channels, rate, _, align, bits = struct.unpack(order + "HHIIHH", body[:16])
    if tag == _EXTENSIBLE:
        if len(body) < 40 or order != "<" or body[26:40] != _EXTENSIBLE_TAIL:
            raise _OtherError
        tag = struct.unpack("<H", body[24:26])[0]
    width = align // channels if channels else 0
    encoding = _WAV_ENCODINGS.get((tag, width))
    if encoding is None or width * channels != align or (bits + 7) // 8 != width:
        raise _OtherError
    return RawFormat(_with_order(encoding, order), rate, channels)


_AU_ENCODINGS = {1: "mulaw", 2: "s8", 3: "s16", 4: "s24", 5: "s32", 6: "f32", 7: "f64", 27: "alaw"}


def _au_layout(header: _Header, order: str) -> Layout:
    offset, size, code, rate, channels = struct.unpack(order + "5I", header.take(20))
    if code not in _AU_ENCODINGS or offset < 24:
        raise _OtherError
    header.take(offset - 24)
    return Layout(RawFormat(_with_order(_AU_ENCODINGS[code], order), rate, channels), None if _unknown(size) else size)


def _with_order(encoding: str, order: str) -> str:
    """s16 -> s16le; what is one byte wide has no order."""
    return encoding if encoding in ENCODINGS else encoding + ("be" if order == ">" else "le")
