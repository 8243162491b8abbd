"""Recordings: what is read equals what was written, at any rate, in blocks of any length."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import as_bytes, noise, sine, wav_bytes, write

from audiocnn.audio.find import find_recordings
from audiocnn.audio.recording import open_recording, read_info, read_samples
from audiocnn.errors import RecordingError, show_name

ROOT = Path(__file__).resolve().parents[2]


def test_stereo_at_44100_becomes_mono_at_16000(tmp_path: Path) -> None:
    left = sine(1000, 2.5, 44100)
    path = write(tmp_path / "a.wav", np.stack([left, 0.5 * left], 1), 44100, "FLOAT")
    samples, rate = read_samples(path, 16000)
    assert (samples.shape, samples.dtype, rate) == ((1, 40000), np.float32, 16000)
    # Away from the ends, where a filter needs the silence around, it is the same sine to -66 dB.
    expected = sine(1000, 2.5, 16000, amplitude=0.375)
    assert np.abs(samples[0] - expected)[800:-800].max() < 5e-4


def test_what_lies_above_half_the_rate_is_gone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", sine(12000, 1, 44100), 44100, "FLOAT")
    assert np.abs(read_samples(path, 16000)[0][0, 800:-800]).max() < 5e-4


def test_channels(tmp_path: Path) -> None:
    both = np.stack([noise(0.1, 16000, 1), noise(0.1, 16000, 2)], 1)
    path = write(tmp_path / "a.wav", both, 16000)
    exact = both.T / np.float32(32768)
    assert np.array_equal(read_samples(path, channel="each")[0], exact)
    assert np.array_equal(read_samples(path, channel=1)[0], exact[1:])
    assert np.array_equal(read_samples(path, channel="mix")[0], exact.mean(0, keepdims=True))
    for channel in (2, -1, "left"):
        with pytest.raises(RecordingError, match=rf"a.wav: no channel {channel}; it has 2, numbered from 0"):
            read_samples(path, channel=channel)


@pytest.mark.parametrize("block_seconds", [0.013, 0.25, 1.0, 60.0])
@pytest.mark.parametrize("rate", [16000, 11025])
def test_blocks_join_to_the_whole(tmp_path: Path, block_seconds: float, rate: int) -> None:
    path = write(tmp_path / "a.flac", noise(1.7, 16000), 16000)
    with open_recording(path) as recording:
        blocks = list(recording.blocks(rate, block_seconds=block_seconds))
        assert {block.shape for block in blocks[:-1]} <= {(1, round(block_seconds * rate))}
        assert np.array_equal(np.concatenate(blocks, 1), read_samples(path, rate)[0])
        again = np.concatenate(list(recording.blocks(rate, block_seconds=0.1)), 1)
        assert np.array_equal(again, np.concatenate(blocks, 1)), "a recording can be read twice"


@pytest.mark.parametrize(("kind", "subtype"), [("OGG", "OPUS"), ("OGG", "VORBIS"), ("MP3", None), ("FLAC", None)])
def test_compressed_files_in_pieces_equal_the_whole(tmp_path: Path, kind: str, subtype: str | None) -> None:
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(as_bytes(noise(5, 16000), 16000, kind, subtype))
    whole, rate = soundfile.read(path, dtype="float32")
    # mpg123 rounds the last bit by the alignment of the buffer; the others are equal bit by bit.
    assert np.abs(read_samples(path)[0][0] - whole).max() <= (5e-7 if kind == "MP3" else 0)
    assert rate == 16000


@pytest.mark.parametrize("rate", [1, 7, 100, 8000, 44100, 48000, 96000, 384000, 768000])
@pytest.mark.parametrize("frames", [1, 10, 997])
def test_any_rate_keeps_the_length(tmp_path: Path, rate: int, frames: int) -> None:
    path = write(tmp_path / "a.wav", np.full(frames, 0.25, np.float32), rate, "FLOAT")
    expected = frames * 16000 / rate
    if round(expected) == 0:
        with pytest.raises(RecordingError, match=r"a\.wav: shorter than one sample at 16000 Hz"):
            read_samples(path, 16000)
        return
    samples, _ = read_samples(path, 16000)
    assert abs(samples.shape[1] - expected) <= 1
    if frames == 997:
        middle = samples[0, samples.shape[1] // 2]
        assert middle == pytest.approx(0.25, abs=0.01)


def test_blocks_need_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 48000, 2, "PCM_16") as file:
        for second in range(180):
            file.write(np.full((48000, 2), second / 200, np.float32))
    tracemalloc.start()
    with open_recording(path) as recording:
        seconds = sum(block.shape[1] for block in recording.blocks(16000)) / 16000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds == 180
    assert peak < 4e6, "the whole recording is 69 MB"


def test_low_rates_need_little_memory(tmp_path: Path) -> None:
    # One piece of 4096 samples at 1 Hz would become 262 MB at 16 kHz.
    path = write(tmp_path / "slow.wav", np.zeros(6000, np.int16), 1)
    with open_recording(path) as recording:
        blocks = recording.blocks(16000)
        tracemalloc.start()
        shape = next(blocks).shape
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert shape == (1, 160000)
    assert peak < 150e6


def test_streams_and_pipes(tmp_path: Path) -> None:
    data = as_bytes(noise(0.5, 16000), 16000, "FLAC")
    expected = noise(0.5, 16000) / np.float32(32768)
    assert np.array_equal(read_samples(io.BytesIO(data))[0][0], expected)
    read_end, write_end = os.pipe()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with os.fdopen(read_end, "rb") as stream:
        writer = threading.Thread(target=lambda: [os.write(write_end, data), os.close(write_end)])
        writer.start()
        assert np.array_equal(read_samples(stream)[0][0], expected)
        writer.join()
    writer = threading.Thread(target=lambda: fifo.write_bytes(data))
    writer.start()
    assert np.array_equal(read_samples(fifo)[0][0], expected)
    writer.join()
    with pytest.raises(RecordingError, match=r"stream: empty \(0 bytes\); check the program that writes it"):
        read_samples(io.BytesIO(b""))


@pytest.mark.parametrize(("kind", "subtype"), [("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)])
def test_a_file_cut_short_is_read_as_far_as_it_goes(tmp_path: Path, kind: str, subtype: str | None) -> None:
    data = as_bytes(noise(6, 16000), 16000, kind, subtype)
    path = tmp_path / f"half.{kind.lower()}"
    path.write_bytes(data[: len(data) // 2])
    with open_recording(path) as recording:
        samples = np.concatenate(list(recording.blocks()), 1)
        note, promised = recording.note, recording.info.frames or 0
    assert 1.5 * 16000 < samples.shape[1] < 4 * 16000
    if promised > samples.shape[1]:  # Ogg without its end says nothing wrong
        assert note is not None
        assert note.startswith(f"{path}: damaged or cut short: decoded up to {samples.shape[1] / 16000:.2f} s of 6.0")


def test_a_header_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "liar.wav"
    path.write_bytes(wav_bytes(np.arange(100, dtype="<i2").tobytes(), says_bytes=0xFFFFFF00))
    assert np.array_equal(read_samples(path)[0][0] * 32768, np.arange(100))


def test_info(tmp_path: Path) -> None:
    info = read_info(write(tmp_path / "a.wav", np.zeros((441, 3), np.int16), 44100))
    assert (info.sample_rate, info.channels, info.frames, info.duration_seconds) == (44100, 3, 441, 0.01)


def test_folders_are_searched_sorted_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.wav", "a.FLAC", "x/c.opus", "x/._c.opus", ".hidden.wav", ".git/d.wav", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "x" / "loop").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in find_recordings([tmp_path])]
    assert found == ["a.FLAC", "b.wav", "x/c.opus"]
    named = [tmp_path / "notes.txt", Path("-")]
    assert list(find_recordings(named)) == named, "what is named is taken as it is"


def test_a_folder_without_audio(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"no recordings in this folder; they must end in .*\.flac"):
        list(find_recordings([tmp_path]))


def test_names_in_messages_are_one_printable_line() -> None:
    assert show_name("a\nb\x1b.wav") == r"a\nb\x1b.wav"
    assert show_name(b"\xff.wav") == r"\udcff.wav"
    assert show_name(Path("größe 1.wav")) == "größe 1.wav"


def test_importing_is_cheap() -> None:
    script = "import sys, audiocnn.audio.recording; print({'soundfile', 'soxr', 'torch'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout == "set()\n"


@pytest.mark.parametrize(
    ("form", "subtype"), [("WAV", "PCM_16"), ("WAVEX", "PCM_24"), ("AIFF", "PCM_16"), ("AU", "PCM_16")]
)
def test_a_cut_file_of_plain_samples_is_noticed(tmp_path: Path, form: str, subtype: str) -> None:
    """libsndfile trusts the length of the file more than the header, and reads what is there without a word."""
    import soundfile

    path = tmp_path / "cut.wav"
    soundfile.write(path, np.zeros((16000, 2)), 16000, format=form, subtype=subtype)
    whole = path.read_bytes()
    with open_recording(path) as recording:
        list(recording.blocks())
        assert recording.note is None
    path.write_bytes(whole[: len(whole) // 2])
    with open_recording(path) as recording:
        list(recording.blocks())
        assert recording.note == f"{path}: damaged or cut short: decoded up to 0.50 s of 1.00 s"


def test_a_length_that_a_pipe_could_not_know_is_no_damage(tmp_path: Path) -> None:
    import soundfile

    path = tmp_path / "piped.wav"
    soundfile.write(path, np.zeros(16000), 16000)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff" * 4
    path.write_bytes(content)
    with open_recording(path) as recording:
        assert sum(block.shape[1] for block in recording.blocks()) == 16000
        assert recording.note is None
