"""What `score` writes: rows of CSV or TSV, JSON Lines, or arrays."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audiocnn.detection import ScoreBlock, ScoredRecording
from audiocnn.formats import jsonl, rows

Write = Callable[[str], object]


class Scores(Protocol):
    """Takes blocks of scores as they come."""

    def begin(self) -> None:
        """Before the first recording."""

    def block(self, scored: ScoredRecording, block: ScoreBlock) -> None:
        """Some rows of one channel."""

    def failed(self, file: str, problem: str) -> None:
        """A recording that could not be read to its end; stderr has it already."""

    def end(self) -> None:
        """After the last recording."""


class Rows:
    """CSV or TSV. Errors are on stderr alone."""

    def __init__(self, write: Write, labels: Sequence[str], separator: str) -> None:
        self.write, self.labels, self.separator = write, labels, separator

    def begin(self) -> None:
        self.write(rows.score_header(self.labels, self.separator) + "\n")

    def block(self, scored: ScoredRecording, block: ScoreBlock) -> None:
        self.write(rows.score_text(scored.name, block.channel, edges(scored, block), block.scores, self.separator))

    def failed(self, file: str, problem: str) -> None:
        """A table has no place for it."""

    def end(self) -> None:
        """Nothing."""


class JsonLines:
    """`score` records, and `error` records."""

    def __init__(self, write: Write, labels: Sequence[str]) -> None:
        self.write, self.labels = write, labels

    def begin(self) -> None:
        """Nothing: every line says what it is."""

    def block(self, scored: ScoredRecording, block: ScoreBlock) -> None:
        self.write(jsonl.score_text(scored.name, block.channel, self.labels, edges(scored, block), block.scores))

    def failed(self, file: str, problem: str) -> None:
        self.write(jsonl.dumps(jsonl.error_record(file, problem)) + "\n")

    def end(self) -> None:
        """Nothing."""


class Arrays:
    """One recording as .npz: scores (channels, rows, labels) float32, channels, hop_seconds, labels, recording."""

    def __init__(self, write: Callable[[bytes], object], labels: Sequence[str]) -> None:
        self.write, self.labels = write, labels
        self.blocks: dict[int, list[Any]] = {}
        self.recording, self.hop_seconds = "", 0.0

    def begin(self) -> None:
        """Nothing."""

    def block(self, scored: ScoredRecording, block: ScoreBlock) -> None:
        self.recording, self.hop_seconds = scored.name, scored.engine.hop_seconds
        self.blocks.setdefault(block.channel, []).append(block.scores)

    def failed(self, file: str, problem: str) -> None:
        """There is then nothing to write."""

    def end(self) -> None:
        """Write it, if there is something."""
        if not self.blocks:
            return
        content = io.BytesIO()
        np.savez_compressed(
            content,
            scores=np.stack([np.concatenate(blocks) for blocks in self.blocks.values()]),
            channels=np.array(list(self.blocks)),
            hop_seconds=np.array(self.hop_seconds),
            labels=np.array(self.labels),
            recording=np.array(self.recording),
        )
        self.write(content.getvalue())


def edges(scored: ScoredRecording, block: ScoreBlock) -> NDArray[np.float64]:
    """(rows + 1,) in seconds: where each row starts and the last one ends; the end of the recording may cut it."""
    first, rows = block.first_row, len(block.scores)
    times = np.arange(first, first + rows + 1, dtype=np.float64) * scored.engine.hop_seconds
    return np.minimum(times, scored.duration_seconds)
