"""Decoding of compressed files in worker processes, so that a crash in a decoder does no harm. Workers start when
needed and are kept for later files.

Samples are passed in shared memory, so they are not copied more often than within one process.
"""

from __future__ import annotations

import atexit
import importlib.util
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from audiocnn.audio.pcm import Samples
from audiocnn.audio.sandbox_worker import REPLY, REQUEST
from audiocnn.audio.sndfile import (
    COPY_OR_CONVERT,
    SndfileError,
    as_reason,
    frames_known,
    is_pcm_format,
    promised_frames,
)
from audiocnn.audio.streams import FileDecoder
from audiocnn.audio.tails import Part
from audiocnn.errors import RecordingError, check_not_forked

_SCRIPT = Path(__file__).with_name("sandbox_worker.py")
_HALF_BYTES = 1 << 20  # of the shared memory: one is filled while the other is read
# Large enough that the overhead of a call is small, small enough to save memory: 4 s at 16 kHz.
_PIECE_FRAMES = 1 << 16
_HANG_SECONDS = 30.0  # without a block
_LEAVE_SECONDS = 1.0  # for a block that is no longer needed
_MOST_IDLE = 4
_idle: list[DecoderProcess] = []
_unusable = _warned = False
_lock = threading.RLock()


class DiedError(Exception):
    """The worker crashed, or was killed because it did not answer; the text says how."""


class UnusableError(DiedError):
    """The worker ended before it was ready, so starting another is useless."""


class DecoderProcess:
    """One worker process, used by one owner at a time."""

    def __init__(self, interpreter: str, library: str) -> None:
        self.files = 0  # files opened since the start
        self.pid = os.getpid()  # of the process that started it, the only one that may talk to it
        self.owed = False  # whether an answer is pending
        self.ready = False  # it has started, and has found libsndfile
        with _memory() as file:
            self.memory = mmap.mmap(file.fileno(), 2 * _HALF_BYTES)
            self.channel, theirs = socket.socketpair()
            with theirs:
                self.process = self._start(interpreter, library, theirs.fileno(), file.fileno())
        self.channel.settimeout(_HANG_SECONDS)

    def _start(self, interpreter: str, library: str, *passed: int) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [interpreter, "-I", "-S", str(_SCRIPT), *map(str, passed), library],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=passed,
                process_group=0,  # Ctrl-C is handled by the starting process
            )
        except BaseException:
            self.channel.close()
            raise

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def ask(self, op: bytes, number: int = 0, count: int = 0, name: bytes = b"", descriptor: int | None = None) -> None:
        """Send a request, see `sandbox_worker`. Raises DiedError."""
        self.check_process()
        request = REQUEST.pack(op, number, count or len(name)) + name
        try:
            if descriptor is None:
                self.channel.sendall(request)
            else:
                socket.send_fds(self.channel, [request], [descriptor])
        except OSError:
            raise (DiedError if self.ready else UnusableError)(self._end()) from None
        self.owed = op != b"C"

    def answer(self) -> tuple[int, str]:
        """The reply to the last request: a number and a text. Raises DiedError, also after _HANG_SECONDS."""
        self.check_process()
        try:
            if not self.ready:
                self._receive(REPLY.size)
                self.ready = True
            number, count = REPLY.unpack(self._receive(REPLY.size))
            text = self._receive(count).decode("utf-8", "replace")
        except TimeoutError:
            self._end()
            raise DiedError(f"no answer for {_HANG_SECONDS:g} s") from None
        except OSError:
            raise (DiedError if self.ready else UnusableError)(self._end()) from None
        self.owed = False
        return number, text

    def half(self, which: int, frames: int, channels: int) -> Samples:
        """A copy of (frames, channels) samples from one half of the memory."""
        there = np.frombuffer(self.memory, np.float32, frames * channels, which * _HALF_BYTES)
        return there.reshape(frames, channels).copy()

    def leave(self) -> None:
        """Close the file, wait for pending work and return the worker to the pool; end it if it does not answer."""
        if self.channel.fileno() < 0 or self.pid != os.getpid():  # it has ended, or belongs to another process
            return
        try:
            if self.owed:
                self.channel.settimeout(_LEAVE_SECONDS)
                self.answer()
                self.channel.settimeout(_HANG_SECONDS)
            self.ask(b"C")
        except DiedError:
            return
        with _lock:
            if len(_idle) < _MOST_IDLE:
                _idle.append(self)
                return
        self.end()

    def end(self) -> None:
        if self.pid == os.getpid():
            self.process.kill()
            self._end()

    def check_process(self) -> None:
        check_not_forked(self.pid, "decoding")

    def _end(self) -> str:
        """The exit status, after the worker has closed its socket, or was killed."""
        self.channel.close()
        try:
            code = self.process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        with suppress(BufferError):
            self.memory.close()
        if code < 0:
            names = {int(one): one.name for one in signal.Signals}
            return f"it was killed by {names.get(-code, f'signal {-code}')}"
        return f"it ended with exit code {code}"

    def _receive(self, count: int) -> bytes:
        parts = b""
        while len(parts) < count:
            part = self.channel.recv(count - len(parts))
            if not part:
                raise ConnectionError
            parts += part
        return parts


def take(fresh: bool = False) -> DecoderProcess | None:
    """An idle worker, started if needed; None if none can be started, so that the caller has to decode itself.

    fresh: a worker that has not opened any file.
    """
    while not fresh:
        with _lock:
            helper = _idle.pop() if _idle else None
        if helper is None:
            break
        if helper.alive:
            return helper
        helper.end()
    library = None if _unusable else _library()
    if library is None:
        return None
    interpreter = find_interpreter()
    if interpreter is None:
        _warn_once()
        return None
    try:
        return DecoderProcess(interpreter, library)
    except (OSError, ValueError, subprocess.SubprocessError):  # no more processes or file descriptors available
        return None


def forget() -> None:
    """After a fork, the workers belong to the parent."""
    global _lock
    _lock = threading.RLock()
    _idle.clear()


@atexit.register
def dismiss() -> None:
    with _lock:
        waiting = _idle[:]
        _idle.clear()
    for helper in waiting:
        helper.end()


def _memory() -> BinaryIO:
    if hasattr(os, "memfd_create"):
        file: BinaryIO = os.fdopen(os.memfd_create("audiocnn"), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115
    file.truncate(2 * _HALF_BYTES)
    return file


def find_interpreter() -> str | None:
    """A Python interpreter for the worker. In a frozen app, or a program that embeds Python, `sys.executable` is the
    program itself, which would be started once more. None if no interpreter is found."""
    if getattr(sys, "frozen", False) or not _SCRIPT.is_file():
        return None
    names = (f"python{sys.version_info[0]}.{sys.version_info[1]}", "python3", "python")
    folders = dict.fromkeys((sys.exec_prefix, sys.base_exec_prefix))
    places = [Path(sys.executable or ""), *(Path(folder, "bin", name) for folder in folders for name in names)]
    found = (
        place for place in places if place.name.lower().startswith(("python", "pypy")) and os.access(place, os.X_OK)
    )
    return next(map(str, found), None)


def _warn_once() -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            "compressed recordings are decoded in this process, which a damaged file may crash: no Python"
            " interpreter was found for a separate process; convert recordings that are not trusted to WAV",
            RuntimeWarning,
            stacklevel=2,
        )


def _library() -> str | None:
    """The path of the libsndfile in the package soundfile, or else the name of the system's library. None: not
    supported on this system."""
    if os.name != "posix" or not hasattr(socket, "send_fds"):
        return None
    known = {"linux": "libsndfile.so.1", "darwin": "libsndfile.dylib"}.get(sys.platform)
    try:
        found = importlib.util.find_spec("_soundfile_data")
    except (ImportError, ValueError):
        return known
    machine = os.uname().machine
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        for name in sorted(Path(folder).glob("libsndfile*")):
            if machine in name.name or (machine.startswith("aarch64") and "arm64" in name.name):
                return str(name)
    return known


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)


class SandboxedFile(FileDecoder):
    """An open file. While one piece is used, the worker decodes the next."""

    def __init__(self, source: bytes | BinaryIO, name: str, process: DecoderProcess, part: Part | None = None) -> None:
        """`source` is a name, or an open file on disk that is read from its beginning, or in part. It is closed with
        this object, but stays open if opening fails: SndfileError, or RecordingError if the worker died."""
        self.name = name
        self._source, self._part = source, part
        self._process: DecoderProcess | None = process
        self.trouble = ""
        self._asked = 0  # frames that the worker is decoding
        self._half = 0  # half of the memory that it fills
        self.done = 0  # frames returned so far
        try:
            facts = self._first_open(process)
        except BaseException:
            self._leave()
            raise
        rate, channels, frames, code, log = facts.split(" ", 4)
        self.sample_rate, self.channels = int(rate), int(channels)
        self.frames = frames_known(int(frames))
        self.promised = promised_frames(log, int(frames))
        self.compressed = not is_pcm_format(int(code))
        self._ended = False
        self.place: int | None = None  # position of the decoder in the file if it stopped before the end; -1: unknown
        self.piece_frames = max(1, min(_PIECE_FRAMES, _HALF_BYTES // (4 * self.channels)))

    def __del__(self) -> None:
        self._leave()

    def read(self, most_frames: int) -> Samples:
        """The next (frames, channels), empty at the end. Always called with the same number of frames. Raises OSError
        if the rest cannot be decoded, RecordingError if the worker died."""
        if self.trouble:
            raise OSError(self.trouble)
        if self._ended:
            return np.empty((0, self.channels), np.float32)
        try:
            piece = self._next(most_frames)
        except DiedError as death:
            piece = self._again(death, most_frames)
        self.done += len(piece)
        if not len(piece) and self.trouble:
            raise OSError(self.trouble)
        return piece

    def drop(self, frames: int) -> None:
        """Skip frames by decoding them. Raises RecordingError."""
        try:
            while frames:
                self._ask(frames)
                if not (skipped := len(self._take())):
                    return
                self.done += skipped
                frames -= skipped
        except DiedError as death:
            raise self._dead(death) from None

    def rewind(self) -> None:
        process = self._held()
        try:
            if self._asked:
                process.answer()
                self._asked = 0
            process.ask(b"S")
            trouble = as_reason(process.answer()[1])
        except DiedError as death:
            raise self._dead(death) from None
        if trouble:
            raise OSError(trouble)
        self._ended, self.trouble, self.done = False, "", 0

    @property
    def file(self) -> BinaryIO | None:
        """The file, unless it was opened by name."""
        return None if isinstance(self._source, bytes) else self._source

    def close(self) -> None:
        self._leave()
        if not isinstance(self._source, bytes):
            self._source.close()

    def _leave(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.leave()

    def _held(self) -> DecoderProcess:
        if self._process is None:
            raise OSError("closed")
        return self._process

    def _first_open(self, process: DecoderProcess) -> str:
        try:
            return self._open(process)
        except UnusableError:
            raise
        except DiedError as death:
            return self._replace(death)

    def _open(self, process: DecoderProcess) -> str:
        """Open the file and read its format. Raises SndfileError or DiedError."""
        process.files += 1
        if isinstance(self._source, bytes):
            process.ask(b"O", name=self._source)
        else:
            self._source.seek(0)
            part = f"{self._part.start} {self._part.end} {self._part.zeros_at}" if self._part else ""
            process.ask(b"F", name=part.encode(), descriptor=self._source.fileno())
        good, text = process.answer()
        if not good:
            raise SndfileError(as_reason(text))
        return text

    def _ask(self, most_frames: int) -> None:
        """Start decoding the next frames into the other half of the memory."""
        self._asked, self._half = max(1, min(most_frames, self.piece_frames)), 1 - self._half
        self._held().ask(b"R", self._asked, self._half)

    def _take(self) -> Samples:
        process, asked = self._held(), self._asked
        frames, text = process.answer()
        if text:
            place, _, trouble = text.partition(" ")
            self.place, self.trouble = int(place), as_reason(trouble)
        self._asked, self._ended = 0, frames < asked
        return process.half(self._half, frames, self.channels)

    def _next(self, most_frames: int) -> Samples:
        if not self._asked:
            self._ask(most_frames)
        piece = self._take()
        if not self._ended and not self.trouble:
            self._ask(most_frames)
        return piece

    def _again(self, death: DiedError, most_frames: int) -> Samples:
        """The worker may have died because of files that it opened earlier, so a fresh one reads this file up to the
        same position."""
        self._replace(death)
        left = self.done
        try:
            while left:
                self._ask(left)
                if not (skipped := len(self._take())):
                    raise self._dead(DiedError("a second reading ended at another position"))
                left -= skipped
            self._ask(most_frames)
            return self._take()
        except DiedError as second:
            raise self._dead(second) from None

    def _replace(self, death: DiedError) -> str:
        """If the worker that died had opened other files, open this one in a fresh worker; otherwise raise
        RecordingError."""
        dead, self._process = self._held(), None
        self._process = take(fresh=True) if dead.files > 1 else None
        if self._process is None:
            raise self._dead(death)
        try:
            return self._open(self._process)
        except DiedError as second:
            raise self._dead(second) from None
        except SndfileError as refused:
            raise self._dead(DiedError(str(refused))) from None

    def _dead(self, death: DiedError) -> RecordingError:
        process, self._process = self._process, None
        if process is not None:
            process.end()
        at = f" at {self.done / self.sample_rate:.2f} s" if self.done else ""
        return RecordingError(f"{self.name}: it crashed the decoder{at} ({death}); {COPY_OR_CONVERT}")


def open_sandboxed(source: bytes | BinaryIO, name: str, part: Part | None = None) -> SandboxedFile | None:
    """Open a file by name, or an open file on disk; None if no worker can be started. See SandboxedFile."""
    global _unusable
    process = take()
    if process is None:
        return None
    try:
        return SandboxedFile(source, name, process, part)
    except UnusableError:
        _unusable = True
        return None
