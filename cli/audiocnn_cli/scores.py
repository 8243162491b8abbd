"""What `score` writes: rows of CSV or TSV, JSON Lines, or arrays."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from audiocnn.detection import ScoreBlock, ScoredRecording
from audiocnn.formats import jsonl, rows
from audiocnn.model import write_whole

Write = Callable[[str], object]
Timed = Iterator[tuple[float, float, Sequence[float]]]


class Scores(Protocol):
    """Takes blocks of scores as they come."""

    def begin(self) -> None:
        """Before the first recording."""

    def block(self, scored: ScoredRecording, block: ScoreBlock) -> None:
        """Some rows of one channel."""

    def failed(self, file: str, problem: str) -> None:
        """A recording that could not be read to its end; stderr has it already."""

    def end(self) -> None:
        """After the last recording, if one could be read."""


class Rows:
    """CSV or TSV. Errors are on stderr alone."""

    def __init__(self, write: Write, labels: Sequence[str], separator: str) -> None:
        self.write, self.labels, self.separator = write, labels, separator

    def begin(self) -> None:
        self.write(rows.score_header(self.labels, self.separator) + "\n")

    def block(self, scored: ScoredRecording, block: ScoreBlock) -> None:
        lines = rows.score_rows(scored.name, block.channel, timed(scored, block), self.separator)
        self.write("".join(line + "\n" for line in lines))

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
        lines = jsonl.score_lines(scored.name, block.channel, self.labels, timed(scored, block))
        self.write("".join(line + "\n" for line in lines))

    def failed(self, file: str, problem: str) -> None:
        self.write(jsonl.dumps(jsonl.error_record(file, problem)) + "\n")

    def end(self) -> None:
        """Nothing."""


class Arrays:
    """One recording as .npz: scores (channels, rows, labels) float32, channels, hop_seconds, labels, recording."""

    def __init__(self, path: Path, labels: Sequence[str]) -> None:
        self.path, self.labels = path, labels
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
        """Write it, whole."""
        content = io.BytesIO()
        np.savez_compressed(
            content,
            scores=np.stack([np.concatenate(blocks) for blocks in self.blocks.values()]),
            channels=np.array(list(self.blocks)),
            hop_seconds=np.array(self.hop_seconds),
            labels=np.array(self.labels),
            recording=np.array(self.recording),
        )
        write_whole(self.path, content.getvalue())


def timed(scored: ScoredRecording, block: ScoreBlock) -> Timed:
    """Each row with its start and end; the end of the recording may cut the last."""
    hop, end = scored.engine.hop_seconds, scored.duration_seconds
    for number, scores in enumerate(block.scores.tolist(), block.first_row):
        yield number * hop, min((number + 1) * hop, end), scores
