"""Byte streams from pipes, sockets and files, and the interface of decoders."""

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

# More than a pipe and Python's buffer hold, so that a read leaves nothing behind.
READ_BYTES = 1 << 17


class Decoder(Protocol):
    """The source of samples of a recording."""

    sample_rate: int
    channels: int
    frames: int | None  # from the header
    is_stream: bool  # whether `read` may have to wait, as for a pipe
    piece_frames: int  # a suitable number to read at once
    compressed: bool  # decoding takes longer than reading
    continues: bool  # it continues a recording that another decoder began

    @property
    def remark(self) -> str:
        """A note for the user about something unusual that loses no data."""
        ...

    @property
    def promised(self) -> int:
        """The number of frames that there should be; 0 if unknown."""
        ...

    @property
    def defect(self) -> str:
        """After reading everything: the reason why data must be missing, if the amount is unknown."""
        ...

    def read(self, most_frames: int) -> Samples:
        """The next available samples, (frames, channels); empty at the end. Waits if needed. Raises OSError."""
        ...

    def more(self) -> bool:
        """Whether `read` would return without waiting."""
        ...

    def stop(self) -> None:
        """Stop a waiting `read`, from another thread or a signal handler."""
        ...

    def following(self) -> Decoder | None:
        """After reading everything: the decoder for what follows in the same file or stream. Raises OSError or
        RecordingError."""
        ...

    def skip(self, frames: int) -> int:
        """Skip as many of the next frames as possible without decoding; returns their number."""
        ...

    def rewind(self) -> None:
        """Return to the start. Raises OSError."""
        ...

    def close(self) -> None: ...


class FileDecoder:
    """Common parts of decoders of files, which never wait."""

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
    """This decoder cannot read the recording, but another one may."""


class ByteStream:
    """Bytes of a file, pipe or socket as they arrive. Closing leaves the stream open, unless it is owned."""

    def __init__(self, stream: BinaryIO, owned: bool = False) -> None:
        self.stream, self.owned = stream, owned
        self._block, self._taken = b"", 0  # data of the last read, and the part of them already taken
        self._read_some = getattr(stream, "read1", stream.read)
        self._drained = False  # whether Python buffers nothing, so that the descriptor tells whether data are available
        self._stopped = False
        self._poll: Any = None
        self._wake: tuple[int, int] | None = None
        self._status: os.stat_result | None = None
        # Other objects, such as gzip files or TLS sockets, buffer bytes that the descriptor does not report.
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
        """Bytes that were read but not yet taken."""
        return len(self._block) - self._taken

    @property
    def is_file(self) -> bool:
        """Whether this is a file on disk, which never blocks."""
        return self._status is not None and stat.S_ISREG(self._status.st_mode)

    @property
    def has_way_back(self) -> bool:
        return self.is_file or (self._status is None and getattr(self.stream, "seekable", lambda: False)())

    def size(self) -> int | None:
        """Bytes of a file on disk that are not taken yet; None for a source without a size."""
        if self._status is None or not self.is_file:
            return None
        return max(0, self._status.st_size - self.stream.tell()) + self._ahead

    def place(self) -> int | None:
        """Position of the next byte in a file; None if the source is not seekable."""
        return self.stream.tell() - self._ahead if self.has_way_back else None

    def go_to(self, place: int) -> None:
        self.stream.seek(place)
        self._block, self._taken = b"", 0

    def skip(self, count: int) -> None:
        """Skip up to this many bytes."""
        if count > self._ahead and (place := self.place()) is not None:
            self.go_to(place + count)
            return
        while count > 0 and (part := self.take(count)):
            count -= len(part)

    def put_back(self, data: bytes) -> None:
        self._block, self._taken = data + self._block[self._taken :], 0

    def peek(self) -> bytes:
        """The next bytes, at least one, without taking them. Waits for them; empty at the end."""
        if not self._ahead:
            self._block, self._taken = self._read(), 0
        return self._block[self._taken :]

    def take(self, most: int) -> bytes:
        """At least one byte and at most `most`. Waits for them; empty at the end."""
        if not self._ahead:
            self._block, self._taken = self._read(), 0
        taken = self._block[self._taken : self._taken + most]
        self._taken += len(taken)
        return taken

    def take_all(self, count: int) -> bytes:
        """Exactly this many bytes; fewer at the end."""
        parts, missing = [], count
        while missing and (part := self.take(missing)):
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def more(self, patience_seconds: float) -> bool:
        """Whether bytes or the end of the stream are available within this many seconds. False if unknown."""
        if self._ahead or self._stopped or self._poll is None or not self._drained:
            return bool(self._ahead) or self._stopped
        return bool(self._poll.poll(1000 * patience_seconds))

    def is_quiet(self, seconds: float) -> bool:
        """Whether nothing arrives for this long, not even the end of the stream. False if unknown."""
        if self._ahead or self._stopped or self._poll is None or not self._drained:
            return False
        return not self._poll.poll(1000 * seconds)

    def stop(self) -> None:
        """End the stream here. May be called while another thread waits for bytes, also from a signal handler."""
        self._stopped = True
        if self._wake is not None:
            with suppress(OSError):  # the pipe is full: the reader has been notified
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
