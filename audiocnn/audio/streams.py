"""Bytes as they come, from pipes, sockets and files, and what a decoder makes of them."""

from __future__ import annotations

import io
import os
import select
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO, Protocol

from audiocnn.audio.pcm import Samples
from audiocnn.errors import RecordingError

# More than a pipe holds and than Python keeps back: what a read leaves over is then none.
READ_BYTES = 1 << 17


class Decoder(Protocol):
    """What a recording reads its samples from."""

    sample_rate: int
    channels: int
    frames: int | None  # by the header
    is_stream: bool  # whether `read` may have to wait, for a pipe
    piece_frames: int  # that are well read at once
    compressed: bool  # decoding takes longer than reading
    continues: bool  # it goes on with a recording that another decoder has begun

    @property
    def remark(self) -> str:
        """What is to be said of it though nothing is lost."""
        ...

    @property
    def promised(self) -> int:
        """Frames that there should be; 0 where nobody knows."""
        ...

    @property
    def defect(self) -> str:
        """Once all has been read: why there should be more, if nobody knows how much."""
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

    def following(self) -> Decoder | None:
        """Once all has been read: what goes on behind it, in the same file or stream. OSError, RecordingError."""
        ...

    def skip(self, frames: int) -> int:
        """Leave out as many of the next frames as can be without decoding them; how many they were."""
        ...

    def rewind(self) -> None:
        """Back to the start; OSError."""
        ...

    def close(self) -> None: ...


class FileDecoder:
    """What decoders of files have in common: nobody waits for a file."""

    is_stream = continues = False
    remark = defect = ""
    look_behind: Callable[[Any], Decoder | None] | None = None

    def more(self) -> bool:
        return True

    def stop(self) -> None:
        pass

    def following(self) -> Decoder | None:
        return self.look_behind(self) if self.look_behind is not None else None

    def skip(self, frames: int) -> int:
        return 0


class RefusedError(RecordingError):
    """A decoder does not read a recording; another may."""


class ByteStream:
    """Bytes of a file, pipe or socket as they come. The stream stays open when this is closed, unless it is owned."""

    def __init__(self, stream: BinaryIO, owned: bool = False) -> None:
        self.stream, self.owned = stream, owned
        self._block, self._taken = b"", 0  # what was read last, and how much of it has been taken
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
    def _ahead(self) -> int:
        """Bytes that have been read and not yet taken."""
        return len(self._block) - self._taken

    @property
    def is_file(self) -> bool:
        """Whether this is a file on disk, which keeps nobody waiting."""
        return self._status is not None and stat.S_ISREG(self._status.st_mode)

    @property
    def has_way_back(self) -> bool:
        return self.is_file or (self._status is None and getattr(self.stream, "seekable", lambda: False)())

    def size(self) -> int | None:
        """Bytes of a file on disk that are not taken yet; None for what has no size."""
        if self._status is None or not self.is_file:
            return None
        return max(0, self._status.st_size - self.stream.tell()) + self._ahead

    def place(self) -> int | None:
        """Of the next byte in a file; None for what has no way back."""
        return self.stream.tell() - self._ahead if self.has_way_back else None

    def go_to(self, place: int) -> None:
        self.stream.seek(place)
        self._block, self._taken = b"", 0

    def skip(self, count: int) -> None:
        """Leave out so many bytes, or all that are left."""
        if count > self._ahead and (place := self.place()) is not None:
            self.go_to(place + count)
            return
        while count > 0 and (part := self.take(count)):
            count -= len(part)

    def put_back(self, data: bytes) -> None:
        self._block, self._taken = data + self._block[self._taken :], 0

    def peek(self) -> bytes:
        """What comes next, at least one byte, without taking it; waits for it. None are the end."""
        if not self._ahead:
            self._block, self._taken = self._read(), 0
        return self._block[self._taken :]

    def take(self, most: int) -> bytes:
        """At least one byte and at most `most`; waits for them. None are the end."""
        if not self._ahead:
            self._block, self._taken = self._read(), 0
        taken = self._block[self._taken : self._taken + most]
        self._taken += len(taken)
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
        if self._ahead or self._stopped or self._poll is None or not self._drained:
            return bool(self._ahead) or self._stopped
        return bool(self._poll.poll(1000 * patience_seconds))

    def is_quiet(self, seconds: float) -> bool:
        """Whether nothing comes for so long, not even the end; False where nobody can tell."""
        if self._ahead or self._stopped or self._poll is None or not self._drained:
            return False
        return not self._poll.poll(1000 * seconds)

    def stop(self) -> None:
        """End the stream here. May be called while somebody waits for bytes, from a handler of signals too."""
        self._stopped = True
        if self._wake is not None:
            with suppress(OSError):  # full: it has been told often enough
                os.write(self._wake[1], b"x")

    def close(self) -> None:
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
