"""A review of recordings: a person listens to the most useful ones first and labels them, and each answer is saved.

`Review` has the clips, the labels and their keys, the answers, and the undo history. Several pages, each with an id of
its own, may work on one review, and other programs on its table. An answer to a clip that was changed in the meantime
is refused with a `ConflictError`, so that nothing is lost.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from threading import Event, RLock
from typing import Any

import numpy as np

from audiocnn.audio.find import AUDIO_SUFFIXES
from audiocnn.audio.recording import open_recording, read_info
from audiocnn.data.dataset import is_dataset
from audiocnn.data.decode import reason_without_name
from audiocnn.data.sources.correction_table import ChangedElsewhereError, CorrectionTable, Said
from audiocnn.data.sources.corrections import LEFT_OUT, Correction, read_all_corrections
from audiocnn.data.sources.folders import read_folder
from audiocnn.data.sources.probe import take_evenly
from audiocnn.data.sources.settings import DataSettings
from audiocnn.errors import AudiocnnError, RecordingError, UsageError, show_name
from audiocnn.evaluation.metrics import LEAST_PROBABILITY
from audiocnn.evaluation.review_order import EMBEDDED_SECONDS, Choice, ReviewOrder, embed_clip
from audiocnn.inference.classify import ClassifySettings, classify_scored
from audiocnn.inference.detect import Detector, DetectSettings
from audiocnn.inference.engine import Engine
from audiocnn.inference.scores import ScoreBlock, ScoredRecording, scoring
from audiocnn.segments.segment import NONE_LABEL, Annotation, composed, is_background_label
from audiocnn.units import heard_rate, round_seconds

LABEL_KEYS = "123456789abcdefghijklmopqrvwyz"  # without the keys of other functions: n, s, t, u, x
_EMBEDDING_RATE = 16_000
_FITTED_AT_ONCE = 500  # clips; with more, the order is computed in the background
_LONG_SECONDS, _MOST_HEADERS = 60.0, 50  # recordings of this length are not clips; number of headers to check
_ENOUGH = 50  # clips to analyse before the first one is chosen
_MOST_LABEL_LETTERS = 100
_MOST_SEGMENTS = 100_000  # per recording


class ConflictError(Exception):
    """The clip is not as the page saw it: another page, or another program, changed it."""


@dataclass(frozen=True)
class ReviewClip:
    """label: its label in the data. annotations: its segments in the data; None if they are unknown."""

    filename: str
    path: Path
    label: str | None = None
    annotations: tuple[Annotation, ...] | None = None


@dataclass(frozen=True)
class ReviewSource:
    """The recordings below a folder, and those that cannot be reviewed: (name, reason). left_out: suffix -> number of
    files that need ffmpeg, which is missing."""

    folder: Path
    clips: list[ReviewClip]
    refused: list[tuple[str, str]]
    left_out: Counter[str]

    def with_corrections(self, settings: DataSettings) -> ReviewSource:
        """With labels and segments from the correction tables of the settings, and without the clips that these leave
        out. LabelError if one is not such a table."""
        found, _ = read_all_corrections(settings)
        clips = []
        for clip in self.clips:
            if clip.filename not in found:
                clips.append(replace(clip, label=None) if settings.only_corrected else clip)
            elif (right := found[clip.filename]) is None:
                continue
            elif right.annotations is not None:
                clips.append(replace(clip, label=None, annotations=right.annotations))
            else:
                clips.append(replace(clip, label=next(iter(right.labels), None)))
        return replace(self, clips=clips)

    @property
    def timed(self) -> bool:
        """Whether these are recordings to mark with segments: they have labels with times, or most are long."""
        if any(clip.annotations is not None for clip in self.clips):
            return True
        seconds = []
        for clip in take_evenly(self.clips, _MOST_HEADERS):
            try:
                seconds.append(read_info(clip.path).duration_seconds or 0.0)
            except RecordingError:  # the review shows the problem
                continue
        return bool(seconds) and float(np.median(seconds)) > _LONG_SECONDS


def read_review_source(path: Path, labelled: bool = True) -> ReviewSource:
    """A folder of recordings, or one recording. labelled: folders, and files beside the recordings, may give labels.
    Links to files outside the folder are refused. UsageError, RecordingError if there is nothing to review."""
    if is_dataset(path):
        raise UsageError(f"{show_name(path)}: is a dataset; give the folder that it was made from")
    if path.is_file() and path.suffix.lower() not in AUDIO_SUFFIXES:
        raise UsageError(f"{show_name(path)}: not a recognised recording name; give a folder or a recording")
    if path.is_file():
        return ReviewSource(path.absolute().parent, [ReviewClip(path.name, path)], [], Counter())
    if not path.is_dir():
        raise UsageError(f"{show_name(path)}: no such folder or recording; check the name")
    left_out = Counter[str]()
    found = read_folder(path, left_out, need_labels=False)
    clips, refused, root = [], list(found.refused), path.resolve()
    for item in found.items:
        assert isinstance(item.path, Path)
        if not item.path.resolve().is_relative_to(root):
            refused.append((item.filename, "a link to a file outside the folder; move the recording into the folder"))
        elif labelled:
            clips.append(ReviewClip(item.filename, item.path, item.label, item.annotations if item.annotated else None))
        else:
            clips.append(ReviewClip(item.filename, item.path))
    if not clips:
        raise RecordingError(f"{show_name(path)}: no recording can be reviewed; {refused[0][0]}: {refused[0][1]}")
    return ReviewSource(path, clips, refused, left_out)


@dataclass(frozen=True)
class _Act:
    index: int
    before: Said
    after: Said


class Review:
    """engine: a model whose scores order the clips or, for a table with times, whose segments are suggested."""

    def __init__(self, clips: Sequence[ReviewClip], table: CorrectionTable, engine: Engine | None = None) -> None:
        self.clips, self.table, self.engine = list(clips), table, engine
        self.order = ReviewOrder(len(clips), engine.model.labels if engine and not table.timed else ())
        self.labels: list[str] = []
        self.given = {k: clip.label for k, clip in enumerate(clips) if clip.label is not None}
        self.reviewed: set[int] = set()  # in this session
        self._known: list[Said] = [table.of(clip.filename) for clip in clips]
        self._revisions = [0] * len(clips)
        self._acts: dict[str, list[_Act]] = {}
        self._skipped: list[int] = []
        self._handed: dict[str, int] = {}
        self._reasons: dict[int, Choice] = {}
        self._problems: dict[int, str] = {}
        self._seconds: dict[int, float] = {}
        self._found: dict[int, tuple[list[Annotation], float]] = {}
        self._lock, self._engine_lock = RLock(), RLock()
        self._stale = True
        self.ready = Event()  # enough clips are analysed for an order
        self._rate = _EMBEDDING_RATE
        marked = (one.label for clip in clips for one in clip.annotations or ())
        for label in (*sorted(self.given.values()), *marked, *(engine.model.labels if engine else ())):
            self._add_label(label)
        for said in self._known:
            for label in _labels_of(said):
                self._add_label(label)

    # Requests of a page.

    @property
    def problems(self) -> dict[str, str]:
        """Name -> the reason why it cannot be played, for the recordings that were tried."""
        with self._lock:
            return {self.clips[index].filename: why for index, why in self._problems.items()}

    @property
    def keys(self) -> dict[str, str]:
        """Label -> its key, as far as there are keys."""
        return dict(zip(self.labels, LABEL_KEYS, strict=False))

    @property
    def none_label(self) -> str:
        return next(filter(is_background_label, self.labels), NONE_LABEL)

    def next(self, page: str) -> int | None:
        """The most useful clip for a page to hear now. None if all were heard."""
        with self._lock:
            heard = self._said()
            if self._stale and len(self.order) <= _FITTED_AT_ONCE:
                self.refit()
            others = [k for name, k in self._handed.items() if name != page]
            lost = list(self._problems)
            for left_out in ([*others, *self._skipped, *lost], [*others, *lost], lost, []):
                found = self._choose(heard, left_out)
                if found is not None:
                    self._handed[page] = found.index
                    self._reasons[found.index] = found
                    return found.index
            self._handed.pop(page, None)
            return None

    def _choose(self, heard: set[int], left_out: Sequence[int]) -> Choice | None:
        if not self.table.timed:
            return self.order.next(self.given, heard, left_out)
        open_clips = sorted(set(range(len(self.clips))) - heard - set(left_out))
        if not open_clips:
            return None
        best = max(open_clips, key=lambda k: (self._found[k][1] if k in self._found else -1.0, -k))
        marked = self.clips[best].annotations is not None
        return Choice(best, "new" if best not in self._found else "doubtful" if marked else "uncertain")

    def skip(self, page: str, index: int) -> None:
        """Show a clip again after all others."""
        with self._lock:
            self._handed.pop(page, None)
            if index in self._skipped:
                self._skipped.remove(index)
            self._skipped.append(index)

    def describe(self, index: int) -> dict[str, Any]:
        """The data of a clip for a page, as JSON, with a displayable name."""
        clip, problem = self.clips[index], None
        try:
            seconds = self.seconds(index)
        except RecordingError as error:
            seconds, problem = 0.0, reason_without_name(error, clip.path)
        with self._lock:
            said, choice = self._known[index], self._reasons.get(index)
            suggested, score = self.order.suggestion(index)
            facts: dict[str, Any] = {
                "index": index,
                "name": clip.filename.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
                "revision": self._revisions[index],
                "given": clip.label,
                "said": said != "",
                "answer": LEFT_OUT if said is None else said.labels[0] if said and said.labels else None,
                "suggested": suggested,
                "score": round(score, 3),
                "reason": choice.reason if choice else None,
                "seconds": seconds,
                "problem": problem or self._problems.get(index),
            }
        if self.table.timed and facts["problem"] is None:
            facts["segments"], facts["origin"] = self._segments(index)
        return facts

    def seconds(self, index: int) -> float:
        """The duration of a recording. Raises RecordingError."""
        if index not in self._seconds:
            path = self.clips[index].path
            seconds = read_info(path).duration_seconds
            if seconds is None:  # not in the header
                with open_recording(path) as recording:
                    frames = sum(block.shape[1] for block in recording.blocks(None, "mix"))
                    seconds = frames / recording.info.sample_rate
            self._seconds[index] = seconds
        return self._seconds[index]

    def summary(self) -> dict[str, Any]:
        """The data shown beside every clip: labels with keys and counts, and the progress."""
        with self._lock:
            counts = Counter(label for said in self._known for label in set(_labels_of(said)))
            keys = self.keys
            return {
                "labels": [{"name": name, "key": keys.get(name), "count": counts[name]} for name in self.labels],
                "none": self.none_label,
                "left_out": sum(said is None for said in self._known),
                "done": len(self._said()),
                "total": len(self.clips),
                "timed": self.table.timed,
                "table": self.table.path.name,
            }

    # Answers of a page.

    def answer(self, page: str, index: int, label: str | None, revision: int) -> None:
        """Save the label of a whole clip; None leaves it out. ConflictError; UsageError: invalid label, or not
        saved."""
        self._save(page, index, None if label is None else Correction((check_label(label),)), revision)

    def mark(self, page: str, index: int, segments: Sequence[Annotation], revision: int) -> None:
        """Save the segments of a recording. ConflictError; UsageError; RecordingError."""
        seconds = self.seconds(index)
        if len(segments) > _MOST_SEGMENTS:
            raise UsageError(f"{len(segments)} segments, but {_MOST_SEGMENTS} are allowed; cut the recording first")
        checked = []
        for one in segments:
            if not (math.isfinite(one.onset) and math.isfinite(one.offset)):
                raise UsageError("a segment has no end; mark it again")
            onset, offset = max(0.0, one.onset), min(one.offset, seconds)
            if round_seconds(onset) < round_seconds(offset):
                checked.append(Annotation(round_seconds(onset), round_seconds(offset), check_label(one.label)))
        checked.sort(key=lambda one: (one.onset, one.offset, one.label))
        self._save(page, index, Correction((), tuple(checked)), revision)

    def undo(self, page: str) -> int | None:
        """Undo the last answer of a page. Returns its clip, or None if there is none. ConflictError."""
        with self._lock:
            acts = self._acts.get(page, [])
            if not acts:
                return None
            act = acts[-1]
            if self._known[act.index] != act.after:
                acts.pop()
                raise ConflictError
            self._put(act.index, act.before)
            acts.pop()
            if act.before == "":
                self.reviewed.discard(act.index)
            self._handed[page] = act.index
            return act.index

    def add_label(self, label: str) -> str:
        """Add a label, which gets the next key. Returns it as it is stored. UsageError."""
        with self._lock:
            name = check_label(label)
            self._add_label(name)
            return name

    def _save(self, page: str, index: int, right: Said, revision: int) -> None:
        with self._lock:
            if revision != self._revisions[index]:
                raise ConflictError
            before = self._known[index]
            self._put(index, right)
            self._acts.setdefault(page, []).append(_Act(index, before, self._known[index]))
            self.reviewed.add(index)

    def _put(self, index: int, right: Said) -> None:
        """Save, and read what others saved in the meantime."""
        try:
            self.table.set(self.clips[index].filename, right, self._known[index])
        except ChangedElsewhereError:
            raise ConflictError from None
        finally:
            self._take_over()

    def _take_over(self) -> None:
        for index, clip in enumerate(self.clips):
            if (said := self.table.of(clip.filename)) != self._known[index]:
                self._known[index] = said
                self._revisions[index] += 1
                self._stale = True
                for label in _labels_of(said):
                    self._add_label(label)

    def _add_label(self, label: str) -> None:
        if label not in self.labels:
            self.labels.append(label)

    def _said(self) -> set[int]:
        return {k for k, said in enumerate(self._known) if said != ""}

    # Background work.

    def prepare(self, stop: Event) -> None:
        """Analyse all clips in random order, so that the most useful ones are soon known."""
        order = np.random.default_rng(0).permutation(len(self.clips)).tolist()
        self._rate = self._embedding_rate(order)
        fitted = 0
        for index in order:
            if stop.is_set():
                return
            try:
                self.listen(index)
            except AudiocnnError as error:
                with self._lock:
                    self._problems[index] = reason_without_name(RecordingError(str(error)), self.clips[index].path)
            if self.table.timed or len(self.order) >= _ENOUGH:
                self.ready.set()
            if len(self.order) >= 2 * fitted + 1:
                self.refit()
                fitted = len(self.order)
        self.refit()
        self.ready.set()
        while not stop.wait(0.3):
            if self._stale and len(self.order) > _FITTED_AT_ONCE:
                self.refit()

    def listen(self, index: int) -> None:
        """Analyse a clip: its embedding, the scores of the model, or the segments it detects. RecordingError."""
        path = self.clips[index].path
        if self.table.timed:
            if self.engine is not None:
                self._detected(index)
            return
        samples, wanted = [], round(EMBEDDED_SECONDS * self._rate)
        with open_recording(path) as recording:
            for block in recording.blocks(self._rate, "mix"):
                samples.append(block[0])
                if sum(map(len, samples)) >= wanted:
                    break
        embedding, scores = embed_clip(np.concatenate(samples)[:wanted], self._rate), None
        if self.engine is not None:
            with self._engine_lock, scoring(path, self.engine) as scored:
                scores = classify_scored(scored, ClassifySettings()).clips[0].scores
        with self._lock:
            self.order.add(index, embedding, scores)
            self._stale = True

    def refit(self) -> None:
        """Order the clips again with all that is known."""
        with self._lock:
            labels = dict(self.given)
            for index, said in enumerate(self._known):
                if said != "":
                    labels.pop(index, None)
                    for label in _labels_of(said):
                        labels[index] = label
            order, self._stale = self.order.copy(), False
        fit = order.fit(labels)
        with self._lock:
            self.order.adopt(fit)

    def _embedding_rate(self, order: Sequence[int]) -> int:
        """16 kHz, or the rate of the first recordings, for sounds such as bats and whales."""
        for index in order[:10]:
            try:
                rate = read_info(self.clips[index].path).sample_rate
            except RecordingError:
                continue
            return _EMBEDDING_RATE if heard_rate(rate) == rate else rate
        return _EMBEDDING_RATE

    def _segments(self, index: int) -> tuple[list[list[Any]], str]:
        """The segments in the form used by a page, and where they come from."""
        said, origin = self._known[index], "table"
        known: Sequence[Annotation] = (said.annotations or ()) if said else ()
        if said == "":
            known, origin = self.clips[index].annotations or (), "data"
            if self.clips[index].annotations is None:
                known, origin = (self._detected(index), "model") if self.engine is not None else ((), "nothing")
        return [[round_seconds(one.onset), round_seconds(one.offset), one.label] for one in known], origin

    def _detected(self, index: int) -> list[Annotation]:
        """The segments that the model detects. A recording is more useful the more model and data disagree, as a share
        of the time; without segments in the data, the nearer its scores are to one half. RecordingError."""
        with self._engine_lock:
            if index in self._found:
                return self._found[index][0]
            assert self.engine is not None
            entropies: list[float] = []

            def see(_: ScoredRecording, block: ScoreBlock) -> None:
                held = np.clip(block.scores, LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY)
                entropies.append(float(-(held * np.log2(held) + (1.0 - held) * np.log2(1.0 - held)).mean()))

            with scoring(self.clips[index].path, self.engine) as scored:
                detector = Detector(self.engine.model, DetectSettings())
                found = detector.detection(scored, scored.results(detector, see))
            segments = [Annotation(one.start, one.end, one.label) for one in found.segments]
            value = float(np.mean(entropies)) if entropies else 0.0
            annotations = self.clips[index].annotations
            if annotations is not None:
                value = _disagreement(segments, annotations, found.duration_seconds)
            with self._lock:
                self._found[index] = segments, value
            return segments


def check_label(text: str) -> str:
    """A label as it is stored: one line, in composed form, without blanks at its ends. UsageError if it is invalid."""
    label = composed(" ".join(text.split()))
    if not label or label == LEFT_OUT:
        raise UsageError(f'"{label}" is not a usable label; type a word')
    if len(label) > _MOST_LABEL_LETTERS:
        raise UsageError(f"the label has {len(label)} letters; use at most {_MOST_LABEL_LETTERS}")
    if not label.isprintable():
        raise UsageError("the label contains control characters; type a word")
    return label


def _labels_of(said: Said) -> Iterable[str]:
    if not said:
        return ()
    return said.labels if said.annotations is None else [one.label for one in said.annotations]


def _disagreement(some: Sequence[Annotation], others: Sequence[Annotation], seconds: float) -> float:
    """The share of the time in which one of two has a label that the other does not have."""
    edges = sorted({0.0, *(time for one in (*some, *others) for time in (one.onset, one.offset))})
    differing = 0.0
    for low, high in pairwise(edges):
        middle = (low + high) / 2
        said = [{one.label for one in each if one.onset <= middle < one.offset} for each in (some, others)]
        differing += (high - low) * (said[0] != said[1])
    return differing / seconds if seconds > 0 else 0.0
