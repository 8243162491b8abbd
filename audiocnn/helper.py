"""Processes that decode for this one. They are started when first needed, kept for the next file, and may die.

Samples come through memory that both share, so that nothing is copied more often than in one process.
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
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiocnn.decoder_process import REPLY, REQUEST

Samples = NDArray[np.float32]

SCRIPT = Path(__file__).with_name("decoder_process.py")
HALF_BYTES = 1 << 20  # of the shared memory: one is filled while the other is read
HANG_SECONDS = 30.0  # without a block
LEAVE_SECONDS = 1.0  # for a block that nobody wants any more
MOST_IDLE = 4
_idle: list[Helper] = []
_unusable = False
_lock = threading.RLock()


class DiedError(Exception):
    """The process ended, or was ended because it did not answer; the text tells how."""


class UnusableError(DiedError):
    """It ended before it was ready: there is no use in starting another."""


class Helper:
    """One process; who has taken it from the pool uses it alone."""

    def __init__(self, library: str) -> None:
        self.files = 0  # opened since it started
        self.owed = False  # an answer that has not come yet
        self.ready = False  # it has started, and found libsndfile
        with _memory() as file:
            self.memory = mmap.mmap(file.fileno(), 2 * HALF_BYTES)
            self.channel, theirs = socket.socketpair()
            with theirs:
                self.process = self._start(library, theirs.fileno(), file.fileno())
        self.channel.settimeout(HANG_SECONDS)

    def _start(self, library: str, *passed: int) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", str(SCRIPT), *map(str, passed), library],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=passed,
                process_group=0,  # Ctrl-C is for the starter
            )
        except BaseException:
            self.channel.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def ask(self, op: bytes, number: int = 0, count: int = 0, name: bytes = b"", descriptor: int | None = None) -> None:
        """Send a request, see `decoder_process`. DiedError."""
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
        """The reply to what was asked: a number and a text. DiedError, also after HANG_SECONDS."""
        try:
            if not self.ready:
                self._receive(REPLY.size)
                self.ready = True
            number, count = REPLY.unpack(self._receive(REPLY.size))
            text = self._receive(count).decode("utf-8", "replace")
        except TimeoutError:
            self._end()
            raise DiedError(f"it gave nothing for {HANG_SECONDS:g} s") from None
        except OSError:
            raise (DiedError if self.ready else UnusableError)(self._end()) from None
        self.owed = False
        return number, text

    def half(self, which: int, frames: int, channels: int) -> Samples:
        """A copy of (frames, channels) in one half of the memory."""
        there = np.frombuffer(self.memory, np.float32, frames * channels, which * HALF_BYTES)
        return there.reshape(frames, channels).copy()

    def leave(self) -> None:
        """Close its file, wait for what it still does, and keep it for the next; where it does not answer, end it."""
        if self.channel.fileno() < 0:  # it has ended
            return
        try:
            if self.owed:
                self.channel.settimeout(LEAVE_SECONDS)
                self.answer()
                self.channel.settimeout(HANG_SECONDS)
            self.ask(b"C")
        except DiedError:
            return
        with _lock:
            if len(_idle) < MOST_IDLE:
                _idle.append(self)
                return
        self.end()

    def end(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self._end()

    def _end(self) -> str:
        """What the process ended with, once it has let go of the socket or has to."""
        self.channel.close()
        try:
            code = self.process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        with suppress(BufferError):
            self.memory.close()
        if code < 0:
            names = {int(one): one.name for one in signal.Signals}
            return f"it was ended by {names.get(-code, f'signal {-code}')}"
        return f"it ended with {code}"

    def _receive(self, count: int) -> bytes:
        parts = b""
        while len(parts) < count:
            part = self.channel.recv(count - len(parts))
            if not part:
                raise ConnectionError
            parts += part
        return parts


def take(fresh: bool = False) -> Helper | None:
    """A process that nobody uses, started if need be; None where none can be had, and one has to decode oneself.

    fresh: one that has opened no file yet.
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
    try:
        return Helper(library)
    except (OSError, ValueError, subprocess.SubprocessError):  # no more processes, no more descriptors
        return None


def give_up() -> None:
    """None can be had from now on."""
    global _unusable
    _unusable = True


def forget() -> None:
    """After a fork: the processes answer to the parent."""
    global _lock
    _lock = threading.RLock()
    _idle.clear()


@atexit.register
def dismiss() -> None:
    """End all that wait for the next file."""
    with _lock:
        waiting = _idle[:]
        _idle.clear()
    for helper in waiting:
        helper.end()


def _memory() -> BinaryIO:
    """A file of two halves that has no name."""
    if hasattr(os, "memfd_create"):
        file: BinaryIO = os.fdopen(os.memfd_create("audiocnn"), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115
    file.truncate(2 * HALF_BYTES)
    return file


def _library() -> str | None:
    """Where the libsndfile is that the package soundfile brings along, or else its name; None: not on this system."""
    if os.name != "posix" or not sys.executable or not hasattr(socket, "send_fds"):
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
