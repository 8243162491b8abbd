"""Recordings that only ffmpeg reads: m4a, aac, wma, amr, and the sound of videos; where it is on the PATH.

It runs as a process that writes WAV of float32 into a pipe, of the first audio track. It gets one file and no way to
another: no network, no playlists, no pictures.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import threading
from collections import deque
from contextlib import suppress
from typing import IO, BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import RecordingError
from audiocnn.ffmpeg import command
from audiocnn.headers import read_layout
from audiocnn.streams import ByteStream, PcmStream

Samples = NDArray[np.float32]

HANG_SECONDS = 30.0  # without a byte
LEAVE_SECONDS = 2.0
DURATION_SECONDS = 0.5  # for what ffmpeg says of its input, which it says before it writes
_DURATION = re.compile(r"Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)")
_TROUBLE = re.compile(r"\[(?:error|fatal|panic)\] (.+)")
_CLEAN = re.compile(r"^(?:\[[^]]*\] )*|(?:file:)?\S*/dev/fd/\d+: ")


class OutsideFile:
    """A file that ffmpeg decodes: a `Decoder`."""

    is_stream = False
    compressed = True
    promised = 0  # a container's length is that of its longest track

    def __init__(self, program: str, source: BinaryIO, name: str) -> None:
        """`source` is an open file on disk, closed with this, or where it cannot be opened. RecordingError."""
        self.name, self._program, self._source = name, program, source
        try:
            self._start()
            self.sample_rate, self.channels = self._pcm.sample_rate, self._pcm.channels
            self.piece_frames = self._pcm.piece_frames
            self._said.begun.wait(DURATION_SECONDS)
            seconds = self._said.duration_seconds
            self.frames = round(seconds * self.sample_rate) if seconds else None
        except BaseException:
            self.close()
            raise

    def __del__(self) -> None:
        self.close()

    def read(self, most_frames: int) -> Samples:
        """The next (frames, channels); none at the end. OSError: cannot be decoded from here on."""
        piece = self._pcm.read(most_frames)
        if not len(piece) and not self._stopped and (trouble := self._trouble()):
            raise OSError(trouble)
        return piece

    def more(self) -> bool:
        """A file never keeps its reader waiting."""
        return True

    def stop(self) -> None:
        """End the recording here."""
        self._stopped = True
        self._process.kill()

    def rewind(self) -> None:
        """Back to the start: another process; OSError."""
        self._end()
        try:
            self._start()
        except RecordingError as error:
            raise OSError(str(error)) from None

    def close(self) -> None:
        """Let go of the process and of the file."""
        self._end()
        self._source.close()

    def _start(self) -> None:
        self._source.seek(0)
        number = self._source.fileno()
        self._stopped = False
        try:
            self._process = subprocess.Popen(
                command(self._program, f"file:/dev/fd/{number}"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(number,),
                process_group=0,  # Ctrl-C is for the one that waits
                env={**os.environ, "AV_LOG_FORCE_NOCOLOR": "1"},
            )
        except OSError as error:
            raise RecordingError(f"{self.name}: ffmpeg cannot be started ({error.strerror}); check it") from None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._said = _Said(self._process.stderr)
        self._bytes = ByteStream(_Watched(self._process.stdout))  # type: ignore[arg-type]
        layout = None
        with suppress(OSError):
            layout = read_layout(self._bytes)
        if layout is None:
            raise RecordingError(f"{self.name}: {self._why_not()}")
        self._pcm = PcmStream(self._bytes, layout)

    def _why_not(self) -> str:
        """What is wrong with a file of which ffmpeg gave nothing."""
        reason = self._trouble() or "it gave nothing"
        if "matches no streams" in reason or "does not contain any stream" in reason:
            return "no sound in it, as ffmpeg sees it; leave it out"
        return f"not audio that can be read here (ffmpeg: {reason}); check what it is, or copy it again"

    def _trouble(self) -> str:
        """What ffmpeg said was wrong; waits for its end, which has come when it has no more to give."""
        try:
            code = self._process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        trouble = self._said.trouble()
        return trouble or (f"ffmpeg ended with {code}" if code else "")

    def _end(self) -> None:
        process = getattr(self, "_process", None)
        if process is None:
            return
        process.kill()
        process.wait()
        self._said.trouble()
        for stream in (process.stdout, process.stderr):
            stream.close()
        if hasattr(self, "_bytes"):
            self._bytes.close()


class _Watched:
    """A pipe from which each read gets something, or the end, within HANG_SECONDS; OSError."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.pipe = pipe
        self.poll = select.poll()
        self.poll.register(pipe.fileno(), select.POLLIN)

    def read(self, count: int) -> bytes:
        """At most so many bytes."""
        if not self.poll.poll(1000 * HANG_SECONDS):
            raise OSError(f"ffmpeg gave nothing for {HANG_SECONDS:g} s")
        return self.pipe.read(count)

    def close(self) -> None:
        """The process's owner closes it."""


class _Said:
    """What ffmpeg says, read by a thread so that it need not wait; of much, the end is kept."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.pipe = pipe
        self.duration_seconds = 0.0
        self.begun = threading.Event()  # what it says of its input is known
        self.troubles = deque[str](maxlen=2)
        self.thread = threading.Thread(target=self.listen, name="ffmpeg", daemon=True)
        self.thread.start()

    def listen(self) -> None:
        """Until it says no more."""
        with suppress(OSError, ValueError):
            for line in iter(lambda: self.pipe.readline(1 << 12), b""):
                text = line.decode("utf-8", "replace").strip()
                if found := _DURATION.search(text):
                    hours, minutes, seconds = found.groups()
                    self.duration_seconds = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
                if found := _TROUBLE.search(text):
                    self.troubles.append(found[1])
                if "Stream mapping:" in text:
                    self.begun.set()

    def trouble(self) -> str:
        """The last error; waits for the end."""
        self.thread.join(LEAVE_SECONDS)
        said = _CLEAN.sub("", self.troubles[-1]) if self.troubles else ""
        return " ".join("".join(c if c.isprintable() else " " for c in said).split()).rstrip(".")
