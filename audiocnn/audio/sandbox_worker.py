"""The worker process that decodes with libsndfile, so that a crash of a decoder affects no other process.

This script runs in its own interpreter. It needs only the standard library and libsndfile, which it calls through
ctypes (`sndfile.h`). `sandbox.py` starts it, sends requests through a socket and finds the samples in shared memory.
The worker ends when the socket is closed.

    request: op (1 byte), number, length in bytes of the name that follows
        O  open the file of that name
        F  open the file whose descriptor comes with the request; the name is "start end zeros_at" for a part of it, in
           which four bytes are read as zeros, see `tails.Part`
        R  read up to `number` frames into the half of the memory given by `count`
        S  return to the start
        C  close; no reply
    reply: number, length in bytes of the text that follows
        once at the start, without a request: 0, when the worker is ready
        to O and F: 1 and "rate channels frames format log", or 0 and an error message
        to R: the number of frames; if fewer than requested, and the end was not reached or an error occurred: the
            position in the file, a space, and the error message
        to S: 0, and the same text
"""

from __future__ import annotations

import ctypes
import io
import mmap
import os
import signal
import socket
import struct
import sys
import time
from typing import Any

REQUEST, REPLY = struct.Struct("<cqI"), struct.Struct("<qI")
DECODE_FRAMES = 4096  # frames that damage can take with it before the damaged place; small relative to a window
MEMORY_BYTES = 1 << 30  # of address space: a header that asks for more causes an error
CPU_SECONDS = 60  # for one request; a decoder that nobody waits for is stopped
LOG_BYTES = 1 << 14
SFM_READ, SFC_GET_LOG_INFO = 0x10, 0x1001


class Info(ctypes.Structure):
    # SF_INFO of sndfile.h
    _fields_ = (
        ("frames", ctypes.c_int64),
        ("samplerate", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("format", ctypes.c_int),
        ("sections", ctypes.c_int),
        ("seekable", ctypes.c_int),
    )


class FilePart(io.RawIOBase):
    """A part of a file, presented as a file; see `tails.Part`."""

    def __init__(self, descriptor: int, start: int, end: int, zeros_at: int = -1) -> None:
        self.descriptor, self.start, self.end, self.zeros_at = descriptor, start, end, zeros_at
        self.place = start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.place = offset + {os.SEEK_SET: self.start, os.SEEK_CUR: self.place, os.SEEK_END: self.end}[whence]
        return self.tell()

    def tell(self) -> int:
        return self.place - self.start

    def readinto(self, target: Any) -> int:
        os.lseek(self.descriptor, self.place, os.SEEK_SET)
        data = bytearray(os.read(self.descriptor, max(0, min(len(target), self.end - self.place))))
        if self.zeros_at >= 0:
            for at in range(max(self.zeros_at, self.place), min(self.zeros_at + 4, self.place + len(data))):
                data[at - self.place] = 0
        target[: len(data)] = data
        self.place += len(data)
        return len(data)


class VirtualIO(ctypes.Structure):
    # SF_VIRTUAL_IO of sndfile.h
    _fields_ = (
        ("get_filelen", ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)),
        ("seek", ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int, ctypes.c_void_p)),
        ("read", ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)),
        ("write", ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)),
        ("tell", ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)),
    )


def virtual_io(span: FilePart) -> VirtualIO:
    calls = (
        lambda _: span.end - span.start,
        lambda offset, whence, _: span.seek(offset, whence),
        lambda target, count, _: span.readinto(memoryview((ctypes.c_char * count).from_address(target)).cast("B")),
        lambda *_: 0,
        lambda _: span.tell(),
    )
    kinds: tuple[Any, ...] = tuple(kind for _, kind in VirtualIO._fields_)
    return VirtualIO(*(kind(call) for kind, call in zip(kinds, calls, strict=True)))


def load(name: str) -> ctypes.CDLL:
    """libsndfile with the types of the functions that are called."""
    library = ctypes.CDLL(name)
    info, pointer = ctypes.POINTER(Info), ctypes.c_void_p
    for function, result, arguments in (
        ("sf_open", pointer, [ctypes.c_char_p, ctypes.c_int, info]),
        ("sf_open_fd", pointer, [ctypes.c_int, ctypes.c_int, info, ctypes.c_int]),
        ("sf_open_virtual", pointer, [ctypes.POINTER(VirtualIO), ctypes.c_int, info, pointer]),
        ("sf_readf_float", ctypes.c_int64, [pointer, pointer, ctypes.c_int64]),
        ("sf_seek", ctypes.c_int64, [pointer, ctypes.c_int64, ctypes.c_int]),
        ("sf_error", ctypes.c_int, [pointer]),
        ("sf_strerror", ctypes.c_char_p, [pointer]),
        ("sf_command", ctypes.c_int, [pointer, ctypes.c_int, pointer, ctypes.c_int]),
        ("sf_close", ctypes.c_int, [pointer]),
    ):
        entry = getattr(library, function)
        entry.restype, entry.argtypes = result, arguments
    return library


class Decoding:
    """Holds one open file at a time. Each method answers one kind of request with a number and a text."""

    def __init__(self, library: ctypes.CDLL, memory: mmap.mmap) -> None:
        self.library = library
        self.half_bytes = len(memory) // 2
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self.file: int | None = None
        self.size = -1  # of the file
        self.descriptor = -1  # it shares its position with the descriptor that libsndfile reads from
        self.span: FilePart | None = None
        self.frame_bytes = 1

    def open(self, source: bytes | int, part: bytes = b"") -> tuple[int, bytes]:
        """Open a name, or a descriptor, which is closed with the file; `which` is the part to read."""
        info = Info()
        if isinstance(source, int):
            self.descriptor, self.size = source, os.fstat(source).st_size
        if part:
            self.span = FilePart(self.descriptor, *map(int, part.split()))
            self.io = virtual_io(self.span)
            self.file = self.library.sf_open_virtual(ctypes.byref(self.io), SFM_READ, ctypes.byref(info), None)
        elif isinstance(source, int):
            self.file = self.library.sf_open_fd(os.dup(source), SFM_READ, ctypes.byref(info), 1)
        else:
            self.file = self.library.sf_open(source, SFM_READ, ctypes.byref(info))
        if not self.file:
            reason = self.library.sf_strerror(None)
            self.close()
            return 0, reason
        if not 0 < 4 * info.channels <= self.half_bytes or info.samplerate < 1:
            self.close()
            return 0, b"bad count of channels or rate"
        self.frame_bytes = 4 * info.channels
        log = ctypes.create_string_buffer(LOG_BYTES)
        self.library.sf_command(self.file, SFC_GET_LOG_INFO, log, LOG_BYTES)
        facts = f"{info.samplerate} {info.channels} {info.frames} {info.format} "
        return 1, facts.encode() + log.value

    def read(self, frames: int, half: int) -> tuple[int, bytes]:
        """Write frames as float32 into one half of the memory. Fewer frames mean the end or an error."""
        place, done = self.start + half * self.half_bytes, 0
        frames = min(frames, self.half_bytes // self.frame_bytes)
        while done < frames:
            wanted = min(DECODE_FRAMES, frames - done)
            got = self.library.sf_readf_float(self.file, place + done * self.frame_bytes, wanted)
            if self.library.sf_error(self.file):
                return done, b"%d %s" % (self.place(), self.library.sf_strerror(self.file))
            done += got
            if got < wanted:
                place = self.place()
                return done, b"" if place == self.size else b"%d " % place
        return done, b""

    def rewind(self) -> tuple[int, bytes]:
        if self.library.sf_seek(self.file, 0, os.SEEK_SET) == 0:
            return 0, b""
        return 0, self.library.sf_strerror(self.file) or b"the file is not seekable"

    def close(self) -> None:
        if self.file:
            self.library.sf_close(self.file)
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.file, self.descriptor, self.span = None, -1, None

    def place(self) -> int:
        """The position in the file; -1 if it was opened by name."""
        if self.span is not None:
            return self.span.place
        return os.lseek(self.descriptor, 0, os.SEEK_CUR) if self.descriptor >= 0 else -1


def limit(name: str, most: int) -> None:
    """Lower a resource limit of this process, if the system supports it."""
    import resource

    try:
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    except (AttributeError, OSError, ValueError):
        pass


def receive(channel: socket.socket, count: int) -> bytes:
    """Exactly this many bytes. Raises EOFError if the starting process is gone."""
    data = b""
    while len(data) < count:
        part = channel.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def serve(channel: socket.socket, decoding: Decoding) -> None:
    while True:
        head, descriptors, _, _ = socket.recv_fds(channel, REQUEST.size, 1)
        if not head:
            return
        op, number, count = REQUEST.unpack(head + receive(channel, REQUEST.size - len(head)))
        limit("RLIMIT_CPU", int(time.process_time()) + CPU_SECONDS)
        if op == b"C":
            decoding.close()
            continue
        if op == b"O":
            answer, text = decoding.open(receive(channel, count))
        elif op == b"F":
            answer, text = decoding.open(descriptors[0], receive(channel, count))
        else:
            answer, text = decoding.read(number, count) if op == b"R" else decoding.rewind()
        text = text[: 2 * LOG_BYTES]
        channel.sendall(REPLY.pack(answer, len(text)) + text)


def main(arguments: list[str]) -> None:
    """Arguments: descriptors of the socket and of the memory, and the path of libsndfile."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the starting process decides when to end
    channel = socket.socket(fileno=int(arguments[0]))
    memory = mmap.mmap(int(arguments[1]), 0)
    library = load(arguments[2])
    limit("RLIMIT_AS", MEMORY_BYTES)
    limit("RLIMIT_CORE", 0)
    try:
        channel.sendall(REPLY.pack(0, 0))
        serve(channel, Decoding(library, memory))
    except (EOFError, ConnectionError):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
