"""Recordings in every supported container, and mutations of them: header fields, sizes and counts, frames, and plain
noise. The same seed gives the same files."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

RATE, FRAMES = 8000, 1600
HEADER_BYTES = 200
BLOCK_FRAMES = 512  # libsndfile crashed when it wrote Vorbis in one large piece
EXTREMES = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
MARKS = (b"RIFF", b"RF64", b"ds64", b"fmt ", b"fact", b"data", b"LIST", b"PEAK", b"FORM", b"COMM", b"SSND", b"FVER")
MARKS += (b"caff", b"desc", b"kuki", b"pakt", b"chan", b"VHDR", b"BODY", b"riff", b"vorbis", b"OpusHead", b"fLaC")
MARKS += (b"moov", b"mvhd", b"trak", b"mdia", b"stsd", b"stsz", b"stco", b"stsc", b"esds", b"mdat", b"ftyp")
# Containers of soundfile that cannot be read back, or only with parameters that are not in the file.
NO_FILES = {"RAW", "SD2"}
OUTSIDE = {"m4a": "aac", "aac": "aac", "mka": "libopus", "wma": "wmav2", "wv": "wavpack", "avi": "mp2", "flv": "mp3"}


def samples(channels):
    """A tone in noise, (FRAMES, channels)."""
    times = np.arange(FRAMES) / RATE
    sound = 0.3 * np.sin(2 * np.pi * 1000 * times) + np.random.default_rng(1).normal(0, 0.01, FRAMES)
    return np.repeat(sound[:, None], channels, axis=1)


def seeds():
    """{name: bytes} of good recordings, one for each container and subtype that soundfile writes."""
    made = {}
    for container in sorted(set(soundfile.available_formats()) - NO_FILES):
        for subtype in sorted(soundfile.available_subtypes(container)):
            for channels in (2, 1):
                if data := written(container, subtype, channels):
                    made[f"{container}-{subtype}"] = data
                    break
    return made


def written(container, subtype, channels):
    """The bytes of a file, or None if libsndfile cannot write it."""
    file = io.BytesIO()
    rate = 48000 if subtype == "OPUS" else RATE
    try:
        with soundfile.SoundFile(file, "w", rate, channels, subtype, format=container) as out:
            sound = samples(channels)
            for start in range(0, FRAMES, BLOCK_FRAMES):
                out.write(sound[start : start + BLOCK_FRAMES])
    except (soundfile.SoundFileError, ValueError):
        return None
    return file.getvalue() or None


def outside_seeds():
    """{name: bytes} of recordings written by ffmpeg; empty without ffmpeg."""
    program, made = shutil.which("ffmpeg"), {}
    if program is None:
        return made
    with tempfile.TemporaryDirectory() as folder:
        for suffix, codec in OUTSIDE.items():
            path = Path(folder) / f"a.{suffix}"
            sound = ["-f", "lavfi", "-i", "sine=1000:d=0.2:r=44100", "-c:a", codec, "-strict", "-2"]
            done = subprocess.run([program, "-v", "quiet", *sound, str(path)], check=False, stdin=subprocess.DEVNULL)
            if done.returncode == 0:
                made[f"ffmpeg-{suffix}"] = path.read_bytes()
    return made


def spoil(data, others, random):
    """A mutant of `data`: one to three mutations, most of which keep the structure."""
    content = bytearray(data)
    for _ in range(int(random.integers(1, 4))):
        change = MUTATIONS[random.integers(len(MUTATIONS))]
        content = change(content, others, random)
    return bytes(seal_pages(content) if random.random() < 0.7 else content)


def field_in_header(content, others, random):
    """Replace a number in the header, 2, 4 or 8 bytes wide, in either byte order, by an extreme value."""
    return put(content, random.integers(0, max(1, min(len(content), HEADER_BYTES))), random)


def field_after_mark(content, others, random):
    """Replace the number after the name of a chunk: its size, or the beginning of its body."""
    places = [place for mark in MARKS if (place := content.find(mark)) >= 0]
    if not places:
        return field_in_header(content, others, random)
    return put(content, int(random.choice(places)) + 4 + 2 * int(random.integers(0, 12)), random)


def put(content, place, random):
    """Write an extreme value, or a value near the present one."""
    code = random.choice(["<H", ">H", "<I", ">I", "<Q", ">Q"])
    width = struct.calcsize(code)
    if place + width > len(content):
        return content
    there = struct.unpack_from(code, content, place)[0]
    near = [there + 1, there - 1, there * 2, there // 2, len(content), len(content) * 1000, 1 << 62]
    values = near if random.random() < 0.4 else EXTREMES
    value = values[random.integers(len(values))]
    struct.pack_into(code, content, place, value % (1 << 8 * width))
    return content


def flipped_bits(content, others, random):
    """Flip single bits anywhere."""
    for place in random.integers(0, max(1, len(content)), random.integers(1, 9)):
        if content:
            content[place] ^= 1 << int(random.integers(8))
    return content


def flipped_frames(content, others, random):
    """Change bytes of the body, but not of the header."""
    start = min(HEADER_BYTES, len(content) // 2)
    for place in random.integers(start, max(start + 1, len(content)), random.integers(1, 65)):
        if place < len(content):
            content[place] = int(random.integers(256))
    return content


def cut(content, others, random):
    """Cut off the end."""
    return content[: random.integers(0, len(content) + 1)]


def dropped(content, others, random):
    """Remove a section."""
    start, length = random.integers(0, len(content) + 1), random.integers(1, 200)
    return content[:start] + content[start + length :]


def repeated(content, others, random):
    """Repeat a section."""
    start, length = random.integers(0, len(content) + 1), random.integers(1, 400)
    return content[:start] + content[start : start + length] * int(random.integers(2, 50)) + content[start:]


def filled(content, others, random):
    """Fill a section with zeros or ones."""
    start, length = random.integers(0, len(content) + 1), random.integers(1, 400)
    stretch = content[start : start + length]
    content[start : start + length] = bytes([random.choice([0, 255])]) * len(stretch)
    return content


def spliced(content, others, random):
    """Continue with the content of another container."""
    other = others[random.integers(len(others))]
    return content[: random.integers(0, len(content) + 1)] + other[random.integers(0, len(other)) :]


def noise(content, others, random):
    """Replace all but the first bytes by random ones."""
    kept = int(random.integers(0, 48))
    return content[:kept] + random.bytes(int(random.integers(0, 5000)))


MUTATIONS = (field_in_header,) * 4 + (field_after_mark,) * 5 + (flipped_frames,) * 3
MUTATIONS += (flipped_bits, cut, dropped, repeated, filled, spliced, noise)


def seal_pages(content):
    """Ogg pages with correct checksums, so that other errors are reached (RFC 3533)."""
    place = 0
    while content[place : place + 4] == b"OggS" and place + 27 <= len(content):
        lacing = content[place + 27 : place + 27 + content[place + 26]]
        end = place + 27 + content[place + 26] + sum(lacing)
        content[place + 22 : place + 26] = bytes(4)
        content[place + 22 : place + 26] = struct.pack("<I", page_sum(content[place:end]))
        place = end
    return content


def page_sum(page):
    """CRC-32 with the polynomial 0x04C11DB7, highest bit first, initial value 0."""
    total = 0
    for byte in page:
        total = (total << 8 & 0xFFFFFFFF) ^ TABLE[total >> 24 ^ byte]
    return total


def row(number):
    """An entry of the table for `page_sum`."""
    number <<= 24
    for _ in range(8):
        number = (number << 1 ^ 0x04C11DB7 if number & 0x80000000 else number << 1) & 0xFFFFFFFF
    return number


TABLE = [row(number) for number in range(256)]
