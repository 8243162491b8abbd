"""Streams: what comes through a pipe equals the file on disk, to the last bit, and comes as soon as it is there."""

from __future__ import annotations

import gzip
import io
import os
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import soundfile
from sounds import as_bytes, noise, wav_bytes

from audiocnn.audio import pcm_stream
from audiocnn.audio.pcm import ENCODINGS, RawFormat
from audiocnn.audio.recording import open_recording, read_samples
from audiocnn.audio.streams import ByteStream
from audiocnn.errors import RecordingError, UsageError

RATE = 16000
UNKNOWN = [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000]

# name -> (soundfile's container, subtype, byte order)
PLAIN = {
    **{f"wav {bits}": ("WAV", bits, "FILE") for bits in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")},
    **{f"wav {law}": ("WAV", law, "FILE") for law in ("ULAW", "ALAW")},
    **{f"wavex {bits}": ("WAVEX", bits, "FILE") for bits in ("PCM_16", "PCM_24", "FLOAT")},
    **{f"rf64 {bits}": ("RF64", bits, "FILE") for bits in ("PCM_16", "FLOAT")},
    **{f"rifx {bits}": ("WAV", bits, "BIG") for bits in ("PCM_16", "PCM_24", "PCM_32", "FLOAT")},
    **{f"au {bits}": ("AU", bits, "FILE") for bits in ("PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")},
    **{f"au {law}": ("AU", law, "FILE") for law in ("ULAW", "ALAW")},
    **{f"aiff little {bits}": ("AIFF", bits, "LITTLE") for bits in ("PCM_16", "PCM_24", "PCM_32")},
    **{f"aiff {bits}": ("AIFF", bits, "FILE") for bits in ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24")},
    **{f"aiff {bits}": ("AIFF", bits, "FILE") for bits in ("PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")},
    **{f"w64 {bits}": ("W64", bits, "FILE") for bits in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ALAW")},
    **{f"au little {bits}": ("AU", bits, "LITTLE") for bits in ("PCM_16", "PCM_24")},
}
RAW = {
    "s8": ("PCM_S8", "FILE"), "u8": ("PCM_U8", "FILE"), "mulaw": ("ULAW", "FILE"), "alaw": ("ALAW", "FILE"),
    **{f"{name}{end}": (subtype, order)
       for name, subtype in {"s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT", "f64": "DOUBLE"}.items()
       for end, order in {"le": "LITTLE", "be": "BIG"}.items()},
}  # fmt: skip


@contextmanager
def piped(*parts: bytes) -> Iterator[BinaryIO]:
    """The end of a pipe into which a thread writes; it leaves when nobody reads any more."""
    read_end, write_end = os.pipe()

    def pump() -> None:
        try:
            for part in parts:
                view = memoryview(part)
                while view:
                    view = view[os.write(write_end, view) :]
        except BrokenPipeError:
            pass
        finally:
            os.close(write_end)

    pump_thread = threading.Thread(target=pump)
    pump_thread.start()
    try:
        with os.fdopen(read_end, "rb") as stream:
            yield stream
    finally:
        pump_thread.join(30)
        assert not pump_thread.is_alive()


def through_pipe(*parts: bytes, raw: RawFormat | None = None) -> tuple[np.ndarray, str | None, bool]:
    """(channels, samples) of all that comes, the note, and whether it was decoded while it came."""
    with piped(*parts) as stream, open_recording(stream, raw) as recording:
        samples = np.concatenate(list(recording.blocks(channel="each")), axis=1)
        return samples, recording.note, recording.is_stream


def from_disk(path: Path, data: bytes) -> np.ndarray:
    path.write_bytes(data)
    return read_samples(path, channel="each")[0]


def sound(channels: int = 2, frames: int = 30011) -> np.ndarray:
    """float64 (frames, channels), as fine as any format can hold."""
    return np.random.default_rng(3).uniform(-1, 1, (frames, channels))


def container(kind: str, subtype: str, order: str, samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=kind, subtype=subtype, endian=order)
    return file.getvalue()


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_plain_samples_in_a_pipe_equal_those_on_disk(tmp_path: Path, name: str, channels: int) -> None:
    data = container(*PLAIN[name], sound(channels))
    samples, note, is_stream = through_pipe(data)
    assert is_stream and note is None
    assert samples.shape[0] == channels and samples.shape[1] in (30011, 30012), "libsndfile pads AIFF by a frame"
    assert np.array_equal(samples, from_disk(tmp_path / "a", data))
    assert np.array_equal(samples, soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0].T)


@pytest.mark.parametrize("name", ["wav PCM_16", "wavex PCM_24", "rf64 FLOAT", "au ALAW"])
@pytest.mark.parametrize("size", [1, 7, 4099])
def test_pieces_of_any_size_are_the_same(name: str, size: int) -> None:
    data = container(*PLAIN[name], sound(3, 1000))
    pieces = [data[first : first + size] for first in range(0, len(data), size)]
    assert np.array_equal(through_pipe(*pieces)[0], through_pipe(data)[0])


@pytest.mark.parametrize("name", RAW)
@pytest.mark.parametrize("channels", [1, 2])
def test_raw_samples_equal_what_libsndfile_reads(tmp_path: Path, name: str, channels: int) -> None:
    subtype, order = RAW[name]
    file = io.BytesIO()
    soundfile.write(file, sound(channels), RATE, format="RAW", subtype=subtype, endian=order)
    data = file.getvalue()
    whole = soundfile.read(
        io.BytesIO(data), dtype="float32", always_2d=True, samplerate=RATE, channels=channels, format="RAW",
        subtype=subtype, endian=order,
    )[0].T  # fmt: skip
    raw = RawFormat(name, RATE, channels)
    samples, note, is_stream = through_pipe(data, raw=raw)
    assert np.array_equal(samples, whole) and is_stream and note is None
    path = tmp_path / "samples.pcm"
    path.write_bytes(data)
    with open_recording(path, raw) as recording:
        assert recording.info.frames == 30011 and not recording.is_stream
        assert np.array_equal(np.concatenate(list(recording.blocks(channel="each")), 1), whole)
    with path.open("rb") as stream:
        stream.read(1000 * len(data) // 30011)
        with open_recording(stream, raw) as recording:
            rest = np.concatenate(list(recording.blocks(channel="each")), 1)
    assert np.array_equal(rest, whole[:, 1000:]) and recording.info.frames == 29011


def test_every_value_of_the_small_encodings() -> None:
    data = bytes(range(256)) * 2
    for name, (subtype, _) in list(RAW.items())[:4]:
        expected, _ = soundfile.read(
            io.BytesIO(data), dtype="float32", samplerate=1, channels=1, format="RAW", subtype=subtype
        )
        assert np.array_equal(through_pipe(data, raw=RawFormat(name, RATE))[0][0], expected), name
    assert set(RAW) | {"s64le", "s64be"} == set(ENCODINGS)  # libsndfile has none of 64 bits: see test_containers


@pytest.mark.parametrize("says", UNKNOWN)
def test_a_length_that_the_writer_could_not_know_is_no_damage(says: int) -> None:
    content = noise(0.5, RATE).tobytes()
    data = wav_bytes(content, RATE, says_bytes=says)
    samples, note, is_stream = through_pipe(data)
    assert is_stream and note is None
    assert np.array_equal(samples[0] * 32768, noise(0.5, RATE))
    endless = b".snd" + struct.pack(">5I", 24, 0xFFFFFFFF, 3, RATE, 1) + noise(0.5, RATE).astype(">i2").tobytes()
    assert np.array_equal(through_pipe(endless)[0], samples)


def test_what_sox_says_of_an_aiff_in_a_pipe_is_no_damage() -> None:
    data = container("AIFF", "PCM_16", "FILE", sound(1, 8000))
    assert data.count(struct.pack(">I", 16008)) == 1
    samples, note, is_stream = through_pipe(data.replace(struct.pack(">I", 16008), struct.pack(">I", 0x7F000008)))
    assert samples.shape == (1, 8000) and note is None and is_stream


def test_rf64_says_its_size_in_another_place() -> None:
    content = noise(0.5, RATE).tobytes()
    fmt = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    for says, note_of in ((len(content), None), (0, None), (2 * len(content), "0.50 s of 1.00 s")):
        ds64 = b"ds64" + struct.pack("<IQQQI", 28, 72 + says, says, says // 2, 0)
        head = b"RF64\xff\xff\xff\xffWAVE" + ds64 + fmt + b"data\xff\xff\xff\xff"
        samples, note, is_stream = through_pipe(head + content)
        assert is_stream and samples.shape == (1, 8000)
        assert note is None if note_of is None else note_of in str(note)


@pytest.mark.parametrize("chunk", [b"LIST", b"bext", b"JUNK", b"id3 "])
@pytest.mark.parametrize("size", [0, 1, 602, 70001])
def test_other_chunks_before_and_after_the_samples(tmp_path: Path, chunk: bytes, size: int) -> None:
    data = wav_bytes(noise(0.2, RATE).tobytes(), RATE)
    extra = chunk + struct.pack("<I", size) + b"\x7f" * (size + size % 2)
    whole = data[:36] + extra + data[36:] + extra
    whole = whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]
    samples, note, is_stream = through_pipe(whole)
    assert is_stream and note is None
    assert np.array_equal(samples, from_disk(tmp_path / "a.wav", whole))


def test_a_stream_that_ends_before_its_header_said(tmp_path: Path) -> None:
    data = container("WAV", "PCM_16", "FILE", sound(2, RATE))
    half = data[: 44 + len(data[44:]) // 2]
    (tmp_path / "half.wav").write_bytes(half)
    with open_recording(tmp_path / "half.wav") as recording:
        disk = np.concatenate(list(recording.blocks(channel="each")), 1)
        note = str(recording.note).removeprefix(f"{tmp_path / 'half.wav'}: ")
    samples, damage, _ = through_pipe(half)
    assert np.array_equal(samples, disk)
    assert str(damage).endswith(f": {note}") and "0.50 s of 1.00 s" in note


@pytest.mark.parametrize("extra", [1, 2, 3, 5])
def test_part_of_a_frame_at_the_end_is_left_out(extra: int) -> None:
    content = noise(0.1, RATE).tobytes()
    for says in (0xFFFFFFFF, len(content) + extra):
        samples, note, _ = through_pipe(wav_bytes(content + b"\x55" * extra, RATE, 4, says_bytes=says))
        assert samples.shape == (4, 400) and note is None
    assert through_pipe(content + b"\x55" * extra, raw=RawFormat("s32be", RATE, 2))[0].shape == (2, 400)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"empty \(0 bytes\); check the program that writes it"),
        (wav_bytes(b""), r"contains no samples; record it again or leave it out"),
        (wav_bytes(b"", says_bytes=0xFFFFFFFF), r"contains no samples; record it again or leave it out"),
        (wav_bytes(b"", says_bytes=1000), r"damaged: nothing in it can be decoded \(it ends after the header\)"),
        (wav_bytes(b"x", says_bytes=0xFFFFFFFF), r"contains no samples"),
        (wav_bytes(b"")[:30], r"damaged, cut short, or "),
        (wav_bytes(bytes(800), channels=0), r"the header states 0 channels; write the file again"),
        (wav_bytes(bytes(800), sample_rate=0), r"damaged, cut short, or "),
        (b"this is no audio\n" * 100, r"not a supported audio format; convert it first.*, or .* --raw"),
        (b"R", r"not a supported audio format|damaged or cut short"),
        (b"RIFF\xff\xff\xff\xffWAVE" + b"LIST\xf0\xff\xff\xff" + bytes(1000), r"damaged, cut short, or "),
        (b".snd" + struct.pack(">5I", 24, 100, 99, RATE, 1) + bytes(100), r"not a supported audio format"),
    ],
)
def test_streams_that_cannot_be_used(data: bytes, message: str) -> None:
    with pytest.raises(RecordingError, match=message) as caught:
        through_pipe(data)
    assert "\n" not in str(caught.value)


def test_a_stream_that_cannot_be_read() -> None:
    class Broken(Plain):
        def readinto(self, buffer: memoryview) -> int:
            raise ConnectionResetError(104, "Connection reset by peer")

    with pytest.raises(
        RecordingError, match=r"cannot be read \(Connection reset by peer\); check the program that writes it"
    ):
        open_recording(Broken(b""))  # type: ignore[arg-type]


def test_a_stream_that_breaks_is_damaged() -> None:
    class Breaking(Plain):
        def readinto(self, buffer: memoryview) -> int:
            if count := super().readinto(buffer):
                return count
            raise ConnectionResetError(104, "Connection reset by peer")

    with open_recording(Breaking(wav_bytes(bytes(8000), 8000, says_bytes=0xFFFFFFFF))) as recording:  # type: ignore[arg-type]
        assert sum(block.shape[1] for block in recording.blocks()) == 4000
        assert str(recording.note).endswith("decoded up to 0.50 s (Connection reset by peer)")


def test_nan_in_a_stream() -> None:
    samples = np.zeros((RATE, 1))
    samples[4000] = np.nan
    with pytest.raises(RecordingError, match=r"a sample is not finite \(NaN at 0\.250 s\)"):
        through_pipe(container("WAV", "FLOAT", "FILE", samples))


@pytest.mark.parametrize(
    ("kind", "subtype"), [("FLAC", None), ("OGG", "VORBIS"), ("MP3", None), ("WAV", "IMA_ADPCM"), ("CAF", "PCM_16")]
)
def test_other_containers_are_copied_first_or_refused(kind: str, subtype: str | None) -> None:
    data = as_bytes(noise(1.0, RATE), RATE, kind, subtype)
    samples, _, is_stream = through_pipe(data)
    assert not is_stream
    assert np.array_equal(samples, read_samples(io.BytesIO(data), channel="each")[0])
    with (
        pytest.raises(
            RecordingError, match="cannot be read as a live stream; send uncompressed WAV, AIFF, AU, or raw samples"
        ),
        piped(data) as stream,
    ):
        open_recording(stream, may_copy=False)


def test_samples_come_as_soon_as_they_are_there() -> None:
    """One read of what the pipe holds is one piece; nobody waits for a block to be full."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as stream:
        os.write(write_end, wav_bytes(noise(0.01, RATE).tobytes(), RATE, says_bytes=0xFFFFFFFF))
        with open_recording(stream) as recording:
            pieces = recording.pieces()
            assert next(pieces).shape == (1, 160)
            assert recording.paused()
            for samples in (1, 77, 5000):
                os.write(write_end, bytes(2 * samples))
                assert not recording.paused()
                assert next(pieces).shape == (1, samples)
            os.close(write_end)
            assert not recording.paused(), "the end is there to be read"
            assert list(pieces) == []


def test_a_stream_that_is_stopped_ends_there() -> None:
    """Whoever waits for more is woken, and what was read is no damage."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as stream:
        os.write(write_end, wav_bytes(bytes(3200), RATE, says_bytes=32000))
        with open_recording(stream) as recording:
            pieces = recording.pieces(8000)
            next(pieces)
            waker = threading.Timer(0.05, recording.stop)
            waker.start()
            assert sum(piece.shape[1] for piece in pieces) > 0  # what the resampler had kept
            assert recording.note is None
            waker.join()
            recording.stop()
    os.close(write_end)


def test_nothing_is_left_open(tmp_path: Path) -> None:
    """Neither descriptors nor threads, whether a stream ends, is left or is no audio."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    whole = container("WAV", "PCM_16", "FILE", sound(1, 200_000))
    before, threads = sorted(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208
    for _ in range(3):
        through_pipe(whole)
        through_pipe(as_bytes(noise(0.1, RATE), RATE, "FLAC"))
        with piped(whole) as stream, open_recording(stream) as recording:
            next(recording.blocks(block_seconds=0.1))
        for junk in (b"", b"junk" * 100, whole[:20]):
            with pytest.raises(RecordingError):
                through_pipe(junk)
        writer = threading.Thread(target=fifo.write_bytes, args=[whole])
        writer.start()
        assert read_samples(fifo)[0].shape == (1, 200_000)
        writer.join()
    assert threading.active_count() == threads
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_what_comes_behind_the_samples_is_taken_too() -> None:
    """So that `cat` does not end with an error."""
    data = wav_bytes(bytes(200), RATE) + b"LIST" + struct.pack("<I", 300_000) + bytes(300_000)
    code = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"
    read_end, write_end = os.pipe()
    path = Path(f"/dev/fd/{read_end}")
    with subprocess.Popen(
        [sys.executable, "-c", code, "/dev/stdin"], stdin=subprocess.PIPE, stdout=write_end
    ) as writer:
        os.close(write_end)
        assert writer.stdin is not None
        feeder = threading.Thread(target=lambda: (writer.stdin.write(data), writer.stdin.close()))  # type: ignore[union-attr]
        feeder.start()
        with open_recording(path) as recording:
            assert sum(block.shape[1] for block in recording.blocks()) == 100
        os.close(read_end)
        feeder.join()
        assert writer.wait() == 0


class Plain(io.RawIOBase):
    """A stream of Python's own, without a descriptor, that gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        part = self.data.read(min(len(buffer), 999))
        buffer[: len(part)] = part
        return len(part)


def test_streams_without_a_descriptor() -> None:
    data = container("WAV", "PCM_24", "FILE", sound(2, 3000))
    for stream in (Plain(data), io.BufferedReader(Plain(data))):
        with open_recording(stream) as recording:  # type: ignore[arg-type]
            assert recording.is_stream
            pieces = recording.pieces()
            samples = next(pieces).shape[1]
            assert recording.paused(), "nobody can tell"
            assert samples + sum(piece.shape[1] for piece in pieces) == 3000
    with pytest.raises(RecordingError, match="cannot be read twice"), open_recording(Plain(data)) as again:  # type: ignore[arg-type]
        list(again.blocks())
        list(again.blocks())


def test_what_python_has_read_already_is_not_lost() -> None:
    """A buffered stream may hold bytes that the descriptor does not show any more."""
    data = container("WAV", "PCM_16", "FILE", sound(1, 20000))
    with piped(b"first line\n" + data) as stream:
        assert stream.readline() == b"first line\n"
        with open_recording(stream) as recording:
            assert sum(block.shape[1] for block in recording.blocks()) == 20000


def test_a_hasty_stream_is_given_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that brought more sound than time has passed is waited for; a live one is not."""
    asked: list[float] = []
    monkeypatch.setattr(ByteStream, "more", lambda self, patience_seconds: asked.append(patience_seconds))
    for seconds in (0.5, 30.0):
        with piped(wav_bytes(bytes(round(2 * RATE * seconds)), RATE)) as stream, open_recording(stream) as recording:
            for _ in recording.pieces():
                recording.paused()
    assert asked[0] == 0.0
    assert asked[-1] == pcm_stream._PATIENCE_SECONDS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("s16", 16000), r'^--raw cannot be "s16"; did you mean "s16(le|be)"\?$'),
        (("wav", 16000), r'^--raw cannot be "wav"; known: alaw, f32be'),
        (("s16le", 0), r"^--rate 0: not a sample rate; give it in Hz, such as 16000$"),
        (("s16le", -8000), r"^--rate -8000: "),
        (("s16le", 2**40), r"^--rate 1099511627776: "),
        (("s16le", 16000, 0), r"^--channels 0: not supported; give a number from 1 to 1024$"),
        (("s16le", 16000, 2000), r"^--channels 2000: "),
    ],
)
def test_raw_formats_that_cannot_be(settings: tuple[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RawFormat(*settings)


def test_samples_in_a_compressed_stream_are_all_read():
    """The descriptor of such a file knows the compressed bytes only."""
    content = np.random.default_rng(1).integers(-3000, 3000, 40_000).astype("<i2").tobytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.raw.gz"
        path.write_bytes(gzip.compress(content))
        with gzip.open(path) as stream, open_recording(stream, RawFormat("s16le", 16_000)) as recording:
            assert sum(block.shape[1] for block in recording.blocks()) == 40_000
            assert recording.note is None


def test_an_empty_pipe_that_does_not_wait_is_not_the_end():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    whole = wav_bytes(b"\1\0" * 8000, sample_rate=16_000)
    later = threading.Timer(0.2, lambda: (os.write(writing, whole), os.close(writing)))
    later.start()
    with os.fdopen(reading, "rb") as stream, open_recording(stream) as recording:
        assert sum(block.shape[1] for block in recording.blocks()) == 8000
    later.join()


def test_a_file_whose_header_was_never_completed_can_be_read_twice(tmp_path):
    path = tmp_path / "unfinished.wav"
    content = bytearray(wav_bytes(b"\1\0" * 8000, sample_rate=16_000))
    at = content.index(b"data") + 4
    content[at : at + 4] = content[4:8] = bytes(4)
    path.write_bytes(content)
    with open_recording(path) as recording:
        one, two = (np.concatenate(list(recording.blocks()), axis=1) for _ in range(2))
    assert one.shape == (1, 8000)
    assert np.array_equal(one, two)
