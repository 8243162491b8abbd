"""Compressed recordings are decoded by a process that may die: what it dies of gets an error, and nothing else does."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fixtures_cli import RATE, tone, tone_model  # noqa: F401
from sounds import noise, write

from audiocnn.audio import sandbox
from audiocnn.audio.pcm_stream import PcmStream
from audiocnn.audio.recording import open_recording, read_samples
from audiocnn.audio.sandbox import SandboxedFile
from audiocnn.audio.sndfile import SoundFile
from audiocnn.errors import RecordingError
from audiocnn.inference.detect import detect_many
from audiocnn.inference.engine import load_engine
from audiocnn.inference.scores import RecordingSource
from audiocnn.model.model import find_model

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 30  # several pieces of a piece of PIECE_FRAMES


@pytest.fixture(autouse=True)
def no_helpers():
    """Each test starts its own, and leaves none."""
    sandbox.dismiss()
    yield
    sandbox.dismiss()


@pytest.fixture
def flac(tmp_path):
    return write(tmp_path / "a.flac", noise(SECONDS, 16000), 16000)


def process_of(recording):
    return recording._decoder._process.process


def kill(recording):
    """The death of a decoder."""
    process = process_of(recording)
    process.kill()
    process.wait()


def test_plain_samples_are_read_here_and_others_elsewhere(tmp_path, flac):
    for suffix in ("wav", "aiff", "au", "w64"):
        with open_recording(write(tmp_path / f"a.{suffix}", noise(1, 16000), 16000)) as plain:
            assert isinstance(plain._decoder, PcmStream)
    assert sandbox._idle == []
    with open_recording(flac) as recording:
        assert isinstance(recording._decoder, SandboxedFile)
        assert process_of(recording).pid != os.getpid()


KINDS = [("flac", None), ("ogg", "VORBIS"), ("ogg", "OPUS"), ("wav", "MS_ADPCM")]


@pytest.mark.parametrize(("suffix", "subtype"), KINDS)
def test_the_samples_are_those_of_one_process(tmp_path, monkeypatch, suffix, subtype):
    path = write(tmp_path / f"a.{suffix}", noise(SECONDS, 16000).reshape(-1, 2), 16000, subtype)
    there, _ = read_samples(path, channel="each")
    monkeypatch.setattr(sandbox, "take", lambda fresh=False: None)
    with open_recording(path) as recording:
        assert isinstance(recording._decoder, SoundFile)
    assert np.array_equal(there, read_samples(path, channel="each")[0])


def test_one_process_reads_one_file_after_the_other(tmp_path, flac):
    pids = set()
    for _ in range(3):
        with open_recording(flac) as recording:
            pids.add(process_of(recording).pid)
            assert sum(block.shape[1] for block in recording.blocks()) == SECONDS * 16000
    assert len(pids) == 1
    with open_recording(flac) as one, open_recording(flac) as two:
        assert process_of(one).pid != process_of(two).pid
        pairs = zip(one.blocks(block_seconds=1.0), two.blocks(block_seconds=1.0), strict=True)
        assert all(np.array_equal(first, second) for first, second in pairs)
    many = [open_recording(flac) for _ in range(sandbox._MOST_IDLE + 2)]
    for recording in many:
        recording.close()
    assert len(sandbox._idle) == sandbox._MOST_IDLE


def test_a_decoder_that_dies_costs_one_recording(flac):
    with open_recording(flac) as recording:
        blocks = recording.blocks(block_seconds=1.0)
        next(blocks)
        kill(recording)
        with pytest.raises(RecordingError, match=r"a\.flac: it crashed the decoder at \d+\.\d\d s \(it was killed by "
                           r"SIGKILL\); copy it again, or convert it first") as caught:  # fmt: skip
            list(blocks)
    assert "\n" not in str(caught.value)
    assert read_samples(flac)[0].shape == (1, SECONDS * 16000), "the next file gets a new process"


def test_a_decoder_that_dies_of_an_earlier_file_costs_none(flac):
    wanted, _ = read_samples(flac)
    with open_recording(flac) as recording:  # the second one that this process opens
        blocks = recording.blocks(block_seconds=1.0)
        first = next(blocks)
        kill(recording)
        got = np.concatenate([first, *blocks], axis=1)
    assert np.array_equal(got, wanted)


def test_one_that_died_while_nobody_used_it_is_not_missed(flac):
    read_samples(flac)
    sandbox._idle[0].process.kill()
    sandbox._idle[0].process.wait()
    assert read_samples(flac)[0].shape == (1, SECONDS * 16000)


def test_one_that_dies_when_it_opens_a_file(flac, monkeypatch):
    asked = sandbox.DecoderProcess.ask

    def ask(self, op, *args, **more):
        if op == b"F":
            self.process.send_signal(signal.SIGSTOP)  # so that it cannot answer before it dies
        asked(self, op, *args, **more)
        if op == b"F":
            self.process.send_signal(signal.SIGSEGV)
            self.process.send_signal(signal.SIGCONT)
            self.process.wait()

    started = sandbox.take()
    started.answer, answer = (lambda: (started._receive(sandbox.REPLY.size), (1, ""))[1]), started.answer
    started.answer()  # it is ready
    started.ready, started.answer = True, answer
    sandbox._idle.append(started)
    monkeypatch.setattr(sandbox.DecoderProcess, "ask", ask)
    with pytest.raises(RecordingError, match=r"a\.flac: it crashed the decoder \(it was killed by SIGSEGV\); copy"):
        open_recording(flac)


def test_a_decoder_that_hangs_is_ended(flac, monkeypatch):
    monkeypatch.setattr(sandbox, "_HANG_SECONDS", 0.3)
    monkeypatch.setattr(sandbox, "_LEAVE_SECONDS", 0.1)
    read_samples(flac)  # started, and ready
    sandbox._idle[0].files = 0  # as if it had opened nothing else, which it might have died of
    with open_recording(flac) as recording:
        process = process_of(recording)
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(RecordingError, match=r"crashed the decoder.* \(no answer for 0\.3 s\); copy it again"):
            list(recording.blocks())
    assert process.poll() == -signal.SIGKILL
    monkeypatch.undo()
    assert read_samples(flac)[0].shape == (1, SECONDS * 16000)


@pytest.mark.parametrize("trouble", ["no library", "no process", "other system"])
def test_where_no_process_can_be_had_the_files_are_decoded_here(flac, monkeypatch, trouble):
    wanted, _ = read_samples(flac)
    sandbox.dismiss()
    monkeypatch.setattr(sandbox, "_unusable", False)
    if trouble == "no library":
        monkeypatch.setattr(sandbox, "_library", lambda: "libno.so")
    elif trouble == "other system":
        monkeypatch.setattr(sandbox, "_library", lambda: None)
    else:
        monkeypatch.setattr(
            sandbox.subprocess, "Popen", lambda *args, **more: (_ for _ in ()).throw(OSError("no more"))
        )
    with open_recording(flac) as recording:
        assert isinstance(recording._decoder, SoundFile)
        assert np.array_equal(np.concatenate(list(recording.blocks()), axis=1), wanted)
    assert sandbox._unusable is (trouble == "no library")


APP = "#!/bin/sh\ntouch {}\n"  # a program that Python is a part of


@pytest.fixture
def app(tmp_path, monkeypatch):
    """As in an app: `sys.executable` is the app. What it was started for is in `started`."""
    path = tmp_path / "app"
    path.write_text(APP.format(tmp_path / "started"))
    path.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(path))
    monkeypatch.setattr(sandbox, "_warned", False)
    yield path
    assert not (tmp_path / "started").exists()


def test_an_app_that_was_frozen_is_not_started_again_and_says_so_once(flac, app, monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.warns(RuntimeWarning, match="decoded in this process") as caught:
        for _ in range(3):
            with open_recording(flac) as recording:
                assert isinstance(recording._decoder, SoundFile)
                assert sum(block.shape[1] for block in recording.blocks()) == SECONDS * 16000
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)


@pytest.mark.parametrize("executable", ["the app", "", None, "/nowhere/python3"])
def test_a_program_that_python_is_embedded_in_is_not_started_again(flac, app, monkeypatch, executable):
    if executable != "the app":
        monkeypatch.setattr(sys, "executable", executable)
    with open_recording(flac) as recording:
        assert isinstance(recording._decoder, SandboxedFile)
        assert sum(block.shape[1] for block in recording.blocks()) == SECONDS * 16000


@pytest.mark.parametrize("lacking", ["interpreter", "script"])
def test_where_no_interpreter_is_found_it_is_said(flac, app, monkeypatch, lacking):
    if lacking == "interpreter":
        for prefix in ("exec_prefix", "base_exec_prefix"):
            monkeypatch.setattr(sys, prefix, str(app.parent))
    else:
        monkeypatch.setattr(sandbox, "_SCRIPT", app.parent / "no.py")
    with pytest.warns(RuntimeWarning, match="decoded in this process"), open_recording(flac) as recording:
        assert isinstance(recording._decoder, SoundFile)


def test_names_mean_here_what_they_mean_there(tmp_path, flac, monkeypatch):
    wanted, _ = read_samples(flac)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")  # the process has started elsewhere
    strange = [b"-", b"\xff\xfe.flac", b"two\nlines.flac", b"-0 'quoted' \".flac"]
    for name in strange:
        Path(os.fsdecode(name)).write_bytes(flac.read_bytes())
        assert np.array_equal(read_samples(os.fsdecode(name))[0], wanted), name


def test_streams_with_a_way_back(tmp_path, flac):
    wanted, data = read_samples(flac)[0], flac.read_bytes()
    behind = tmp_path / "behind"
    behind.write_bytes(b"12345" + data)
    with flac.open("rb") as file:
        assert np.array_equal(read_samples(file)[0], wanted)
        file.seek(0)
        assert np.array_equal(read_samples(file)[0], wanted), "the stream of the caller stays open"
    with behind.open("rb") as file:
        file.seek(5)
        assert np.array_equal(read_samples(file)[0], wanted)
    memory = io.BytesIO(b"12345" + data)
    memory.seek(5)
    assert np.array_equal(read_samples(memory)[0], wanted)
    with pytest.raises(RecordingError, match="x: not a supported audio"):
        open_recording(io.BytesIO(b"no audio" * 100), name="x")


def test_a_process_does_not_outlive_its_starter(flac):
    code = (
        "import sys, time; from audiocnn.audio.recording import open_recording\n"
        "r = open_recording(sys.argv[1]); print(r._decoder._process.process.pid, flush=True); time.sleep(600)"
    )
    settings = {"env": {"PYTHONPATH": str(ROOT)}, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, str(flac)], **settings) as starter:
        pid = int(starter.stdout.readline())
        os.kill(pid, 0)
        starter.kill()
    for _ in range(300):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0]:
            return
        time.sleep(0.1)
    pytest.fail("it is still there")


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
def test_ctrl_c_is_for_the_starter(flac):
    with open_recording(flac) as recording:
        process = process_of(recording)
        next(recording.blocks())
        assert os.getpgid(process.pid) == process.pid
        process.send_signal(signal.SIGINT)
        assert sum(block.shape[1] for block in recording.blocks()) == SECONDS * 16000


def test_what_is_closed_is_closed_once(flac):
    recording = open_recording(flac)
    next(recording.blocks(block_seconds=1.0))
    recording.close()
    recording.close()
    assert len(sandbox._idle) == 1
    assert sandbox._PIECE_FRAMES * 4 <= sandbox._HALF_BYTES


def test_a_file_of_a_thousand_channels_fits_the_memory(tmp_path):
    sound = np.tile(np.arange(1000, dtype=np.int16)[:, None], (1, 1000))
    path = tmp_path / "wide.caf"
    soundfile.write(path, sound, 8000, subtype="PCM_16")
    assert np.array_equal(read_samples(path, channel="each")[0] * 32768, sound.T)


def test_the_other_recordings_of_a_batch_are_done(tmp_path, tone_model):  # noqa: F811
    paths = [write(tmp_path / f"{number}.flac", tone((0.5, 1.0)), RATE) for number in range(5)]

    def opened(path):
        recording = open_recording(path)
        if path == paths[2]:
            recording._decoder._process.files = 1  # it has opened nothing else that it may have died of
            kill(recording)
        return recording

    engine = load_engine(find_model(str(tone_model)))
    found = list(detect_many([RecordingSource(path.name, partial(opened, path)) for path in paths], engine))
    assert isinstance(found.pop(2), RecordingError)
    assert [len(detection.segments) for detection in found] == [1, 1, 1, 1]
