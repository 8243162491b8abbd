"""Compressed files, decoded by a process that may die of them: see `helper`."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiocnn import helper
from audiocnn.errors import RecordingError
from audiocnn.helper import HALF_BYTES, DiedError, Helper, UnusableError
from audiocnn.soundfiles import COPY_OR_CONVERT, RefusedError, as_reason, frames_known, is_plain, promised_frames

Samples = NDArray[np.float32]

# Long enough that a call costs little beside it, short enough that memory stays small: 4 s at 16 kHz.
PIECE_FRAMES = 1 << 16


class HelpedFile:
    """An open file: a `Decoder`. While one piece is used, the process decodes the next."""

    is_stream = False

    def __init__(self, source: bytes | BinaryIO, name: str, process: Helper) -> None:
        """`source` is a name, or an open file on disk, read from its beginning and closed with this; it stays open
        where it cannot be opened: RefusedError, RecordingError where the process died."""
        self.name = name
        self._source = source
        self._process: Helper | None = process
        self._trouble = ""
        self._asked = 0  # frames that the process decodes now
        self._half = 0  # of the memory, in which it does
        self._done = 0  # frames given so far
        try:
            facts = self._first_open(process)
        except BaseException:
            self._leave()
            raise
        rate, channels, frames, code, log = facts.split(" ", 4)
        self.sample_rate, self.channels = int(rate), int(channels)
        self.frames = frames_known(int(frames))
        self.promised = promised_frames(log, int(frames))
        self.compressed = not is_plain(int(code))
        self._ended = False
        self.piece_frames = max(1, min(PIECE_FRAMES, HALF_BYTES // (4 * self.channels)))

    def __del__(self) -> None:
        self._leave()

    def read(self, most_frames: int) -> Samples:
        """The next (frames, channels), always asked for with the same number; none at the end. OSError: cannot be
        decoded from here on. RecordingError: the process died of it."""
        if self._trouble:
            raise OSError(self._trouble)
        if self._ended:
            return np.empty((0, self.channels), np.float32)
        try:
            piece = self._next(most_frames)
        except DiedError as death:
            piece = self._again(death, most_frames)
        self._done += len(piece)
        if not len(piece) and self._trouble:
            raise OSError(self._trouble)
        return piece

    def more(self) -> bool:
        """A file never keeps its reader waiting."""
        return True

    def stop(self) -> None:
        """Nobody waits for a file."""

    def rewind(self) -> None:
        """Back to the start; OSError, RecordingError."""
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
        self._ended, self._trouble, self._done = False, "", 0

    def close(self) -> None:
        """Let go of the process and of the file."""
        self._leave()
        if not isinstance(self._source, bytes):
            self._source.close()

    def _leave(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.leave()

    def _held(self) -> Helper:
        if self._process is None:
            raise OSError("closed")
        return self._process

    def _first_open(self, process: Helper) -> str:
        try:
            return self._open(process)
        except UnusableError:
            raise
        except DiedError as death:
            return self._replace(death)

    def _open(self, process: Helper) -> str:
        """What the file is. RefusedError, DiedError."""
        process.files += 1
        if isinstance(self._source, bytes):
            process.ask(b"O", name=self._source)
        else:
            self._source.seek(0)
            process.ask(b"F", descriptor=self._source.fileno())
        good, text = process.answer()
        if not good:
            raise RefusedError(as_reason(text))
        return text

    def _ask(self, most_frames: int) -> None:
        """Let the process decode the next frames into the other half of the memory."""
        self._asked, self._half = max(1, min(most_frames, self.piece_frames)), 1 - self._half
        self._held().ask(b"R", self._asked, self._half)

    def _take(self) -> Samples:
        """What was asked for."""
        process, asked = self._held(), self._asked
        frames, trouble = process.answer()
        self._trouble = as_reason(trouble)
        self._asked, self._ended = 0, frames < asked
        return process.half(self._half, frames, self.channels)

    def _next(self, most_frames: int) -> Samples:
        if not self._asked:
            self._ask(most_frames)
        piece = self._take()
        if not self._ended and not self._trouble:
            self._ask(most_frames)
        return piece

    def _again(self, death: DiedError, most_frames: int) -> Samples:
        """A process that opened other files may have died of those: a fresh one gets the file, up to the same place."""
        self._replace(death)
        left = self._done
        try:
            while left:
                self._ask(left)
                if not (skipped := len(self._take())):
                    raise self._dead(DiedError("it ends elsewhere when it is read again"))
                left -= skipped
            self._ask(most_frames)
            return self._take()
        except DiedError as second:
            raise self._dead(second) from None

    def _replace(self, death: DiedError) -> str:
        """Open the file in a fresh process, if the one that died had opened others; RecordingError."""
        dead, self._process = self._held(), None
        self._process = helper.take(fresh=True) if dead.files > 1 else None
        if self._process is None:
            raise self._dead(death)
        try:
            return self._open(self._process)
        except DiedError as second:
            raise self._dead(second) from None
        except RefusedError as refused:
            raise self._dead(DiedError(str(refused))) from None

    def _dead(self, death: DiedError) -> RecordingError:
        """The process is gone; the error that says so."""
        process, self._process = self._process, None
        if process is not None:
            process.end()
        at = f" at {self._done / self.sample_rate:.2f} s" if self._done else ""
        return RecordingError(f"{self.name}: the decoder crashed on it{at} ({death}); {COPY_OR_CONVERT}")


def open_helped(source: bytes | BinaryIO, name: str) -> HelpedFile | None:
    """Open a file by its name, or an open one on disk, in a process; None where none can be had. See HelpedFile."""
    process = helper.take()
    if process is None:
        return None
    try:
        return HelpedFile(source, name, process)
    except UnusableError:
        helper.give_up()
        return None
