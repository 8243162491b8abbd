"""What readers find, row by row, as recordings."""

from __future__ import annotations

from audiocnn.formats.found import Found
from audiocnn.segments import Segment


class Gathered:
    """Recordings in the order in which they are first named, and their segments as they stand there."""

    def __init__(self) -> None:
        self.tracks: dict[str, dict[int, list[Segment]]] = {}

    def name(self, file: str) -> None:
        """A recording, also one without a segment."""
        self.tracks.setdefault(file, {})

    def add(self, file: str, channel: int, segment: Segment) -> None:
        """One segment; channels count from 0."""
        self.tracks.setdefault(file, {}).setdefault(channel, []).append(segment)

    def found(self) -> list[Found]:
        """All of them."""
        return [
            Found(file, {channel: tuple(track) for channel, track in sorted(tracks.items())})
            for file, tracks in self.tracks.items()
        ]
