"""What the first bytes of a file say: plain samples, which need no decoder, or a container that others read."""

from __future__ import annotations

import struct

HEAD_BYTES = 1 << 14
_PCM_TAGS = (1, 3)  # whole numbers, floats
_EXTENSIBLE, _TAIL = 0xFFFE, bytes.fromhex("000000001000800000aa00389b71")
_W64 = bytes.fromhex("2e91cf11a5d628db04c10000"), bytes.fromhex("f3acd3118cd100c04f8edb8a")
_AIFC_PCM = (b"NONE", b"sowt", b"twos", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64", b"raw ")
_AU_PCM = range(2, 8)

# (place, bytes) of containers that libsndfile does not know.
_MEDIA = (
    *((4, magic) for magic in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")),  # mp4 m4a mov 3gp
    (0, b"\x1aE\xdf\xa3"),  # Matroska, WebM
    (0, bytes.fromhex("3026b2758e66cf11")),  # wma, asf
    *((8, magic) for magic in (b"AVI ", b"XWMA")),
    *((0, magic) for magic in (b"\xff\xf0", b"\xff\xf1", b"\xff\xf8", b"\xff\xf9", b"ADIF", b"V\xe0", b"ID3")),  # aac
    *((0, magic) for magic in (b"#!AMR", b"FLV\x01", b"wvpk", b"MAC ", b"TTA1", b"MPCK", b"MP+", b"tBaK", b"ajkg")),
    *((0, magic) for magic in (b".RMF", b".ra\xfd", b"DSD ", b"ea3", b"EA3", b"\x0bw", b"DTSHDHDR", b"nutnut")),
    *((0, bytes.fromhex(magic)) for magic in ("7ffe8001", "fe7f0180", "1fffe800", "ff1f00e8")),  # dts
    *((4, bytes.fromhex(magic)) for magic in ("f8726fba", "f8726fbb")),  # TrueHD, MLP
    *((0, bytes.fromhex(magic)) for magic in ("000001ba", "060e2b34", "b7d800203749da11")),  # MPEG-PS, MXF, wtv
    *((place, b"G@") for place in (0, 4)),  # MPEG-TS
)


def is_plain(head: bytes) -> bool:
    """Whether a file that begins so is WAV, AIFF, AU or W64 of plain samples. In doubt it is not."""
    try:
        if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
            return _wav(head, ">" if head[:4] == b"RIFX" else "<")
        if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
            return head[8:12] == b"AIFF" or _aifc(head)
        if head[:4] in (b".snd", b"dns."):
            return struct.unpack_from(">I" if head[:4] == b".snd" else "<I", head, 12)[0] in _AU_PCM
        if head[:16] == b"riff" + _W64[0] and head[24:40] == b"wave" + _W64[1]:
            return _w64(head)
    except (struct.error, OverflowError):
        pass
    return False


def is_media(head: bytes) -> bool:
    """Whether a file that begins so may be a container that ffmpeg reads and libsndfile does not."""
    return any(head[place : place + len(magic)] == magic for place, magic in _MEDIA)


def _wav(head: bytes, order: str) -> bool:
    place = 12
    while True:
        name, size = struct.unpack_from(order + "4sI", head, place)
        if name == b"fmt ":
            return _is_pcm(head, place + 8, order)
        place += 8 + size + size % 2


def _is_pcm(head: bytes, place: int, order: str) -> bool:
    """Of a `fmt ` chunk's body."""
    tag = struct.unpack_from(order + "H", head, place)[0]
    if tag == _EXTENSIBLE and head[place + 26 : place + 40] == _TAIL:
        tag = struct.unpack_from("<H", head, place + 24)[0]
    return tag in _PCM_TAGS


def _aifc(head: bytes) -> bool:
    place = 12
    while True:
        name, size = struct.unpack_from(">4sI", head, place)
        if name == b"COMM":
            return head[place + 26 : place + 30] in _AIFC_PCM
        place += 8 + size + size % 2


def _w64(head: bytes) -> bool:
    place = 40
    while True:
        name, size = struct.unpack_from("<16sQ", head, place)
        if name == b"fmt " + _W64[1]:
            return _is_pcm(head, place + 24, "<")
        place += max(24, size + -size % 8)
