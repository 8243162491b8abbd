"""Plain samples, decoded while they come: from pipes, sockets and files."""

from __future__ import annotations

import io
import os
import select
import stat
import time
from contextlib import suppress
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from audiocnn.pcm import ENCODINGS, Layout

Samples = NDArray[np.float32]

# More than a pipe holds and than Python keeps back: what a read leaves over is then none.
READ_BYTES = 1 << 17
# Behind the samples there are words about them; who sends more than this does not come to an end.
MOST_REST_BYTES = 1 << 26
# A stream that brought more sound than time has passed is no live one: a pause of this length is none.
PATIENCE_SECONDS, HASTE_SECONDS = 0.02, 1.0


class Decoder(Protocol):
    """What gives a recording its samples."""

    sample_rate: int
    channels: int
    frames: int | None  # by the header
    is_stream: bool  # whether `read` may have to wait, for a pipe
    piece_frames: int  # that are well read at once
    compressed: bool  # decoding takes longer than reading

    @property
    def promised(self) -> int:
        """Frames that there should be; 0 where nobody knows."""
        ...

    def read(self, most_frames: int) -> Samples:
        """The next samples, (frames, channels), as many as are there; none at the end. Waits. OSError."""
        ...

    def more(self) -> bool:
        """Whether `read` would not have to wait."""
        ...

    def stop(self) -> None:
        """Let `read` wait no longer, from another thread or a handler of signals."""
        ...

    def rewind(self) -> None:
        """Back to the start; OSError."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class ByteStream:
    """Bytes of a file, pipe or socket as they come. The stream stays open when this is closed, unless it is owned."""

    def __init__(self, stream: BinaryIO, owned: bool = False) -> None:
        self.stream, self.owned = stream, owned
        self.ahead = b""  # read and not yet taken
        self._read_some = getattr(stream, "read1", stream.read)
        self._drained = False  # whether Python keeps nothing back, so that the descriptor tells whether there is more
        self._stopped = False
        self._poll: Any = None
        self._wake: tuple[int, int] | None = None
        self._status: os.stat_result | None = None
        # Others, such as gzip's files or TLS, hold bytes of which the descriptor knows nothing.
        plain = getattr(stream, "raw", None) if isinstance(stream, io.BufferedReader | io.BufferedRandom) else stream
        if not isinstance(plain, io.FileIO):
            return
        try:
            descriptor = plain.fileno()
            self._status = os.fstat(descriptor)
        except (OSError, ValueError):
            return
        if hasattr(select, "poll"):
            self._wake = os.pipe()
            os.set_blocking(self._wake[1], False)
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLIN)
            self._poll.register(self._wake[0], select.POLLIN)

    @property
    def is_file(self) -> bool:
        """Whether this is a file on disk, which keeps nobody waiting."""
        return self._status is not None and stat.S_ISREG(self._status.st_mode)

    def size(self) -> int | None:
        """Bytes of a file on disk that are not taken yet; None for what has no size."""
        if self._status is None or not self.is_file:
            return None
        return max(0, self._status.st_size - self.stream.tell()) + len(self.ahead)

    def place(self) -> int | None:
        """Of the next byte in a file on disk; None for what has no way back."""
        return self.stream.tell() - len(self.ahead) if self.is_file else None

    def go_to(self, place: int) -> None:
        """The next byte of a file on disk is this one."""
        self.stream.seek(place)
        self.ahead = b""

    def peek(self) -> bytes:
        """What comes next, at least one byte, without taking it; waits for it. None are the end."""
        if not self.ahead:
            self.ahead = self._read()
        return self.ahead

    def take(self, most: int) -> bytes:
        """At least one byte and at most `most`; waits for them. None are the end."""
        self.peek()
        taken, self.ahead = self.ahead[:most], self.ahead[most:]
        return taken

    def take_all(self, count: int) -> bytes:
        """So many bytes; fewer are the end."""
        parts, missing = [], count
        while missing and (part := self.take(missing)):
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def more(self, patience_seconds: float) -> bool:
        """Whether there are bytes, or the end, to be taken now or in so many seconds. False where nobody can tell."""
        if self.ahead or self._stopped or self._poll is None or not self._drained:
            return bool(self.ahead) or self._stopped
        return bool(self._poll.poll(1000 * patience_seconds))

    def stop(self) -> None:
        """End the stream here. May be called while somebody waits for bytes, from a handler of signals too."""
        self._stopped = True
        if self._wake is not None:
            with suppress(OSError):  # full: it has been told often enough
                os.write(self._wake[1], b"x")

    def close(self) -> None:
        """Let go of what was opened here."""
        self._poll = None
        for descriptor in self._wake or ():
            os.close(descriptor)
        self._wake = None
        if self.owned:
            self.stream.close()

    def _read(self) -> bytes:
        if self._poll is not None and self._drained:
            self._poll.poll()
        if self._stopped:
            return b""
        data: bytes | None = self._read_some(READ_BYTES)
        if not data and self._poll is not None and not os.get_blocking(self.stream.fileno()):
            self._poll.poll()
            data = b"" if self._stopped else self._read_some(READ_BYTES)
        data = data or b""
        self._drained = self._drained or len(data) < READ_BYTES
        return data


class PcmStream:
    """Samples of a stream as they come: a `Decoder`."""

    compressed = False

    def __init__(self, source: ByteStream, layout: Layout) -> None:
        self.sample_rate, self.channels = layout.format.sample_rate, layout.format.channels
        self.frames = None if layout.data_bytes is None else layout.data_bytes // layout.frame_bytes
        self.is_stream = not source.is_file
        self.piece_frames = READ_BYTES // layout.frame_bytes
        self.source = source
        self._decode = ENCODINGS[layout.format.encoding][1]
        self._frame_bytes = layout.frame_bytes
        self._layout = layout
        self._start = source.place()
        self._left = layout.data_bytes
        self._rest = b""  # of a frame
        self._done = 0
        self._began: float | None = None

    @property
    def promised(self) -> int:
        """Frames that the header says there are; 0 where it does not."""
        return self.frames or 0

    def read(self, most_frames: int) -> Samples:
        """What is there, (frames, channels), at least one frame and at most so many; none at the end. Waits."""
        if self._began is None:
            self._began = time.monotonic()
        wanted = most_frames * self._frame_bytes - len(self._rest)
        while True:
            if self._left is not None:
                wanted = min(wanted, self._left)
            data = self.source.take(wanted) if wanted else b""
            if not data:
                self._skip_the_rest()
                return np.empty((0, self.channels), np.float32)
            if self._left is not None:
                self._left -= len(data)
            self._rest += data
            whole = len(self._rest) // self._frame_bytes * self._frame_bytes
            if whole:
                frames, self._rest = self._decode(self._rest[:whole]), self._rest[whole:]
                self._done += whole // self._frame_bytes
                return frames.reshape(-1, self.channels)
            wanted = self._frame_bytes - len(self._rest)

    def more(self) -> bool:
        """Whether there is more to read now. A stream that is faster than its sound is given a moment."""
        passed = time.monotonic() - self._began if self._began is not None else 0.0
        hasty = self._done / self.sample_rate - passed > HASTE_SECONDS
        return self.source.more(PATIENCE_SECONDS if hasty else 0.0)

    def stop(self) -> None:
        """End the stream here."""
        self.source.stop()

    def rewind(self) -> None:
        """Back to the first sample of a file; a stream has no way back: OSError."""
        if self._start is None:
            raise OSError("a stream has passed")
        self.source.go_to(self._start)
        self._left, self._rest, self._done = self._layout.data_bytes, b"", 0

    def close(self) -> None:
        """Let go of the stream."""
        self.source.close()

    def _skip_the_rest(self) -> None:
        """Take what comes after the samples, so that whoever writes it does not fail; but do not wait for it."""
        for _ in range(MOST_REST_BYTES // READ_BYTES):
            if self._left != 0 or not self.source.more(PATIENCE_SECONDS) or not self.source.take(READ_BYTES):
                return
