"""Sizes, counts and rates in headers are not believed; what decodes to much needs time, and no memory."""

from __future__ import annotations

import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import as_bytes, noise, wav_bytes

from audiocnn.audio import sandbox
from audiocnn.audio.recording import open_recording, read_samples
from audiocnn.errors import RecordingError

ROOT = Path(__file__).resolve().parents[2]
SOUND = noise(0.5, 8000)
DATA = SOUND.tobytes()


def changed(data, place, code, value):
    """The bytes with one field written anew."""
    content = bytearray(data)
    struct.pack_into(code, content, place, value)
    return bytes(content)


def lying(kind):
    """Files whose headers promise what is not there."""
    if kind == "RF64":
        rf64 = as_bytes(SOUND, 8000, "RF64", "PCM_16")
        return {f"{kind} {size}": changed(rf64, rf64.index(b"ds64") + 16, "<Q", size) for size in (1 << 33, 1 << 62)}
    if kind == "AU":
        au = as_bytes(SOUND, 8000, "AU", "PCM_16")
        return {f"{kind} {size}": changed(au, 8, ">I", size) for size in (0xFFFFFFF0, 0x7FFFFFFF)}
    if kind == "AIFF":
        aiff = as_bytes(SOUND, 8000, "AIFF", "PCM_16")
        place = aiff.index(b"SSND") + 4
        return {f"{kind} {size}": changed(aiff, place, ">I", size) for size in (0xFFFFFFF0, 0x7FFFFFFF)}
    if kind == "W64":
        w64 = as_bytes(SOUND, 8000, "W64", "PCM_16")
        return {f"{kind} {size}": changed(w64, w64.index(b"data\xf3") + 16, "<Q", size) for size in (1 << 33, 1 << 60)}
    if kind == "CAF":
        caf = as_bytes(SOUND, 8000, "CAF", "PCM_16")
        return {f"{kind} {size}": changed(caf, caf.index(b"data") + 4, ">q", size) for size in (1 << 33, 1 << 60)}
    return {f"WAV {size}": wav_bytes(DATA, 8000, says_bytes=size) for size in (0xFFFFFFF0, 0x7FFFFFF0, 0xF0000000)}


LIES = {name: data for kind in ("WAV", "RF64", "AU", "AIFF", "W64", "CAF") for name, data in lying(kind).items()}


@pytest.mark.parametrize("name", LIES)
def test_a_size_that_is_not_there_costs_no_memory(tmp_path, name):
    path = tmp_path / "liar.wav"
    path.write_bytes(LIES[name])
    tracemalloc.start()
    try:
        samples, _ = read_samples(path)
    except RecordingError as error:  # refused is as good, where libsndfile says that it is damaged
        assert "damaged" in str(error), name
        assert not name.startswith(("WAV", "RF64", "AU"))
    else:
        assert np.array_equal(samples[0] * 32768, SOUND)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 30e6


@pytest.mark.parametrize("channels", [0, 1025, 65535])
def test_a_count_of_channels_that_cannot_be(tmp_path, channels):
    path = tmp_path / "a.wav"
    path.write_bytes(changed(wav_bytes(DATA, 8000), 22, "<H", channels))
    with pytest.raises(RecordingError, match=r"a\.wav: (the header states 0 channels|damaged, cut short)"):
        read_samples(path, 16_000)


@pytest.mark.parametrize("rate", [0, 1 << 31, 0xFFFFFFFF])
def test_a_rate_that_cannot_be(tmp_path, rate):
    path = tmp_path / "a.wav"
    path.write_bytes(changed(wav_bytes(DATA, 8000), 24, "<I", rate))
    with pytest.raises(RecordingError, match=r"a\.wav: damaged, cut short"):
        read_samples(path, 16_000)


def test_the_highest_rate_that_can_be_said(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(changed(wav_bytes(DATA, 8000), 24, "<I", (1 << 31) - 1))
    with pytest.raises(RecordingError, match=r"a\.wav: shorter than one sample at 16000 Hz|cannot be resampled"):
        read_samples(path, 16_000)


@pytest.mark.parametrize(("frames", "channels"), [(1 << 35, 1), (1, 1), (1 << 35, 2), (0, 8)])
def test_a_flac_that_lies(tmp_path, frames, channels):
    data = as_bytes(SOUND, 8000, "FLAC")
    facts = int.from_bytes(data[18:26])  # STREAMINFO: rate 20 bits, channels - 1 in 3, bits - 1 in 5, frames 36
    facts = facts >> 44 << 44 | (channels - 1) << 41 | facts & 0x1F << 36 | frames
    path = tmp_path / "liar.flac"
    path.write_bytes(data[:18] + facts.to_bytes(8) + data[26:])
    tracemalloc.start()
    try:
        with open_recording(path) as recording:
            read = sum(block.shape[1] for block in recording.blocks())
            assert read <= SOUND.size
            assert recording.note or read == SOUND.size or frames == 1
    except RecordingError as error:
        assert "damaged" in str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6


def bomb(path, **kind):
    """Two hours of silence, at 8 kHz."""
    silence = np.zeros(1 << 18, np.int16)
    with soundfile.SoundFile(path, "w", 8000, 1, **kind) as file:
        for _ in range(2 * 3600 * 8000 // silence.size):
            file.write(silence)
    return path


CODE = """
import sys
from audiocnn.audio.recording import open_recording
with open_recording(sys.argv[1]) as recording:
    samples = sum(block.shape[1] for block in recording.blocks())
    child = recording._decoder._process.process.pid
    most = [int(line.split()[1]) for line in open(f"/proc/{child}/status") if line.startswith("VmHWM")]
    ours = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(samples, most[0], ours[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_hours_of_silence_in_a_few_kilobytes_need_little_memory(tmp_path):
    path = bomb(tmp_path / "bomb.flac")
    assert path.stat().st_size < 400_000, "decoded it is 230 MB"
    command, environ = [sys.executable, "-c", CODE, str(path)], {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    samples, theirs, ours = map(int, done.stdout.split())
    assert samples == 2 * 3600 * 8000 // (1 << 18) * (1 << 18)
    assert theirs < 60_000, "kB, of the process that decodes"
    assert ours < 150_000


def test_the_process_that_decodes_has_limits():
    started = sandbox.take()
    started.ask(b"O", name=b"/dev/null")
    started.answer()
    limits = Path(f"/proc/{started.process.pid}/limits")
    if limits.exists():
        said = {line[:26].strip(): line[26:].split()[0] for line in limits.read_text().splitlines()[1:]}
        assert said["Max address space"] == str(1 << 30)
        assert said["Max core file size"] == "0"
        assert int(said["Max cpu time"]) <= 70
    started.end()
