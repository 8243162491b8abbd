"""Other speech detectors, as `evaluation` wants them, to be judged on the same grid in the same run as a model.

Both hear 16 kHz, one channel (the mean of all), and know one label, `speech`. Their packages are those of the extra
`bench` and are imported when a peer is loaded.

`silero`: Silero VAD (package silero-vad), a score each 512 samples (32 ms). Its sequence model is used: the scores of
`get_speech_timestamps`, many in one call, with the state of the network set back for each recording. The rule has the
defaults of that function, without its pad. Its segments are made by the package, too (its `min_silence` is a row longer
than ours, and in a gap a score between the thresholds does not begin the gap anew).

`webrtc`: WebRTC VAD (package webrtcvad-wheels), which says yes or no for frames of 10 ms, the shortest that it takes,
in four modes of growing strictness. The score is the share of the modes 0, 1, 2 and 3 that say yes, so that curves have
few corners. Segments are where all four do: where mode 3, the strictest, does. The package itself knows frames alone;
shortest lengths are those that a model has by default.
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
from audiocnn.evaluation import Scorer
from audiocnn.segments import EPSILON_SECONDS, FindSegments, Segment, SegmentRule, find_segments

SAMPLE_RATE = 16000
LABEL = "speech"
SILERO_SAMPLES = 512
WEBRTC_SAMPLES = 160
WEBRTC_MODES = (0, 1, 2, 3)
INSTALL = "pip install -c constraints.txt -e '.[bench]'"

Score = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(channels, samples) float32 in [-1, 1] -> (rows, 1) float32; the last row reaches to the end or past it."""


@dataclass(frozen=True)
class Peer:
    """Another detector.

    origin: where the threshold of `rule` is from. jobs: how many recordings it can score at a time. find: how its
    scores become segments.
    """

    name: str
    version: str
    origin: str
    rule: SegmentRule
    hop_seconds: float
    score: Score
    jobs: int = 1
    find: FindSegments = find_segments

    def scorer(self, rule: SegmentRule | None = None) -> Scorer:
        """What `evaluate` wants; with another rule than its own, if one is given."""
        rules = {LABEL: rule or self.rule}
        return Scorer(self.score, SAMPLE_RATE, self.hop_seconds, (LABEL,), rules, self.jobs, self.find)


def load_peer(name: str) -> Peer:
    """The peer of that name, ready to score. UsageError where there is none, or where its package is missing."""
    if name not in PEERS:
        raise UsageError(f'--against: no detector "{name}"; {did_you_mean(name, PEERS)}')
    return PEERS[name]()


def _silero() -> Peer:
    version = _version("silero", "silero_vad", "silero-vad")
    if find_package("silero_vad.sequence_vad") is None:
        raise UsageError(f"--against silero: silero-vad {version} has no sequence model; take 6.2.3: {INSTALL}")
    import torch

    threads = torch.get_num_threads()
    package: Any = importlib.import_module("silero_vad")
    torch.set_num_threads(threads)  # the package sets one for all when it is imported
    network = package.load_silero_vad(sequence=True)

    def score(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = network.audio_forward(_mono(samples), sampling_rate=SAMPLE_RATE)
        return found.reshape(-1, 1)

    # The numbers of get_speech_timestamps in silero_vad/utils_vad.py, in seconds.
    rule = SegmentRule(
        threshold=0.5, neg_threshold=0.35, min_speech_seconds=0.25, min_silence_seconds=0.1, pad_seconds=0.0
    )
    hop_seconds = SILERO_SAMPLES / SAMPLE_RATE
    # Nothing is kept between calls, and each runs on one thread: so recordings share the cores.
    return Peer(
        "silero", version, "set by its authors", rule, hop_seconds, score, os.cpu_count() or 1, _silero_segments
    )


def _silero_segments(
    scores: NDArray[np.float32], hop_seconds: float, duration_seconds: float, label: str, rule: SegmentRule
) -> list[Segment]:
    """The segments that Silero VAD makes of its scores (rows,)."""
    package: Any = importlib.import_module("silero_vad.utils_vad")
    found = package.get_speech_timestamps_from_probs(
        scores.tolist(),
        sampling_rate=SAMPLE_RATE,
        threshold=rule.threshold,
        neg_threshold=rule.closing_threshold,
        min_speech_duration_ms=1000 * rule.min_speech_seconds,
        min_silence_duration_ms=1000 * rule.min_silence_seconds,
        speech_pad_ms=1000 * rule.pad_seconds,
        max_speech_duration_s=rule.max_speech_seconds,
        audio_length_samples=round(duration_seconds * SAMPLE_RATE),
    )
    segments = []
    for stretch in found:
        start, end = stretch["start"] / SAMPLE_RATE, stretch["end"] / SAMPLE_RATE
        first, last = int(start / hop_seconds), math.ceil(end / hop_seconds - EPSILON_SECONDS)
        segments.append(Segment(start, end, label, float(scores[first:last].mean())))
    return segments


def _webrtc() -> Peer:
    version = _version("webrtc", "webrtcvad", "webrtcvad-wheels", "webrtcvad")
    package: Any = importlib.import_module("webrtcvad")

    def score(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        mono = _mono(samples)
        rows = -(-len(mono) // WEBRTC_SAMPLES)
        whole = np.zeros(rows * WEBRTC_SAMPLES, np.float32)
        whole[: len(mono)] = mono
        data = (whole * 32768).round().clip(-32768, 32767).astype("<i2").tobytes()
        step = 2 * WEBRTC_SAMPLES
        frames = [data[at : at + step] for at in range(0, len(data), step)]
        said = np.zeros((rows, len(WEBRTC_MODES)), np.float32)
        for column, mode in enumerate(WEBRTC_MODES):
            detector = package.Vad(mode)  # anew for each recording: it adapts to what it has heard
            said[:, column] = [detector.is_speech(frame, SAMPLE_RATE) for frame in frames]
        mean: NDArray[np.float32] = said.mean(axis=1, keepdims=True, dtype=np.float32)
        return mean

    rule = SegmentRule(threshold=1.0, neg_threshold=1.0, pad_seconds=0.0)
    return Peer("webrtc", version, "mode 3 of its authors", rule, WEBRTC_SAMPLES / SAMPLE_RATE, score)


PEERS: dict[str, Callable[[], Peer]] = {"silero": _silero, "webrtc": _webrtc}


def _version(peer: str, module: str, *distributions: str) -> str:
    """The version that is installed. UsageError where the package is not there."""
    if find_package(module) is None:
        raise UsageError(f"--against {peer}: the package {distributions[0]} is not installed; {INSTALL}")
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"


def _mono(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(channels, samples) -> (samples,): the mean of the channels."""
    return np.ascontiguousarray(samples[0] if len(samples) == 1 else samples.mean(axis=0))
