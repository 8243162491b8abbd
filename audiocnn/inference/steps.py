"""Live sound to scores, with the past as state: `Stepper` classes, and the session that runs the steps of a network.

`TailStepper` runs `stream.onnx`, in which every sample is computed once. `ChunkStepper` runs any other model, and
recomputes the window of each new row. The scores equal those of the whole recording at once, except that a level
normalisation with look-ahead works without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from audiocnn.audio.pcm import Samples
from audiocnn.errors import export_command
from audiocnn.inference.batcher import Backend, Scores
from audiocnn.inference.chunks import ChunkPlan, kept_rows
from audiocnn.model.model import STREAM_ONNX, Model
from audiocnn.model.onnx import OnnxFile, says_geometry

MOST_STEP_SECONDS = 2.0  # of sound in one step; longer steps gain nothing and take memory
TailArrays = list[Any]
_TIMING = ("lead_samples", "lead_rows", "most_rows")  # keys in the metadata


class StepSession:
    """`stream.onnx` of a model, for any number of streams and threads. ModelError if it cannot be read."""

    def __init__(self, model: Model) -> None:
        self.geometry = geometry = model.geometry
        self.hop_samples, self.channels, self.width = geometry.hop_samples, model.channels, model.specs[0].outputs
        command = f"{export_command(model.folder)} --stream"
        # One step takes a fraction of a millisecond: more threads would only wait for each other.
        self.file = OnnxFile(model.part(STREAM_ONNX), command, 1, lambda session: says_geometry(session, geometry))
        said = self.file.session.get_modelmeta().custom_metadata_map
        try:
            self.lead_samples, self.lead_rows, most = (int(said[key]) for key in _TIMING)
        except (KeyError, ValueError):
            raise self.file.error("has no row timing in its metadata") from None
        self.most_rows = max(1, min(most, round(MOST_STEP_SECONDS / geometry.hop_seconds)))
        inputs = self.file.session.get_inputs()[1:]
        self.tails = [one.name for one in inputs]
        self.outputs = ["scores", *(f"next.{n}" for n in range(len(inputs)))]
        self.first = self._first_tails([one.shape[1:] for one in inputs])

    def _first_tails(self, shapes: Sequence[Sequence[int]]) -> TailArrays:
        if not shapes:
            return []
        silence = np.zeros((1, self.channels, self.hop_samples), np.float32)
        zeros = (np.zeros((1, *shape), np.float32) for shape in shapes)
        feeds = {"samples": silence, **dict(zip(self.tails, zeros, strict=True))}
        return self.file.run([f"first.{n}" for n in range(len(shapes))], feeds)

    def run(self, samples: Samples, tails: TailArrays) -> tuple[Scores, TailArrays]:
        """(streams, channels, rows * hop) and their tails -> scores (streams, rows, outputs), and the next tails."""
        feeds = {"samples": samples, **dict(zip(self.tails, tails, strict=True))}
        scores, *behind = self.file.run(self.outputs, feeds)
        if not np.isfinite(scores).all():
            raise self.file.error("returned scores that are not finite")
        return scores, behind


class Stepper(Protocol):
    """Scores of several tracks in parallel. Samples are at the model's rate and are not kept."""

    def push(self, samples: Samples) -> Scores:
        """(tracks, channels, n), with any n -> the rows that are now known (tracks, rows, outputs)."""
        ...

    def finish(self) -> Scores:
        """The remaining rows at the end of the sound, ceil(samples / hop) rows in all. Nothing is pushed afterwards."""
        ...


class TailStepper:
    """Continues from the tails of each layer."""

    def __init__(self, session: StepSession, tracks: int = 1) -> None:
        self.session, self.tracks = session, tracks
        self._tails: TailArrays = [np.repeat(tail, tracks, axis=0) for tail in session.first]
        self.batch: tuple[TailArrays, int] | None = None  # tails of a whole batch, and the place of its own
        # Steps end where the windows of rows end. So some zeros come first, and the first rows belong to no hop.
        self.waiting = np.zeros((tracks, session.channels, session.lead_samples), np.float32)
        self.drop = session.lead_rows
        self.heard = 0

    @property
    def tails(self) -> TailArrays:
        """(tracks, ...) each."""
        if self.batch is not None:
            whole, place = self.batch
            return [tail[place : place + 1] for tail in whole]
        return self._tails

    @tails.setter
    def tails(self, behind: TailArrays) -> None:
        self._tails, self.batch = behind, None

    def left_in(self, behind: TailArrays, place: int) -> None:
        """Use the tails at a place of a batch, without copying the batch."""
        self._tails, self.batch = [], (behind, place)

    @property
    def ready_rows(self) -> int:
        """Number of rows that a step could compute now."""
        return self.waiting.shape[2] // self.session.hop_samples

    def take(self, samples: Samples) -> None:
        """Add samples. They are copied unless a step can use them at once."""
        self.heard += samples.shape[2]
        if self.waiting.shape[2]:
            self.waiting = np.concatenate([self.waiting, samples], axis=2)
        else:
            self.waiting = samples if samples.shape[2] >= self.session.hop_samples else samples.copy()

    def next_samples(self, rows: int) -> Samples:
        """Remove and return the samples for a step of this number of rows."""
        count, waiting = rows * self.session.hop_samples, self.waiting
        if waiting.shape[2] == count:
            self.waiting = waiting[:, :, count:].copy()
            return waiting
        left = waiting[:, :, count:]
        self.waiting = left if left.shape[2] >= self.session.hop_samples else left.copy()
        return waiting[:, :, :count]

    def kept(self, scores: Scores) -> Scores:
        """(..., rows, outputs) of a step, without the rows before the beginning."""
        if not self.drop:
            return scores
        drop = min(self.drop, scores.shape[-2])
        self.drop -= drop
        return scores[..., drop:, :]

    def push(self, samples: Samples) -> Scores:
        session = self.session
        found: list[Scores] = []
        self.take(samples)
        while rows := min(self.ready_rows, session.most_rows):
            scores, self.tails = session.run(np.ascontiguousarray(self.next_samples(rows)), self.tails)
            found.append(self.kept(scores))
        return _joined(found, self.tracks, session.width)

    def finish(self) -> Scores:
        geometry = self.session.geometry
        needed = geometry.known_samples + (geometry.rows(self.heard) - 1) * geometry.hop_samples
        missing = needed - self.heard if self.heard else 0
        return self.push(np.zeros((self.tracks, self.session.channels, max(0, missing)), np.float32))


class ChunkStepper:
    """Recomputes the window of each new row."""

    def __init__(self, model: Model, backend: Backend, tracks: int = 1) -> None:
        geometry = model.geometry
        self.model, self.backend, self.tracks = model, backend, tracks
        rows = max(1, round(MOST_STEP_SECONDS / geometry.hop_seconds))
        self.plan = ChunkPlan(geometry, rows, tracks * model.channels)

    def push(self, samples: Samples) -> Scores:
        self.plan.push(samples.reshape(self.plan.channels, samples.shape[2]).copy())
        return self._run(last=False)

    def finish(self) -> Scores:
        return self._run(last=True)

    def _run(self, last: bool) -> Scores:
        found: list[Scores] = []
        while (ready := self.plan.next_chunk(last=last, partial=not last, live=not last)) is not None:
            tracks = ready.samples.reshape(self.tracks, self.model.channels, -1)
            found.append(kept_rows(self.backend.run(tracks, ready.crop), ready.drop, ready.rows))
        return _joined(found, self.tracks, self.model.specs[0].outputs)


def _joined(found: Sequence[Scores], tracks: int, width: int) -> Scores:
    if len(found) == 1:
        return found[0]
    return np.concatenate([np.zeros((tracks, 0, width), np.float32), *found], axis=1)
