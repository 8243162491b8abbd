"""Ends of recordings: whether a recording is complete, and what follows it in the same file.

Decoders stop at the end of the first of several concatenated recordings. Such files come from `cat a.mp3 b.mp3`, web
radio, and recorders that restart.
"""

from __future__ import annotations

import math
import mmap
import re
from functools import cache
from itertools import islice
from typing import BinaryIO, NamedTuple

_OGG_BEGIN = b"OggS\0\2" + bytes(8)  # RFC 3533, section 6: the first page of a stream, at position 0
_STREAMINFO = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # RFC 9639, sections 8.1 and 8.2
_FLAC_COUNT = 21  # offset of five bytes whose last 36 bits are the number of samples
_MPEG_COUNT = re.compile(rb"Xing|Info|VBRI")
_MPEG_SYNC = re.compile(rb"\xff[\xe2-\xff]")
_MPEG_HEAD_BYTES = 512  # length that contains the end of the first frame
_NIST_COUNT = re.compile(rb"^sample_count -i (\d{1,15})$", re.MULTILINE)
_OGG_PAGE_BYTES = 65307  # at most
_READ_AHEAD = 1 << 18  # more than decoders read ahead
_MOST_STEPS = 1 << 16  # from one chunk, box, block, page or tag to the next; real files have fewer
# MPEG audio (ISO 11172-3, 13818-3), versions 2.5, -, 2, 1 and layers -, III, II, I: bit rates in kbit/s by index.
_MPEG_KBITS = {
    (3, 3): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_ID3V1_BYTES = 128
_MOST_TAG_BYTES = 1 << 24  # of consecutive tags
FLAC_TAIL_BYTES = 1 << 15  # the last frame begins within this length with any encoder's default settings
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b275")
# First bytes of files that occur again inside a file only if another file was appended.
_BEGINNINGS = tuple(
    re.compile(pattern)
    for pattern in (
        rb"FLV\x01[\x01\x04\x05]\x00\x00\x00\x09\x00{4}",
        re.escape(_ASF_HEADER),
        rb"caff\x00\x01\x00\x00desc\x00{7}\x20",
        rb"TTA1[\x01\x03]\x00",
        rb"MAC [\x50-\xff]\x0f",
        rb"MPCKSH",
        rb"\.RMF\x00\x00\x00\x12",
        rb"DSD \x1c\x00{7}",
        rb"#!AMR(-WB)?\n",
        rb"nut/multimedia container\x00",
    )
)
# Formats whose decoders mistake a following recording for a continuation or an error of the first.
_RUN_ON = (b"#!AMR", b"nut/", b".RMF", b"RIFF", b"RIFX", b"FORM", b"riff", b".snd", b"\x1aE\xdf\xa3")
_MATROSKA = re.compile(rb"\x1aE\xdf\xa3.{1,80}?B\x82.(?:matroska|webm)", re.DOTALL)  # RFC 8794, 9559: EBML, DocType
_MORE_AVI = b"AVIX"  # continuation of an AVI larger than a gigabyte (OpenDML)
_SEGMENT = b"\x18S\x80g"


class Part(NamedTuple):
    """A part of a file: bytes from `start` to `end`, of which `skip_frames` have already been read.

    zeros_at: offset of four bytes that are to be read as zeros; -1 for none.
    """

    start: int
    end: int
    skip_frames: int = 0
    zeros_at: int = -1


def find_next(file: BinaryIO, part: Part, place: int, frames: int, trouble: str) -> Part | None:
    """The part that follows a part of a file from which `frames` frames were read.

    place: position of the decoder. trouble: the reason why it stopped before the end, if it did.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if part.end < len(data):
            begin = _skip_tags(data, part.end)
            if _STREAMINFO.match(data, _skip_tags(data, part.start)):
                found = _STREAMINFO.search(data, part.end)
                begin = found.start() if found else len(data)
            return Part(begin, _end_of(data, begin)) if begin < len(data) else None
        start = _skip_tags(data, part.start)
        if data[start : start + 4] == b"OggS":
            return _behind_ogg(data, part, start, place, frames, trouble)
        if _STREAMINFO.match(data, start):
            return _behind_flac(data, part, start, place, frames, trouble)
        if _mpeg_frame_bytes(data[start : start + 4]):
            return _behind_mpeg(data, place)
        return _find_beginning(data, start)


def first_part(file: BinaryIO, head: bytes, by_ffmpeg: bool = False) -> Part | None:
    """The part of a file that has to be read first, on its own; None for the whole file."""
    if not head.startswith(_RUN_ON) and not (by_ffmpeg and (head.startswith(b"OggS") or head[4:8] == b"ftyp")):
        return None
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = _end_of(data, 0)
        return Part(0, end) if end < len(data) else None


def promised_by(head: bytes, file: BinaryIO) -> int | None:
    """The number of frames that a file states if libsndfile does not report it; None if libsndfile does. libsndfile
    does not report it for NIST SPHERE, and estimates it for MPEG audio without a frame count (0: unknown)."""
    if head.startswith(b"NIST_1A"):
        found = _NIST_COUNT.search(head)
        return int(found[1]) if found else None
    if head.startswith(b"ID3") or _mpeg_frame_bytes(head[:4]):
        tag_bytes = _id3_bytes(head)
        if tag_bytes > len(head) - _MPEG_HEAD_BYTES:
            file.seek(tag_bytes)
            head, tag_bytes = file.read(_MPEG_HEAD_BYTES), 0
            file.seek(0)
        return None if _MPEG_COUNT.search(head, tag_bytes, tag_bytes + _MPEG_HEAD_BYTES) else 0
    return None


def find_defect(file: BinaryIO, part: Part) -> str:
    """The reason why a part of a file must be incomplete; empty if it is complete or if that is unknown."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = min(part.end, len(data))
        head = data[part.start : part.start + 16]
        if head.startswith(b"OggS"):
            return _ogg_defect(data, part.start, end)
        if head.startswith(b"FLV\x01"):
            last = int.from_bytes(data[end - 4 : end])  # length of the previous tag: an 11-byte header and its data
            tag = end - 4 - last
            is_whole = tag > part.start and int.from_bytes(data[tag + 1 : tag + 4]) + 11 == last
            return "" if is_whole else "its last tag is cut off"
        if head == _ASF_HEADER:
            return _asf_defect(data, part.start, end)
        if head.startswith(b"caff"):
            return _caf_defect(data, part.start, end)
        if head[:2] == b"\xf0\x7e" and len(head) == 16 and head[3] == 1:
            return _sds_defect(head, end - part.start)
        if head.startswith(b"Creative Voi"):
            return _voc_defect(data, part.start, end)
        if head[:4] in (b"RIFF", b"RIFX") and head[8:12] == b"WAVE":
            return _wav_defect(data, part.start, end)
        if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"XWMA"):
            size = int.from_bytes(head[4:8], "little")
            return f"{part.start + size + 8 - end} bytes are missing" if end < part.start + size + 8 < 1 << 31 else ""
    return ""


def _asf_defect(data: mmap.mmap, start: int, end: int) -> str:
    """Judged by the length of the data object, which follows the header object."""
    begin = start + int.from_bytes(data[start + 16 : start + 24], "little")
    count = int.from_bytes(data[begin + 16 : begin + 24], "little") if data[begin : begin + 4] == _ASF_DATA else 0
    return f"{begin + count - end} bytes are missing" if begin + count > end else ""


def _caf_defect(data: mmap.mmap, start: int, end: int) -> str:
    chunk = start + 8
    for _ in range(_MOST_STEPS):
        if chunk + 12 > end:
            break
        size = int.from_bytes(data[chunk + 4 : chunk + 12], signed=True)
        if size < 0:  # up to the end of the file
            return ""
        chunk += 12 + size
    return f"{chunk - end} bytes are missing" if chunk > end else ""


def _wav_defect(data: mmap.mmap, start: int, end: int) -> str:
    """Judged by the size of the samples, if the writer knew it."""
    chunk = start + 12
    for _ in range(_MOST_STEPS):
        size = int.from_bytes(data[chunk + 4 : chunk + 8], "little" if data[start + 3] == ord("F") else "big")
        if chunk + 8 > end or data[chunk : chunk + 4] == b"data":
            missing = chunk + 8 + size - end
            return f"{missing} bytes are missing" if chunk + 8 <= end and missing > 1 and size < 0x7FFFF000 else ""
        chunk += 8 + size + size % 2
    return ""


def _voc_defect(data: mmap.mmap, start: int, end: int) -> str:
    block = start + int.from_bytes(data[start + 20 : start + 22], "little")
    # A block of type 0 ends the file. sox states a length for the last block that is 8 bytes too small.
    for _ in range(_MOST_STEPS):
        if block >= end - 9 or not data[block]:
            break
        block += 4 + int.from_bytes(data[block + 1 : block + 4], "little")
    return f"{block - end} bytes are missing" if block > end else ""


def _sds_defect(head: bytes, length: int) -> str:
    """MIDI sample dump: packets of 127 bytes, of which 120 are samples of 7 bits a byte."""
    samples = head[10] | head[11] << 7 | head[12] << 14
    packets = math.ceil(samples / (120 // math.ceil(head[6] / 7))) if head[6] else 0
    missing = 21 + 127 * packets - length
    return f"{missing} bytes are missing" if missing > 0 else ""


def _ogg_defect(data: mmap.mmap, start: int, end: int) -> str:
    page = data.rfind(b"OggS\0", max(start, end - 2 * _OGG_PAGE_BYTES), end)
    lengths = data[page + 27 : page + 27 + data[page + 26]] if 0 <= page < end - 27 else b""
    if page < 0 or page + 27 + len(lengths) + sum(lengths) > end:
        return "its last page is cut off"
    return "" if data[page + 5] & 4 else "it has no end-of-stream page"


def _end_of(data: mmap.mmap, start: int) -> int:
    """The end of a part that begins here: the start of another recording, or the end of the file."""
    magic, size = data[start : start + 4], data[start + 4 : start + 12]
    end = -1
    if magic == b"OggS":
        end = _next_ogg(data, start, start)
    elif magic in (b"RIFF", b"RIFX", b"FORM"):
        count = int.from_bytes(size[:4], "little" if magic == b"RIFF" else "big")
        end = _if_begins(data, start + 8 + count, 2, magic)
    elif magic == b"riff":
        count = int.from_bytes(data[start + 16 : start + 24], "little")
        end = _if_begins(data, start + count, 8, magic)
    elif magic == b".snd":
        end = _if_begins(data, start + int.from_bytes(size[:4]) + int.from_bytes(size[4:]), 1, magic)
    elif _MATROSKA.match(data, start):
        end = _next_matroska(data, start)
    elif size[:4] == b"ftyp":
        end = _next_mp4(data, start)
    elif magic in (b"#!AM", b"nut/", b".RMF"):
        following = _find_beginning(data, start)
        end = following.start if following else -1
    return len(data) if end < 0 else end


def _if_begins(data: mmap.mmap, place: int, align: int, magic: bytes) -> int:
    """Offset of a file of the same kind at a position, or after its padding; else -1."""
    for begin in (place, place + -place % align):
        if begin >= 24 and data[begin : begin + 4] == magic and data[begin + 8 : begin + 12] != _MORE_AVI:
            return begin
    return -1


def _next_matroska(data: mmap.mmap, start: int) -> int:
    """Judged by the length of the segment; live streams have none."""
    segment = data.find(_SEGMENT, start, start + 200)
    if segment >= 0 and (first := data[segment + 4]):
        width = 9 - first.bit_length()
        count = int.from_bytes(data[segment + 4 : segment + 4 + width]) - (1 << 7 * width)
        if count != (1 << 7 * width) - 1:
            end = segment + 4 + width + count
            return end if _MATROSKA.match(data, end) else -1
    found = _MATROSKA.search(data, start + 4)
    return found.start() if found else -1


def _find_beginning(data: mmap.mmap, start: int) -> Part | None:
    pattern = next((pattern for pattern in _BEGINNINGS if pattern.match(data, start)), None)
    begin = pattern.search(data, start + 4) if pattern else None
    return Part(begin.start(), len(data)) if begin else None


def _behind_ogg(data: mmap.mmap, part: Part, start: int, place: int, frames: int, trouble: str) -> Part | None:
    begin = _next_ogg(data, start, place)
    if begin < 0:
        return None
    # The decoder may have read pages of the next link as its own, so it reads its own link again, separately.
    return Part(part.start, begin, frames) if trouble else Part(begin, _end_of(data, begin))


def _next_ogg(data: mmap.mmap, start: int, place: int) -> int:
    """Offset of the next link of a chained file; -1 if there is none."""
    own = start
    for _ in range(_MOST_STEPS):
        if data[own : own + len(_OGG_BEGIN)] != _OGG_BEGIN:  # several streams may begin together
            break
        own = data.find(b"OggS", own + 4)
        if own < 0:
            return -1
    return data.find(_OGG_BEGIN, max(own, place - _OGG_PAGE_BYTES - _READ_AHEAD))


def _behind_flac(data: mmap.mmap, part: Part, start: int, place: int, frames: int, trouble: str) -> Part | None:
    begin = _STREAMINFO.search(data, max(start + 4, place - _READ_AHEAD))
    end = _before_tags(data, start, begin.start() if begin else len(data))
    if trouble and end < part.end:
        # It stopped at a header or tag within the data it read, so its own last frames have to be read again.
        return Part(part.start, end, frames)
    if begin:
        return Part(begin.start(), len(data))
    if (
        not trouble
        and part.zeros_at < 0
        and flac_counts_less(data[start : start + 42], frames, data[-FLAC_TAIL_BYTES:])
    ):
        return Part(part.start, len(data), frames, start + _FLAC_COUNT + 1)
    return None


def flac_counts_less(head: bytes, frames: int, tail: bytes) -> bool:
    """Whether a FLAC stream continues after all samples that its header counts were read, judged by the number of its
    last frame (RFC 9639, sections 9.1.1 to 9.1.8).

    head: at least STREAMINFO. tail: the last `FLAC_TAIL_BYTES` of the file.
    """
    begin = _STREAMINFO.search(head)
    if begin is None or len(head) < begin.start() + 42:
        return False
    counted = int.from_bytes(head[begin.start() + _FLAC_COUNT :][:5]) & (1 << 36) - 1
    if frames != counted:
        return False
    block_frames = int.from_bytes(head[begin.start() + 8 :][:2])
    place = len(tail)
    while (place := max(tail.rfind(b"\xff\xf8", 0, place), tail.rfind(b"\xff\xf9", 0, place))) >= 0:
        number = _flac_frame_number(tail[place : place + 16])
        if number >= 0:
            is_variable = tail[place + 1] & 1
            return (number if is_variable else number * block_frames) >= counted
    return False


def _flac_frame_number(header: bytes) -> int:
    """The frame or sample number in a frame header, given without its sync code; -1 if it is not valid."""
    if len(header) < 6 or not header[2] >> 4 or header[2] & 15 == 15 or header[3] & 1:
        return -1
    width = 8 - (header[4] ^ 0xFF).bit_length() if header[4] >= 0xC0 else 1  # as in UTF-8
    length = 4 + width + {6: 1, 7: 2}.get(header[2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(header[2] & 15, 0)
    if width > 7 or len(header) <= length or _crc8(header[:length]) != header[length]:
        return -1
    number = header[4] & (0x7F >> width if width > 1 else 0x7F)
    for byte in header[5 : 4 + width]:
        number = number << 6 | byte & 0x3F
    return number


def _crc8(data: bytes) -> int:
    """CRC-8 with the polynomial x^8 + x^2 + x + 1 and initial value 0: RFC 9639, section 9.1.8."""
    total, table = 0, _crc8_table()
    for byte in data:
        total = table[total ^ byte]
    return total


@cache
def _crc8_table() -> bytes:
    table = bytearray(range(256))
    for _ in range(8):
        table = bytearray((total << 1 ^ 0x07 if total & 0x80 else total << 1) & 0xFF for total in table)
    return bytes(table)


def _behind_mpeg(data: mmap.mmap, place: int) -> Part | None:
    begin = _skip_tags(data, place)
    length = _mpeg_frame_bytes(data[begin : begin + 4])
    following = data[begin + length : begin + length + 4]
    is_audio = length and (len(following) < 4 or _mpeg_frame_bytes(following) or following.startswith((b"TAG", b"ID3")))
    begin = begin if is_audio else _next_mpeg(data, begin)
    return Part(begin, len(data)) if begin >= 0 else None


def _next_mpeg(data: mmap.mmap, place: int) -> int:
    """Offset at which MPEG audio frames continue; -1 if none do. Three consecutive frames count as valid."""
    for found in islice(_MPEG_SYNC.finditer(data, place), _MOST_STEPS):
        begin = following = found.start()
        for _ in range(3):
            length = _mpeg_frame_bytes(data[following : following + 4])
            if not length or data[following + 1] & 0xFE != data[begin + 1] & 0xFE:
                break
            following += length
        else:
            return begin
    return -1


def _next_mp4(data: mmap.mmap, start: int) -> int:
    """Judged by the boxes of the file: ISO 14496-12, section 4.2."""
    box = start
    for _ in range(_MOST_STEPS):
        if box + 16 > len(data):
            break
        size, kind = int.from_bytes(data[box : box + 4]), data[box + 4 : box + 8]
        if kind == b"ftyp" and box > start:
            return box
        size = int.from_bytes(data[box + 8 : box + 16]) if size == 1 else size
        if size < 8:
            return -1
        box += size
    return -1


def _skip_tags(data: mmap.mmap, place: int) -> int:
    """Offset after any ID3v1, ID3v2 and APEv2 tags, where a frame may begin."""
    for _ in range(_MOST_STEPS):
        head = data[place : place + 32]
        if head.startswith(b"TAG"):
            place += _ID3V1_BYTES
        elif head.startswith(b"ID3") and len(head) >= 10:
            place += _id3_bytes(head)
        elif head.startswith(b"APETAGEX") and len(head) == 32:
            place += 32 + int.from_bytes(head[12:16], "little")
        else:
            break
    return place


def _before_tags(data: mmap.mmap, start: int, place: int) -> int:
    """Start of the tags that end at a position, for the kinds that `_skip_tags` knows."""
    start = max(start, place - _MOST_TAG_BYTES)
    for _ in range(_MOST_STEPS):
        if data[place - _ID3V1_BYTES : place].startswith(b"TAG"):
            begin = place - _ID3V1_BYTES
        elif (foot := data[place - 32 : place]).startswith(b"APETAGEX"):
            begin = place - int.from_bytes(foot[12:16], "little") - (32 if foot[23] & 0x80 else 0)
        else:
            begin = data.rfind(b"ID3", start, place)
            for _ in range(_MOST_STEPS):
                if begin < 0 or begin + _id3_bytes(data[begin : begin + 10]) == place:
                    break
                begin = data.rfind(b"ID3", start, begin)
            else:
                begin = -1
        if not start < begin < place:
            break
        place = begin
    return place


def _id3_bytes(head: bytes) -> int:
    """The length of an ID3v2 tag with this header; 0 if it is not one."""
    if not head.startswith(b"ID3") or len(head) < 10:
        return 0
    return 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))


def _mpeg_frame_bytes(head: bytes) -> int:
    """The length of the MPEG audio frame with this header; 0 if it is not one."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 0 or rate == 3 or bitrate in (0, 15):
        return 0
    kbits = _MPEG_KBITS[(3 if version == 3 else 2, layer if version == 3 or layer == 3 else 2)][bitrate]
    hz = _MPEG_RATES[version][rate]
    if layer == 3:
        return (12_000 * kbits // hz + padding) * 4
    return (72_000 if layer == 1 and version != 3 else 144_000) * kbits // hz + padding
