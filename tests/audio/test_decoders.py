"""Every container and subtype that soundfile writes is read back, by name, as a stream and through a pipe; at all rates
and counts of channels; and `detect` finds the tone in each."""

from __future__ import annotations

import io
import json
import os
import struct
import threading

import numpy as np
import pytest
import soundfile
from fixtures_cli import audiocnn, tone, tone_model  # noqa: F401
from sounds import sine, write

from audiocnn.audio.find import AUDIO_SUFFIXES, SNDFILE_SUFFIXES, find_recordings
from audiocnn.audio.pcm import RawFormat
from audiocnn.audio.recording import open_recording, read_samples
from audiocnn.errors import RecordingError

RATE, HERTZ, BLOCK = 8000, 1000, 512
# Not written by soundfile, or not to be read without knowing what is in it.
NO_HEADER = {"RAW"}
NOT_WRITTEN = {
    ("AIFF", "DWVW_12"), ("MP3", "MPEG_LAYER_I"), ("MP3", "MPEG_LAYER_II"), ("WAV", "MPEG_LAYER_III"),
}  # fmt: skip


def all_kinds():
    for container in soundfile.available_formats():
        for subtype in soundfile.available_subtypes(container):
            if container not in NO_HEADER and (container, subtype) not in NOT_WRITTEN:
                yield container, subtype


def made(path, container, subtype, seconds=1.0):
    """The tone from 0.3 to 0.7 s, in as many channels as the kind takes, at most 2; None if it is not written."""
    sound = tone((0.3, 0.7), seconds=seconds, sample_rate=RATE)
    for channels in (2, 1):
        try:
            with soundfile.SoundFile(path, "w", RATE, channels, subtype, format=container) as file:
                for start in range(0, len(sound), BLOCK):
                    file.write(np.repeat(sound[start : start + BLOCK, None], channels, axis=1))
        except (soundfile.SoundFileError, ValueError):
            continue
        return channels
    return None


@pytest.mark.parametrize(("container", "subtype"), list(all_kinds()))
def test_every_kind_is_read_back(tmp_path, container, subtype):
    path = tmp_path / f"a.{container.lower()}"
    channels = made(path, container, subtype)
    if channels is None:
        pytest.skip("soundfile does not write it")
    with open_recording(path) as recording:
        assert recording.info.channels == channels
        rate = recording.info.sample_rate
        assert rate == (44100 if container == "XI" else RATE), "XI says one rate, whatever it holds"
        got = np.concatenate(list(recording.blocks()), axis=1)[0]
        assert recording.note is None
    assert got.size == pytest.approx(RATE, rel=0.15), "compressed ones count what their encoder added"
    spectrum = np.abs(np.fft.rfft(got[: RATE // 2 * 2]))
    assert np.argmax(spectrum) == pytest.approx(HERTZ, abs=10)  # a second of sound: a bin is 1 Hz


def test_detect_finds_the_tone_in_every_kind(tmp_path, tone_model):  # noqa: F811
    names = []
    for container, subtype in all_kinds():
        path = tmp_path / f"{container}-{subtype}.{container.lower()}"
        if made(path, container, subtype) is not None and container != "XI":  # which says 44100 Hz whatever it holds
            names.append(path)
    assert len(names) > 110
    done = audiocnn("detect", "--model", tone_model, "-f", "jsonl", *names)
    records = [json.loads(line) for line in done.out.splitlines()]
    found = {record["file"]: record for record in records if record["type"] == "segment"}
    assert done.err == ""
    missing = [path.name for path in names if str(path) not in found]
    assert missing == []
    late = [name for name, one in found.items() if abs(one["start"] - 0.3) > 0.12 or abs(one["end"] - 0.7) > 0.12]
    assert late == []


@pytest.mark.parametrize("container", ["FLAC", "OGG", "CAF", "WAV", "W64", "AIFF", "NIST", "VOC"])
def test_a_stream_and_a_pipe_give_what_the_file_gives(tmp_path, container):
    path = tmp_path / "a.bin"
    made(path, container, soundfile.default_subtype(container))
    wanted, _ = read_samples(path, channel="each")
    data = path.read_bytes()
    with path.open("rb") as file:
        assert np.array_equal(read_samples(file, channel="each")[0], wanted)
    assert np.array_equal(read_samples(io.BytesIO(data), channel="each")[0], wanted)
    reading, writing = os.pipe()
    writer = threading.Thread(target=lambda: [os.write(writing, data), os.close(writing)])
    writer.start()
    with os.fdopen(reading, "rb") as stream:
        assert np.array_equal(read_samples(stream, channel="each")[0], wanted)
    writer.join()


@pytest.mark.parametrize("channels", range(1, 65))
def test_channels_from_one_to_sixty_four(tmp_path, channels):
    sound = np.stack([np.full(500, number + 1) for number in range(channels)], axis=1).astype(np.int16)
    for suffix in ("wav", "caf"):
        path = write(tmp_path / f"a.{suffix}", sound, RATE, "PCM_16")
        assert np.array_equal(read_samples(path, channel="each")[0] * 32768, sound.T)
        last = read_samples(path, channel=channels - 1)[0]
        assert np.array_equal(last[0] * 32768, sound[:, -1])
        assert read_samples(path)[0][0, 0] * 32768 == pytest.approx((channels + 1) / 2, abs=1e-4)
        with pytest.raises(RecordingError, match=f"no channel {channels}; it has {channels}, numbered from 0"):
            read_samples(path, channel=channels)


RATES = [1, 2, 10, 100, 999, 8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000, 176400, 192000, 352800, 384000]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("suffix", ["wav", "caf", "flac"])
def test_rates_from_1_hz_to_384_khz(tmp_path, rate, suffix):
    frames = max(16, min(rate, 50_000))
    sound = sine(rate / 16, frames / rate, rate)
    path = write(tmp_path / f"a.{suffix}", sound, rate, "PCM_16")
    samples, same = read_samples(path)
    assert same == rate
    assert np.abs(samples[0] - sound).max() < 1e-4
    resampled, _ = read_samples(path, 16_000)
    assert abs(resampled.shape[1] - frames * 16_000 / rate) <= 1


SUBTYPES = {"PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 25, "DOUBLE": 25}


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_bits_from_8_to_64(tmp_path, subtype):
    sound = np.random.default_rng(0).uniform(-0.9, 0.9, 4000)
    path = write(tmp_path / "a.wav", sound, RATE, subtype)
    step = max(2.0 ** (1 - SUBTYPES[subtype]), 2.0**-24)  # float32 is what is given out
    assert np.abs(read_samples(path)[0][0] - sound).max() <= step


@pytest.mark.parametrize("order", ["<", ">"])
def test_whole_numbers_of_64_bits(tmp_path, monkeypatch, order):
    values = np.array([0, 1 << 62, -(1 << 62), -(1 << 63), 12345 << 40])
    data = values.astype(f"{order}i8").tobytes()
    head = struct.pack(order + "4sI", b"RIFF" if order == "<" else b"RIFX", 36 + len(data))
    head += b"WAVEfmt " + struct.pack(order + "IHHIIHH", 16, 1, 1, RATE, 8 * RATE, 8, 64)
    path = tmp_path / "a.wav"
    path.write_bytes(head + b"data" + struct.pack(order + "I", len(data)) + data)
    wanted = (values / 2.0**63).astype(np.float32)
    assert np.array_equal(read_samples(path)[0][0], wanted)
    monkeypatch.setenv("PATH", "")  # it needs no ffmpeg
    with path.open("rb") as file:
        assert np.array_equal(read_samples(file)[0][0], wanted)
    assert np.array_equal(read_samples(io.BytesIO(path.read_bytes()))[0][0], wanted)
    raw = RawFormat(f"s64{'le' if order == '<' else 'be'}", RATE)
    with open_recording(io.BytesIO(data), raw) as recording:
        assert np.array_equal(next(recording.blocks())[0], wanted)


def test_folders_are_searched_for_every_suffix(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    for suffix in AUDIO_SUFFIXES:
        (tmp_path / f"a{suffix.upper()}").touch()
    assert {path.suffix.lower() for path in find_recordings([tmp_path])} == SNDFILE_SUFFIXES
