"""Live sound that a program pushes: `Stream`, and `Streams` for many of them in one batch.

    samples, as they come -> resampled -> steps of the network -> scores -> onsets and endings

All state is in the object, and the network is shared. There are no threads, files or logs; an object that is no longer
referenced is freed. Streams may be pushed from any number of threads, but each from one at a time. A step of 20 ms of
sound takes a fraction of a millisecond, so that it may be called in an event loop.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn
from weakref import WeakValueDictionary

import numpy as np

from audiocnn.audio.arrays import AnyArray, as_floats, channels_of, check_rate
from audiocnn.audio.pcm import MOST_LEVEL, Samples, is_level
from audiocnn.audio.resampling import LiveResampler
from audiocnn.audio.sndfile import describe_error
from audiocnn.errors import UsageError
from audiocnn.inference.batcher import Scores
from audiocnn.inference.detect import Detector, DetectSettings, Event, Onset
from audiocnn.inference.engine import Engine, load_engine
from audiocnn.inference.scores import ScoreBlock
from audiocnn.inference.steps import MOST_STEP_SECONDS, Stepper, StepSession, TailArrays, TailStepper
from audiocnn.model.model import DEFAULT_LIVE_MODEL, ONNX, STREAM_ONNX, Model, find_model, split_outputs
from audiocnn.units import to_samples

_BATCH_STREAMS = 32  # stepped at once; more do not fit into the caches of a core
_Source = StepSession | Engine
_SHARED: WeakValueDictionary[tuple[Path, int, int], _Source] = WeakValueDictionary()
_SHARED_LOCK = threading.Lock()


class LiveModel:
    """A model that is shared by any number of streams on any number of threads.

    A model with a `stream.onnx` computes each sample once; any other computes the window of each row again.
    """

    def __init__(self, model: str | Path | Model = DEFAULT_LIVE_MODEL) -> None:
        self.model = model if isinstance(model, Model) else find_model(model)
        self._source = _shared_source(self.model)

    @property
    def session(self) -> StepSession | None:
        """What runs many streams as one batch; None if the model has no `stream.onnx`."""
        return self._source if isinstance(self._source, StepSession) else None

    def stepper(self) -> Stepper:
        return TailStepper(self._source) if isinstance(self._source, StepSession) else self._source.stepper()


def _shared_source(model: Model) -> _Source:
    """Computes the scores of a model. Shared by all streams as long as its file is the same."""
    steps = (model.folder / STREAM_ONNX).is_file()
    path = model.part(STREAM_ONNX if steps else ONNX)
    stat = path.stat()
    key = (path.resolve(), stat.st_mtime_ns, stat.st_size)
    with _SHARED_LOCK:
        source = _SHARED.get(key)
        if source is None:
            source = _SHARED[key] = StepSession(model) if steps else load_engine(model, "cpu", 1)
    return source


class Stream:
    """Live sound from one source: `push` samples in blocks of any size, and get the events that are now certain.

    - `model`: a name, a folder, or a `LiveModel`.
    - `sample_rate`: of the samples, in Hz; None is that of the model.
    - `settings`: as in `detect`; `min_silence_seconds` is the length of a pause that ends a turn.
    - `pre_roll`: an `Onset` also contains the sound from its start on.

    Raises AudiocnnError for an unknown model or an invalid rate.

    >>> stream = audiocnn.Stream(sample_rate=8000)
    >>> for event in stream.push(samples):
    ...     print(event)
    """

    def __init__(
        self,
        model: str | Path | LiveModel = DEFAULT_LIVE_MODEL,
        sample_rate: int | None = None,
        settings: DetectSettings | None = None,
        pre_roll: bool = False,
    ) -> None:
        self._live = model if isinstance(model, LiveModel) else LiveModel(model)
        self._geometry = self._live.model.geometry
        self.sample_rate = self._geometry.sample_rate if sample_rate is None else check_rate(sample_rate)
        self.settings, self._pre_roll = settings or DetectSettings(), pre_roll
        self._lock = threading.Lock()
        self.reset()

    @property
    def model(self) -> Model:
        return self._live.model

    @property
    def scores(self) -> Scores:
        """(rows, labels): scores of the last `push` or `close`. Counted from the beginning, row k covers [k * hop, (k +
        1) * hop)."""
        return self._scores

    @property
    def seconds(self) -> float:
        """How much sound was pushed."""
        return self.samples / self.sample_rate

    def reset(self) -> None:
        """Start again as if nothing had been pushed; times count from 0. This also reopens a closed stream."""
        live, rate = self._live, self._geometry.sample_rate
        self._detector = Detector(live.model, self.settings)
        self._stepper = live.stepper()
        self._resampler = _resampler(self.sample_rate, rate, live.model.channels) if self.sample_rate != rate else None
        self._scores = np.zeros((0, len(live.model.labels)), np.float32)
        self._rows = self.samples = 0  # number of scores so far; number of samples so far, at the rate of the stream
        self._kept: deque[AnyArray] = deque()  # pushed sound from `_kept_from` on, for the pre-roll
        self._kept_from = 0
        self._closed = False

    def push(self, samples: AnyArray, sample_rate: int | None = None) -> list[Event]:
        """Push the next samples, (samples,) or (channels, samples), floats in [-1, 1] or int16, of any number. Returns
        the onsets and endings that are now certain. Raises UsageError for invalid samples, and then ignores them."""
        with _Alone(self._lock):
            rows = self._checked(samples, sample_rate)
            events: list[Event] = []
            found = []
            most = max(1, to_samples(MOST_STEP_SECONDS, self.sample_rate))
            for begin in range(0, rows.shape[1], most):
                piece = rows[:, begin : begin + most]
                outputs = self._stepper.push(self._heard(piece)[None])[0]
                found.append(outputs)
                events += self._events(outputs)
            self._note(found)
            return events

    def close(self) -> list[Event]:
        """End the stream. Returns the remaining events, as at the end of a file. No more samples can be pushed until
        `reset`."""
        with _Alone(self._lock):
            if self._closed:
                return []
            last = self._resampled(np.zeros((self.model.channels, 0), np.float32), last=True)
            found = [self._stepper.push(last[None])[0], self._stepper.finish()[0]]
            events = [event for outputs in found for event in self._events(outputs)]
            self._note(found)
            self._closed = True
            return events + self._told(self._detector.finish_at(self.seconds))

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Stream holds the state of its sound and cannot be copied or pickled; create another instead")

    def _checked(self, samples: AnyArray, sample_rate: int | None) -> Samples:
        """float32 (channels, samples). UsageError for samples that cannot continue this stream."""
        if self._closed:
            raise UsageError("the stream is closed; open another, or call reset()")
        if sample_rate is not None and check_rate(sample_rate) != self.sample_rate:
            raise UsageError(
                f"sample_rate {sample_rate}: the stream runs at {self.sample_rate} Hz; open another for this rate"
            )
        rows, wanted = channels_of(samples), self.model.channels
        if len(rows) != wanted:
            each = "give their mean, or open one Stream each" if wanted == 1 else f"{self.model.name} expects {wanted}"
            raise UsageError(f"samples: {len(rows)} channels; {each}")
        floats = as_floats(rows)
        # The sum of squares shows NaN, infinite and too large values in one pass.
        if not np.vdot(floats, floats) <= MOST_LEVEL and not is_level(floats).all():
            place = int(np.argmin(is_level(floats).all(axis=0)))
            raise UsageError(
                f"samples: invalid value at {(self.samples + place) / self.sample_rate:.3f} s (NaN, infinite or too"
                " large); the block was not used"
            )
        if self._pre_roll and floats.shape[1]:
            self._kept.append(samples.copy())
        return floats

    def _heard(self, piece: Samples) -> Samples:
        """Count the next samples, and convert them to the model's rate."""
        self.samples += piece.shape[1]
        return self._resampled(piece)

    def _resampled(self, piece: Samples, last: bool = False) -> Samples:
        if self._resampler is None:
            return piece
        return np.ascontiguousarray(self._resampler.resample_chunk(piece.T, last).T)

    def _events(self, outputs: Scores) -> list[Event]:
        """The events that the next rows (rows, outputs) make certain."""
        if not len(outputs):
            return []
        if self._detector.passes(outputs):
            self._rows += len(outputs)
            if self._pre_roll:
                self._forget()
            return []
        scores, edges = split_outputs(outputs, len(self.model.labels))
        block = ScoreBlock(0, self._rows, scores, edges, heard_seconds=self.seconds)
        self._rows += len(outputs)
        events = self._detector.push(block)
        told = self._told(events) if events else []
        if self._pre_roll:
            self._forget()
        return told

    def _note(self, found: Sequence[Scores]) -> None:
        labels = len(self.model.labels)
        if len(found) == 1:
            self._scores = found[0][:, :labels]
            return
        empty = np.zeros((0, labels), np.float32)
        self._scores = np.concatenate([empty, *(outputs[:, :labels] for outputs in found)])

    def _told(self, events: Sequence[Event]) -> list[Event]:
        """Events with the fields that only a stream sets."""
        told: list[Event] = []
        for event in events:
            if isinstance(event, Onset):
                start = to_samples(event.start, self.sample_rate)
                samples = self._since(start) if self._pre_roll else None
                told.append(replace(event, known=self.seconds, start_sample=start, samples=samples))
            else:
                start, end = (to_samples(x, self.sample_rate) for x in (event.segment.start, event.segment.end))
                end = min(end, self.samples)
                told.append(replace(event, known=self.seconds, start_sample=start, end_sample=end))
        return told

    def _since(self, start: int) -> AnyArray:
        """The pushed sound from a sample on."""
        together = np.concatenate(list(self._kept), axis=-1)
        return together[..., max(0, start - self._kept_from) : self.samples - self._kept_from]

    def _forget(self) -> None:
        """Forget sound that no later onset can start with."""
        first = to_samples(self._detector.earliest_onset(), self.sample_rate)
        while self._kept and self._kept_from + self._kept[0].shape[-1] <= first:
            self._kept_from += self._kept.popleft().shape[-1]


class _Alone:
    """The lock of a stream. Nobody waits for it: two threads in one stream are a mistake in the calling program."""

    def __init__(self, lock: threading.Lock) -> None:
        self.lock = lock

    def __enter__(self) -> None:
        _take(self.lock)

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def _take(lock: threading.Lock) -> None:
    if not lock.acquire(blocking=False):
        raise UsageError("another thread is pushing to this stream; push to a Stream, or Streams, from one at a time")


def _resampler(rate_in: int, rate_out: int, channels: int) -> LiveResampler:
    try:
        return LiveResampler(rate_in, rate_out, channels)
    except (ValueError, RuntimeError) as error:
        what = f"sample_rate {rate_in}: resampling to {rate_out} Hz failed ({describe_error(error)})"
        raise UsageError(f"{what}; give the samples at another rate") from None


class Streams:
    """Many streams of one model that are processed together, because a batch takes less time than the streams one by
    one.

    >>> calls = audiocnn.Streams()
    >>> ada, bob = calls.open(sample_rate=8000), calls.open()
    >>> found = calls.push({ada: samples, bob: others})  # {ada: [Onset(...)], bob: []}
    """

    def __init__(self, model: str | Path | LiveModel = DEFAULT_LIVE_MODEL) -> None:
        self._live = model if isinstance(model, LiveModel) else LiveModel(model)
        self._lock = threading.Lock()

    @property
    def model(self) -> Model:
        return self._live.model

    def open(
        self, sample_rate: int | None = None, settings: DetectSettings | None = None, pre_roll: bool = False
    ) -> Stream:
        """Open a stream that can be pushed here together with others, or on its own."""
        return Stream(self._live, sample_rate, settings, pre_roll)

    def push(self, pieces: Mapping[Stream, AnyArray]) -> dict[Stream, list[Event]]:
        """Push the next samples of some streams, as in `Stream.push`. Returns the events that are now certain in each.
        Raises UsageError for invalid samples or a stream of another model, before any samples are used."""
        if any(stream._live is not self._live for stream in pieces):
            raise UsageError("the batch contains a stream of another model; open all streams from the same Streams")
        with _Alone(self._lock):
            if self._live.session is None:
                return {stream: stream.push(samples) for stream, samples in pieces.items()}
            held: list[Stream] = []
            try:
                for stream in pieces:
                    _take(stream._lock)
                    held.append(stream)
                return self._push(self._live.session, pieces)
            finally:
                for stream in held:
                    stream._lock.release()

    def _push(self, session: StepSession, pieces: Mapping[Stream, AnyArray]) -> dict[Stream, list[Event]]:
        checked = [stream._checked(samples, None) for stream, samples in pieces.items()]
        shares = [_Share(stream, _stepper_of(stream)) for stream in pieces]
        for share, piece in zip(shares, checked, strict=True):
            share.stepper.take(share.stream._heard(piece)[None])
        for begin in range(0, len(shares), _BATCH_STREAMS):
            shelf = shares[begin : begin + _BATCH_STREAMS]
            while ready := [share for share in shelf if share.stepper.ready_rows]:
                rows = min(session.most_rows, *(share.stepper.ready_rows for share in ready))
                _step(session, ready, rows)
        for share in shares:
            share.stream._note(share.found)
        return {share.stream: share.events for share in shares}


class _Share:
    """The part of a push that concerns one of its streams."""

    __slots__ = ("events", "found", "stepper", "stream")

    def __init__(self, stream: Stream, stepper: TailStepper) -> None:
        self.stream, self.stepper = stream, stepper
        self.found: list[Scores] = []
        self.events: list[Event] = []


def _step(session: StepSession, shares: Sequence[_Share], rows: int) -> None:
    """Compute the next rows of each stream."""
    samples = np.concatenate([share.stepper.next_samples(rows) for share in shares])
    scores, behind = session.run(samples, _tails_of([share.stepper for share in shares]))
    for place, share in enumerate(shares):
        share.stepper.left_in(behind, place)
        outputs = share.stepper.kept(scores[place])
        share.found.append(outputs)
        if told := share.stream._events(outputs):
            share.events += told


def _tails_of(steppers: Sequence[TailStepper]) -> TailArrays:
    """The concatenated tails of some streams. They are not copied if they are the result of the last step."""
    whole = steppers[0].batch[0] if steppers[0].batch else []
    as_left = all(one.batch and one.batch[0] is whole and one.batch[1] == n for n, one in enumerate(steppers))
    if whole and as_left and len(whole[0]) == len(steppers):
        return whole
    return [np.concatenate(own) for own in zip(*(stepper.tails for stepper in steppers), strict=True)]


def _stepper_of(stream: Stream) -> TailStepper:
    stepper: Any = stream._stepper
    assert isinstance(stepper, TailStepper)
    return stepper
