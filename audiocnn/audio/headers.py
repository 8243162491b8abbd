"""Headers of recordings: the sample layout of WAV (RIFF, RIFX, RF64, BW64), W64, AIFF and AU, and whether a file may be
a container that ffmpeg reads.

The writer of a header in a pipe often does not know the length, and writes 0 or the largest number. Such a stream is
read to its end.
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from audiocnn.audio.pcm import ENCODINGS, Layout, RawFormat
from audiocnn.audio.streams import ByteStream
from audiocnn.errors import UsageError

AUDIO_HEAD_BYTES = 1 << 14  # that `is_media` examines
_MOST_HEADER_BYTES = 1 << 24
_MOST_CHUNKS = 1 << 20  # before the samples
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")  # GUID of the codec in extensible WAV
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # end of the GUIDs that name chunks in W64
_EXTENSIBLE = 0xFFFE
_LONG = 0xFFFFFFFF  # the size is stored in another chunk
_SSND = struct.Struct(">II")  # at the start of the AIFF sound chunk: offset and alignment of the samples
# Data after the samples that is not audio: chunks, and tags that other software appends.
_TRAILER = re.compile(rb"[A-Za-z0-9 _()]{4}|ID3[\x02-\x04]|TAG")
_RECORDING = re.compile(
    rb"(?:RIFF|RIFX|RF64|BW64|FORM).{4}(?:WAVE|AIFF|AIFC)|riff\x2e\x91\xcf\x11|\.snd\0\0", re.DOTALL
)
_TRAILER_BYTES = 24  # bytes to examine: the name and size of a W64 chunk
# (tag, bytes a sample) and codes -> encodings, by their names in `pcm` without the byte order.
_WAV_ENCODINGS = {
    (1, 1): "u8", (1, 2): "s16", (1, 3): "s24", (1, 4): "s32", (1, 8): "s64", (3, 4): "f32", (3, 8): "f64",
    (6, 1): "alaw", (7, 1): "mulaw",
}  # fmt: skip
# Sample types of AIFF-C with their byte order; uncompressed AIFF and AIFF-C samples by width.
_AIFC_ENCODINGS = {
    b"sowt": "s16le", b"in24": "s24be", b"42n1": "s24le", b"in32": "s32be", b"23ni": "s32le", b"raw ": "u8",
    **dict.fromkeys((b"fl32", b"FL32"), "f32be"), **dict.fromkeys((b"fl64", b"FL64"), "f64be"),
    **dict.fromkeys((b"ulaw", b"ULAW"), "mulaw"), **dict.fromkeys((b"alaw", b"ALAW"), "alaw"),
}  # fmt: skip
_AIFF_ENCODINGS = {1: "s8", 2: "s16be", 3: "s24be", 4: "s32be"}
_AU_ENCODINGS = {1: "mulaw", 2: "s8", 3: "s16", 4: "s24", 5: "s32", 6: "f32", 7: "f64", 27: "alaw"}
_AU = {b".snd": struct.Struct(">5I"), b"dns.": struct.Struct("<5I")}  # offset, bytes, code, rate, channels
# (offset, bytes) of containers that libsndfile does not read.
_MEDIA = (
    *((4, magic) for magic in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")),  # mp4 m4a mov 3gp
    (0, b"\x1aE\xdf\xa3"),  # Matroska, WebM
    (0, bytes.fromhex("3026b2758e66cf11")),  # wma, asf
    *((8, magic) for magic in (b"AVI ", b"XWMA")),
    *((0, magic) for magic in (b"\xff\xf0", b"\xff\xf1", b"\xff\xf8", b"\xff\xf9", b"ADIF", b"V\xe0", b"ID3")),  # aac
    *((0, magic) for magic in (b"#!AMR", b"FLV\x01", b"wvpk", b"MAC ", b"TTA1", b"MPCK", b"MP+", b"tBaK", b"ajkg")),
    *((0, magic) for magic in (b".RMF", b".ra\xfd", b"DSD ", b"ea3", b"EA3", b"\x0bw", b"DTSHDHDR", b"nut/multimedia")),
    *((0, bytes.fromhex(magic)) for magic in ("7ffe8001", "fe7f0180", "1fffe800", "ff1f00e8")),  # dts
    *((4, bytes.fromhex(magic)) for magic in ("f8726fba", "f8726fbb")),  # TrueHD, MLP
    *((0, bytes.fromhex(magic)) for magic in ("000001ba", "060e2b34", "b7d800203749da11")),  # MPEG-PS, MXF, wtv
    *((place, b"G@") for place in (0, 4)),  # MPEG-TS
)


_OGG_SOUND = (b"\x01vorbis", b"OpusHead", b"Speex   ", b"\x7fFLAC")


class _Container(NamedTuple):
    """A chunk-based container. Each chunk has a name, a size and a body."""

    order: str  # byte order, as in `struct`
    start: struct.Struct  # after the first 4 bytes: total size and form type
    kinds: tuple[bytes, ...]
    chunk: struct.Struct  # name and size
    format_name: bytes  # of the chunk that states the encoding
    data_name: bytes
    align: int = 2  # chunks are aligned to this many bytes
    counted: int = 0  # header bytes that a chunk size includes


def _wav(order: str) -> _Container:
    return _Container(order, struct.Struct(order + "I4s"), (b"WAVE",), struct.Struct(order + "4sI"), b"fmt ", b"data")


_CONTAINERS = {
    **{b"RIFF": _wav("<"), b"RIFX": _wav(">"), b"RF64": _wav("<"), b"BW64": _wav("<")},
    b"FORM": _Container(">", struct.Struct(">I4s"), (b"AIFF", b"AIFC"), struct.Struct(">4sI"), b"COMM", b"SSND"),
    b"riff": _Container(
        "<", struct.Struct("<12xQ16s"), (b"wave" + _W64_TAIL,), struct.Struct("<16sQ"), b"fmt " + _W64_TAIL,
        b"data" + _W64_TAIL, align=8, counted=24,
    ),
}  # fmt: skip


class _OtherError(Exception):
    """Not a header that is supported here."""


class _Header:
    """Reads a header from a stream, and can undo that."""

    def __init__(self, source: ByteStream) -> None:
        self.source, self.taken = source, bytearray()

    def take(self, count: int) -> bytes:
        """Exactly this many bytes. Raises _OtherError if there are fewer, or if a header would be too long."""
        if len(self.taken) + count > _MOST_HEADER_BYTES:
            raise _OtherError
        part = self.source.take_all(count)
        self.taken += part
        if len(part) < count:
            raise _OtherError
        return part

    def unpack(self, code: struct.Struct) -> tuple[Any, ...]:
        return code.unpack(self.take(code.size))

    def chunks(self, container: _Container) -> Iterator[tuple[bytes, bytes | int]]:
        """Name and body of each chunk before the samples. The last item is the name and size of the sample chunk, none
        of which is consumed."""
        for _ in range(_MOST_CHUNKS):
            name, size = self.unpack(container.chunk)
            if name == container.data_name:
                yield name, size
                return
            yield name, self.take(max(0, size + -size % container.align - container.counted))
        raise _OtherError

    def give_back(self) -> None:
        self.source.put_back(bytes(self.taken))


def may_hold_pcm(head: bytes) -> bool:
    """Whether `read_layout` may support a file with this beginning."""
    return head[:4] in _CONTAINERS or head[:4] in _AU


def is_media(head: bytes) -> bool:
    """Whether a file with this beginning may be a container that ffmpeg reads and libsndfile does not."""
    return any(head[place : place + len(magic)] == magic for place, magic in _MEDIA)


def count_ogg_tracks(head: bytes) -> int:
    """The number of audio streams. An Ogg file begins with one page a stream (RFC 3533, section 6)."""
    place = tracks = 0
    while head[place : place + 4] == b"OggS" and len(head) > place + 27 and head[place + 5] & 2:
        lengths = head[place + 27 : place + 27 + head[place + 26]]
        place += 27 + len(lengths)
        tracks += head.startswith(_OGG_SOUND, place)
        place += sum(lengths)
    return tracks


def describe_substitute(head: bytes) -> str:
    """If the file is not a recording but a common substitute for one, the fact and the remedy; otherwise empty."""
    text = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if text.startswith(b"version https://git-lfs.github.com/spec/"):
        return "a Git LFS pointer, not the recording; fetch the recording with `git lfs pull`"
    if b"/annex/objects/" in text.partition(b"\n")[0]:
        return "a git-annex pointer, not the recording; fetch the recording with `git annex get`"
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "a web page (HTML), not a recording; open it to see the reason, and download the recording again"
    if text.startswith(b"<?xml"):
        return "an XML text, not a recording; open it to see the reason, and download the recording again"
    return ""


def read_layout(source: ByteStream) -> Layout | None:
    """The layout stated by the header, which is consumed. None, with nothing consumed, if the stream does not begin
    with a header and samples that `pcm` decodes."""
    header = _Header(source)
    try:
        magic = header.take(4)
        if magic in _AU:
            return _au_layout(header, _AU[magic])
        if magic in _CONTAINERS:
            return _chunked_layout(header, magic, _CONTAINERS[magic])
    except (_OtherError, UsageError):
        pass
    header.give_back()
    return None


def _chunked_layout(header: _Header, magic: bytes, container: _Container) -> Layout:
    whole_bytes, kind = header.unpack(container.start)
    if kind not in container.kinds:
        raise _OtherError
    raw: RawFormat | None = None
    long_bytes: int | None = None
    data_bytes = 0
    for name, body in header.chunks(container):
        if isinstance(body, int):
            data_bytes = body - container.counted
        elif name == container.format_name:
            raw = _aiff_format(body, kind) if magic == b"FORM" else _wav_format(body, container.order)
        elif name == b"ds64" and len(body) >= 24:  # of RF64 and BW64
            whole_bytes, long_bytes, _ = struct.unpack("<QQQ", body[:24])
    if raw is None:
        raise _OtherError
    if magic == b"FORM":
        offset, _ = header.unpack(_SSND)
        header.take(offset)
        data_bytes -= _SSND.size + offset
    if long_bytes is not None and data_bytes == _LONG:
        unknown, data_bytes = not 0 < long_bytes < 2**62, long_bytes
    else:
        is_empty = data_bytes == 0 and whole_bytes > len(header.taken) - 8 and not _is_unknown(whole_bytes)
        unknown = not is_empty and (data_bytes < 0 or _is_unknown(data_bytes, long=magic == b"riff"))
    return Layout(raw, None if unknown else data_bytes, container.align, is_aiff=magic == b"FORM")


def next_layout(source: ByteStream, behind: Layout) -> Layout | None:
    """Call it after all samples that the header counts were consumed. Returns the layout of the recording that follows,
    or with data_bytes None that of more samples; None if neither follows."""
    is_first = True
    while len(start := source.take_all(_TRAILER_BYTES)) == _TRAILER_BYTES:
        pad = -(behind.data_bytes or 0) % behind.align if is_first else 0
        if pad and not _TRAILER.match(start):  # which some writers omit
            start = start[pad:] + source.take_all(pad)
        source.put_back(start)
        if (layout := read_layout(source)) is not None:
            return layout
        if _RECORDING.match(start):
            raise OSError("it is followed by another recording with compressed samples; split the two")
        if not _TRAILER.match(start):
            return Layout(behind.format) if is_first else None
        container = _CONTAINERS[b"riff" if start[4:16] == _W64_TAIL else b"FORM" if behind.is_aiff else b"RIFF"]
        name, size = container.chunk.unpack_from(start)
        if name == container.data_name and not behind.is_aiff and size > container.counted:  # some recorders write two
            source.skip(container.chunk.size)
            size -= container.counted
            unknown = _is_unknown(size, long=container.counted > 0)
            return Layout(behind.format, None if unknown else size, container.align)
        source.skip(container.chunk.size + max(0, size + -size % container.align - container.counted))
        is_first = False
    return None


def _aiff_format(body: bytes, kind: bytes) -> RawFormat:
    """AIFF-C, 1991. The rate is an 80-bit extended float (SANE)."""
    if len(body) < 18:
        raise _OtherError
    channels, _, bits, exponent, mantissa = struct.unpack_from(">HIHHQ", body)
    rate = mantissa * 2.0 ** (exponent - 16383 - 63) if exponent < 16384 + 40 else 0.0
    coding = body[18:22] if kind == b"AIFC" else b"NONE"
    encoding = _AIFC_ENCODINGS.get(coding) if coding not in (b"NONE", b"twos") else _AIFF_ENCODINGS.get((bits + 7) // 8)
    width = ENCODINGS[encoding][0] if encoding else 0
    if encoding is None or (coding in (b"sowt", b"raw ") and (bits + 7) // 8 != width):
        raise _OtherError
    return RawFormat(encoding, round(rate), channels)


def _wav_format(body: bytes, order: str) -> RawFormat:
    tag = _codec_tag(body, order)
    channels, rate, _, align, bits = struct.unpack_from(order + "HIIHH", body, 2)
    width = align // channels if channels else 0
    encoding = _WAV_ENCODINGS.get((tag, width))
    if encoding is None or width * channels != align or (bits + 7) // 8 != width:
        raise _OtherError
    return RawFormat(_with_order(encoding, order), rate, channels)


def _codec_tag(body: bytes, order: str) -> int:
    """The codec of an `fmt ` chunk; for extensible WAV, the codec that the GUID stands for."""
    if len(body) < 16:
        raise _OtherError
    tag: int = struct.unpack_from(order + "H", body)[0]
    if tag == _EXTENSIBLE and order == "<" and body[26:40] == _GUID_TAIL:
        tag = struct.unpack_from("<H", body, 24)[0]
    return tag


def _au_layout(header: _Header, numbers: struct.Struct) -> Layout:
    offset, size, code, rate, channels = header.unpack(numbers)
    if code not in _AU_ENCODINGS or offset < 24:
        raise _OtherError
    header.take(offset - 24)
    raw = RawFormat(_with_order(_AU_ENCODINGS[code], numbers.format[0]), rate, channels)
    return Layout(raw, None if _is_unknown(size) else size)


def _is_unknown(size: int, long: bool = False) -> bool:
    """Whether a size is a placeholder for an unknown one: 0, or near the largest signed or unsigned number. sox and
    arecord write the largest signed number, ffmpeg the largest unsigned one; sox writes 0x7F000000 for AIFF. long: the
    size has 64 bits."""
    if long:
        return size == 0 or size >= 2**62
    return size in (0, 0x7F000000) or 0x7FFFF000 <= size <= 0x80001000 or size >= 0xFFFFF000


def _with_order(encoding: str, order: str) -> str:
    """s16 -> s16le; encodings of one byte have no byte order."""
    return encoding if encoding in ENCODINGS else encoding + ("be" if order == ">" else "le")
