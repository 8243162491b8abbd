"""Uncompressed samples, with or without a header, decoded as they arrive from files, pipes and sockets."""

from __future__ import annotations

import time

import numpy as np

from audiocnn.audio.headers import next_layout
from audiocnn.audio.pcm import ENCODINGS, STORED_TYPES, Layout, Samples
from audiocnn.audio.streams import READ_BYTES, ByteStream

# Samples may be followed by metadata. A stream that sends more than this is treated as endless.
_MOST_REST_BYTES = 1 << 26
# If a stream delivered audio faster than real time, it is not live, and a pause of this length does not count as one.
_PATIENCE_SECONDS, _HASTE_SECONDS = 0.02, 1.0
_REST_SECONDS = 1.0  # to wait for data after the samples that the header counts


class PcmStream:
    """A `Decoder` for samples of a stream as they arrive."""

    compressed = continues = False
    defect = ""

    def __init__(self, source: ByteStream, layout: Layout, counted_seconds: float | None = None) -> None:
        """counted_seconds: set if these samples continue a recording beyond the length that its header states: that
        length."""
        self.sample_rate, self.channels = layout.format.sample_rate, layout.format.channels
        self.frames = None if layout.data_bytes is None else layout.data_bytes // layout.frame_bytes
        self.is_stream = not source.has_way_back
        self.piece_frames = max(1, READ_BYTES // layout.frame_bytes)
        self.source = source
        self._owns_source = True
        self.encoding = layout.format.encoding
        self._decode = ENCODINGS[self.encoding][1]
        self._frame_bytes = layout.frame_bytes
        self._layout = layout
        self._start = source.place()
        self._left = layout.data_bytes
        self._rest = b""  # of an incomplete frame
        self._done = 0
        self._began: float | None = None
        self._counted_seconds = counted_seconds
        self._zeros = 0  # zero frames beyond the stated length: padding, unless other samples follow
        self._held: Samples | None = None  # the first piece of these samples

    @property
    def promised(self) -> int:
        return self.frames or 0

    @property
    def remark(self) -> str:
        if self._counted_seconds is None:
            return ""
        return f"the header states {self._counted_seconds:.2f} s; the samples after that are read too"

    def keep_type(self) -> bool:
        """Return samples in their stored type from now on; False if that is not supported."""
        if (stored := STORED_TYPES.get(self._layout.format.encoding)) is None:
            return False
        self._decode = lambda data: np.frombuffer(data, stored).astype(np.dtype(stored).newbyteorder("="))
        return True

    def read(self, most_frames: int) -> Samples:
        if self._counted_seconds is None:
            return self._read(most_frames)
        if self._held is None:
            while len(piece := self._read(most_frames)) and not piece.any():
                self._zeros += len(piece)
            if not len(piece):
                return piece
            self._held = piece
        if self._zeros:
            self._zeros -= (count := min(self._zeros, most_frames))
            return np.zeros((count, self.channels), np.float32)
        piece, self._held = self._held, None
        return piece

    def _read(self, most_frames: int) -> Samples:
        if self._began is None:
            self._began = time.monotonic()
        wanted = most_frames * self._frame_bytes - len(self._rest)
        while True:
            if self._left is not None:
                wanted = min(wanted, self._left)
            data = self.source.take(wanted) if wanted else b""
            if not data:
                return np.empty((0, self.channels), np.float32)
            if self._left is not None:
                self._left -= len(data)
            if self._rest:
                data = self._rest + data
            whole = len(data) // self._frame_bytes * self._frame_bytes
            data, self._rest = (data, b"") if whole == len(data) else (data[:whole], data[whole:])
            if whole:
                self._done += whole // self._frame_bytes
                return self._decode(data).reshape(-1, self.channels)
            wanted = self._frame_bytes - len(self._rest)

    def following(self) -> PcmStream | None:
        """What follows the samples that the header counts: another recording, more samples, or None."""
        if self._left != 0 or self.source.is_quiet(_REST_SECONDS):
            return None
        layout = next_layout(self.source, self._layout)
        if layout is None:
            self._skip_the_rest()
            return None
        counted = (self.frames or 0) / self.sample_rate if layout.format is self._layout.format else None
        more = PcmStream(self.source, layout, counted)
        more._owns_source = False
        is_alike = (more.sample_rate, more.channels) == (self.sample_rate, self.channels)
        if is_alike and self._decode is not ENCODINGS[self._layout.format.encoding][1]:
            more.keep_type()
        return more

    def more(self) -> bool:
        # A stream that is faster than real time is given a moment.
        passed = time.monotonic() - self._began if self._began is not None else 0.0
        hasty = self._done / self.sample_rate - passed > _HASTE_SECONDS
        return self.source.more(_PATIENCE_SECONDS if hasty else 0.0)

    def stop(self) -> None:
        self.source.stop()

    def skip(self, frames: int) -> int:
        place, there = self.source.place(), self.source.size()
        if place is None or there is None:
            return 0
        skipped = min(frames, (there if self._left is None else min(there, self._left)) // self._frame_bytes)
        self.source.go_to(place + skipped * self._frame_bytes)
        if self._left is not None:
            self._left -= skipped * self._frame_bytes
        return skipped

    def rewind(self) -> None:
        """Return to the first sample of a file. Raises OSError for a stream."""
        if self._start is None:
            raise OSError("a stream cannot be rewound")
        self.source.go_to(self._start)
        self._left, self._rest, self._done = self._layout.data_bytes, b"", 0

    def close(self) -> None:
        if self._owns_source:
            self.source.close()

    def _skip_the_rest(self) -> None:
        """Read and discard data after the samples, so that the writer does not fail, but do not wait for them."""
        if self.source.has_way_back:
            return
        for _ in range(_MOST_REST_BYTES // READ_BYTES):
            if not self.source.more(_PATIENCE_SECONDS) or not self.source.take(READ_BYTES):
                return
