"""Recordings that ffmpeg reads: with one of a few lines, which fails as asked, and with the real one."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
from collections import Counter

import numpy as np
import pytest
from fixtures_cli import audiocnn, tone, tone_model  # noqa: F401
from sounds import sine, write

from audiocnn.audio import ffmpeg
from audiocnn.audio.decoders import EARLY_LOOK_BYTES
from audiocnn.audio.ffmpeg import DEMUXERS, FFMPEG_SUFFIXES, FfmpegFile, ffmpeg_command
from audiocnn.audio.find import find_recordings
from audiocnn.audio.recording import open_recording, read_samples
from audiocnn.errors import RecordingError

MP4 = b"\x00\x00\x00\x20ftypM4A " + bytes(2000)
RATE = 8000
FAKE = """#!{python}
import sys, time, os
import struct
open({log!r}, "a").write(repr(sys.argv[1:]) + "\\n")
source = open(sys.argv[sys.argv.index("-i") + 1].removeprefix("file:"), "rb").read()
say = lambda line: (sys.stderr.write(line + "\\n"), sys.stderr.flush())
samples = struct.pack("<8000f", *([0.25] * 8000))
head = b"RIFF" + b"\\xff" * 4 + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 1, 8000, 32000, 4, 32)
head += b"data" + b"\\xff" * 4
out = sys.stdout.buffer
{body}
"""
GOOD = 'say("[info]   Duration: 00:00:01.00, start: 0"); say("[info] Stream mapping:")\nout.write(head + samples)'
REAL = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(REAL is None, reason="needs ffmpeg")


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """fake(body) puts an ffmpeg on the PATH that does this; fake.log says how it was called."""

    def make(body):
        program = tmp_path / "bin" / "ffmpeg"
        program.parent.mkdir(exist_ok=True)
        program.write_text(FAKE.format(python=sys.executable, log=str(make.log), body=body))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))

    make.log = tmp_path / "log"
    return make


@pytest.fixture
def m4a(tmp_path):
    path = tmp_path / "a.m4a"
    path.write_bytes(MP4)
    return path


def test_without_ffmpeg_the_line_says_what_to_do(m4a, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RecordingError, match=r"a\.m4a: cannot be read without ffmpeg; install ffmpeg, which reads m4a"):
        open_recording(m4a)
    with pytest.raises(RecordingError, match="x: cannot be read without ffmpeg; install"):
        open_recording(io.BytesIO(MP4), name="x")


def test_its_samples_are_read_as_they_come(m4a, fake):
    fake(GOOD)
    with open_recording(m4a) as recording:
        assert isinstance(recording._decoder, FfmpegFile)
        assert (recording.info.sample_rate, recording.info.channels, recording.info.frames) == (RATE, 1, RATE)
        for _ in range(2):  # it is started again
            samples = np.concatenate(list(recording.blocks()), axis=1)
            assert np.array_equal(samples, np.full((1, RATE), 0.25, np.float32))
        assert recording.note is None
    calls = fake.log.read_text().splitlines()
    assert len(calls) == 2
    for part in ("'-nostdin'", "'-protocol_whitelist', 'file,subfile'", "'0:a:0'", "'pcm_f32le'"):
        assert part in calls[0]


def test_a_pipe_is_copied_and_then_read(fake):
    fake(GOOD)
    reader, writer = os.pipe()
    thread = threading.Thread(target=lambda: [os.write(writer, MP4), os.close(writer)])
    thread.start()
    with os.fdopen(reader, "rb") as stream:
        assert read_samples(stream)[0].shape == (1, RATE)
    thread.join()


def through_pipe(data):
    """(1, samples) of what comes through a pipe."""
    reader, writer = os.pipe()

    def send():
        with os.fdopen(writer, "wb") as stream:
            stream.write(data)

    thread = threading.Thread(target=send)
    thread.start()
    with os.fdopen(reader, "rb") as stream:
        samples = read_samples(stream)[0]
    thread.join()
    return samples


def long_heads(folder):
    """Name -> bytes of recordings whose samples stand behind more than what is looked at of a pipe."""
    sound, much = sine(100, 1, RATE), bytes(EARLY_LOOK_BYTES + 100_000)
    flac, wav = write(folder / "a.flac", sound, RATE).read_bytes(), write(folder / "a.wav", sound, RATE).read_bytes()
    mp3 = write(folder / "a.mp3", sound, RATE, "MPEG_LAYER_III").read_bytes()
    picture = struct.pack(">II9sIIIIII", 3, 9, b"image/png", 0, 1, 1, 24, 0, len(much)) + much
    picture = bytes([6]) + len(picture).to_bytes(3, "big") + picture  # a block of metadata, behind the first
    tag = b"TXXX" + len(much).to_bytes(4, "big") + bytes(2) + much
    size = bytes(len(tag) >> shift & 127 for shift in (21, 14, 7, 0))
    return {
        "flac": flac[:4] + bytes([flac[4] & 127]) + flac[5:42] + picture + flac[42:],
        "wav": wav[:36] + b"JUNK" + len(much).to_bytes(4, "little") + much + wav[36:],
        "mp3": b"ID3\3\0\0" + size + tag + mp3,
    }


@pytest.mark.parametrize("with_ffmpeg", [True, False])
@pytest.mark.parametrize("kind", ["flac", "wav", "mp3"])
def test_a_long_head_in_a_pipe_is_no_reason(tmp_path, fake, monkeypatch, kind, with_ffmpeg):
    if with_ffmpeg:
        fake("sys.exit(1)")  # as it does with a beginning alone
    else:
        monkeypatch.setenv("PATH", "")
    data = long_heads(tmp_path)[kind]
    assert data[36:40] != b"data" and len(data) > EARLY_LOOK_BYTES
    wanted = read_samples(tmp_path / f"a.{kind}")[0]
    assert np.array_equal(through_pipe(data), wanted)


def test_what_neither_reads_keeps_the_reason_of_libsndfile(tmp_path, fake):
    fake("sys.exit(1)")
    path = tmp_path / "a.flac"
    path.write_bytes(long_heads(tmp_path)["flac"][: EARLY_LOOK_BYTES // 2])
    for source in (path, io.BytesIO(path.read_bytes())):
        with pytest.raises(RecordingError, match=r"damaged, cut short, or .* \(.*flac decoder.*\); copy it again"):
            open_recording(source)
    assert len(fake.log.read_text().splitlines()) == 2


BAD = {
    'say("[mov @ 0x1] [error] moov atom not found"); say("[error] file:/dev/fd/9: Invalid data found"); sys.exit(1)':
        r"not a supported audio format \(ffmpeg: Invalid data found\); check the file, or copy it again",
    'say("[fatal] Stream map \'0:a:0\' matches no streams."); sys.exit(1)': "ffmpeg finds no audio in it; leave",
    "sys.exit(3)": r"not a supported audio format \(ffmpeg: ffmpeg ended with exit code 3\)",
    "pass": r"not a supported audio format \(ffmpeg: no output\)",
    'out.write(b"no WAV at all" * 10)': r"not a supported audio format \(ffmpeg: no output\)",
    "out.write(head)": "contains no samples; record it again or leave it out",
    'out.write(head); say("[error] broken"); sys.exit(1)': r"damaged: nothing in it can be decoded \(broken\); copy",
    "os.kill(os.getpid(), 11)": r"not a supported audio format \(ffmpeg: ffmpeg ended with exit code -11\)",
}  # fmt: skip


@pytest.mark.parametrize("body", BAD)
def test_what_it_cannot_read_gets_one_line(m4a, fake, body):
    fake(body)
    with pytest.raises(RecordingError, match=rf"a\.m4a: {BAD[body]}") as caught:
        read_samples(m4a)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("end", ['say("[error] partial file")', "sys.exit(1)", "os.kill(os.getpid(), 11)"])
def test_what_it_reads_in_part_is_told_of(m4a, fake, end):
    fake(f"{GOOD}; out.flush()\n{end}")
    with open_recording(m4a) as recording:
        assert sum(block.shape[1] for block in recording.blocks()) == RATE
        why = "partial file" if "say" in end else "ffmpeg ended with"
        assert recording.note is not None
        assert "damaged or cut short: decoded up to 1.00 s (" + why in recording.note


@pytest.mark.parametrize("before", ["", "out.write(head + samples); out.flush()\n"])
def test_one_that_hangs_is_ended(m4a, fake, monkeypatch, before):
    monkeypatch.setattr(ffmpeg, "_HANG_SECONDS", 2.0)
    monkeypatch.setattr(ffmpeg, "_SAID_SECONDS", 0.2)
    fake(before + "time.sleep(1000)")
    if not before:
        monkeypatch.setattr(ffmpeg, "_LEAVE_SECONDS", 0.1)
        with pytest.raises(RecordingError, match=r"not a supported audio format \(ffmpeg: .*\); check"):
            open_recording(m4a)
        return
    with open_recording(m4a) as recording:
        process = recording._decoder._process
        assert sum(block.shape[1] for block in recording.blocks()) == RATE
        assert recording.note.endswith("decoded up to 1.00 s (ffmpeg gave no output for 2 s)")
    assert process.returncode == -signal.SIGKILL


def test_a_stop_ends_it(m4a, fake, monkeypatch):
    monkeypatch.setattr(ffmpeg, "_SAID_SECONDS", 0.2)
    fake("out.write(head + samples); out.flush(); time.sleep(1000)")
    with open_recording(m4a) as recording:
        blocks = recording.blocks(block_seconds=0.5)
        next(blocks)
        threading.Timer(0.2, recording.stop).start()
        assert sum(block.shape[1] for block in blocks) == RATE // 2
        assert recording.note is None


def test_much_that_it_says_does_not_stop_it(m4a, fake):
    fake('for _ in range(20000): say("[warning] " + "x" * 100)\n' + GOOD)
    assert read_samples(m4a)[0].shape == (1, RATE)


def test_folders_with_and_without_it(tmp_path, fake, monkeypatch):
    folder = tmp_path / "folder"
    for name in ("a.wav", "b.m4a", "c.MP4", "d.m4a", "e.txt"):
        write(folder / "a.wav", sine(100, 1, RATE), RATE)
        (folder / name).touch()
    fake(GOOD)
    assert [path.name for path in find_recordings([folder])] == ["a.wav", "b.m4a", "c.MP4", "d.m4a"]
    monkeypatch.setenv("PATH", "")
    left_out = Counter()
    assert [path.name for path in find_recordings([folder], left_out)] == ["a.wav"]
    assert left_out == {".m4a": 2, ".mp4": 1}
    (folder / "a.wav").unlink()
    with pytest.raises(
        RecordingError, match=r"no readable recordings .*; 3 files are skipped \(2 \.m4a, 1 \.mp4\): only ffmpeg"
    ):
        list(find_recordings([folder], left_out))


def test_detect_says_once_what_it_leaves_out(tmp_path, tone_model, monkeypatch):  # noqa: F811
    for name in ("one/a.wav", "two/b.wav"):
        write(tmp_path / name, tone((0.5, 1.0)), RATE)
        (tmp_path / name).with_suffix(".m4a").touch()
    monkeypatch.setenv("PATH", "")
    done = audiocnn("detect", "--model", tone_model, tmp_path / "one", tmp_path / "two")
    assert done.status == 0
    assert done.err.count("skipped") == 1
    assert "warning: 2 files are skipped (2 .m4a): only ffmpeg reads them, and it is not on the PATH" in done.err


def test_what_it_is_asked_names_no_other_files():
    assert not {"hls", "concat", "dash", "lavfi", "image2", "sdp", "rtsp"} & set(DEMUXERS.split(","))
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in FFMPEG_SUFFIXES)
    assert ffmpeg_command("ffmpeg", "file:x")[-1] == "pipe:1"


CODECS = [("a.m4a", "aac"), ("a.m4a", "alac"), ("a.aac", "aac"), ("a.mkv", "libopus"), ("a.wma", "wmav2")]
CODECS += [("a.avi", "mp2"), ("a.wv", "wavpack"), ("a.flv", "mp3"), ("a.wav", "adpcm_swf")]


def real(path, *given):
    subprocess.run([REAL, "-v", "error", "-y", *given, str(path)], check=True, stdin=subprocess.DEVNULL)
    return path


@needs_ffmpeg
@pytest.mark.parametrize(("name", "codec"), CODECS)
def test_the_real_one_finds_the_tone(tmp_path, tone_model, name, codec):  # noqa: F811
    whole = write(tmp_path / "tone.wav", tone((0.5, 1.0), sample_rate=44100), 44100)
    path = real(tmp_path / name, "-i", str(whole), "-c:a", codec, "-strict", "-2")
    done = audiocnn("detect", "--model", tone_model, path)
    record = json.loads(done.out.splitlines()[0])
    assert done.err == ""
    assert (record["start"], record["end"]) == (pytest.approx(0.5, abs=0.1), pytest.approx(1.0, abs=0.1))


@needs_ffmpeg
def test_the_real_one_keeps_the_times_of_a_video(tmp_path, tone_model):  # noqa: F811
    whole = write(tmp_path / "tone.wav", tone((0.5, 1.0), sample_rate=44100), 44100)
    picture = ["-f", "lavfi", "-i", "testsrc=d=3:s=64x64:r=5"]
    late = real(tmp_path / "late.mkv", *picture, "-itsoffset", "0.7", "-i", str(whole), "-c:a", "aac", "-c:v", "mpeg4")
    record = json.loads(audiocnn("detect", "--model", tone_model, late).out.splitlines()[0])
    assert record["start"] == pytest.approx(1.2, abs=0.1)
    silent = real(tmp_path / "silent.mp4", *picture, "-c:v", "mpeg4")
    done = audiocnn("detect", "--model", tone_model, silent)
    assert "silent.mp4: ffmpeg finds no audio in it; leave it out" in done.err


@needs_ffmpeg
def test_the_real_one_does_not_follow_playlists(tmp_path):
    write(tmp_path / "secret.wav", sine(100, 1, RATE), RATE)
    for name, text in (
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nsecret.wav\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile secret.wav\n"),
    ):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(RecordingError, match="not a supported audio format"):
            open_recording(path)
        with path.open("rb") as source, pytest.raises(RecordingError, match="not a supported audio format"):
            FfmpegFile(REAL, source, name)
