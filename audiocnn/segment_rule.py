"""How scores become segments, in numbers: thresholds, shortest and longest times. The rule itself is in `segments`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from audiocnn.errors import UsageError

EPSILON_SECONDS = 1e-9


@dataclass(frozen=True)
class SegmentRule:
    """How scores become segments. Raises UsageError, naming the option, for values that cannot be."""

    threshold: float = 0.5
    neg_threshold: float | None = None
    min_speech_seconds: float = 0.25
    min_silence_seconds: float = 0.1
    pad_seconds: float = 0.03
    max_speech_seconds: float = math.inf

    def __post_init__(self) -> None:
        _check_probability("--threshold", self.threshold)
        if self.neg_threshold is not None:
            _check_probability("--neg-threshold", self.neg_threshold)
            if self.neg_threshold > self.threshold:
                raise UsageError(
                    f"--neg-threshold {self.neg_threshold:g} is above --threshold {self.threshold:g}; "
                    "a segment closes below where it opens: lower the first or raise the second"
                )
        _check_seconds("--min-speech", self.min_speech_seconds)
        _check_seconds("--min-silence", self.min_silence_seconds)
        _check_seconds("--pad", self.pad_seconds)
        if not self.max_speech_seconds > 0:
            raise UsageError(f"--max-speech {self.max_speech_seconds:g}: give seconds above 0, or inf")
        if self.max_speech_seconds < self.min_speech_seconds:
            raise UsageError(
                f"--max-speech {self.max_speech_seconds:g} is below "
                f"--min-speech {self.min_speech_seconds:g}: raise the first or lower the second"
            )

    @property
    def closing_threshold(self) -> float:
        """`neg_threshold`; where it is not given threshold - 0.15, at least 0.01, at most threshold."""
        if self.neg_threshold is not None:
            return self.neg_threshold
        return min(self.threshold, max(self.threshold - 0.15, 0.01))

    def keeps(self, start_seconds: float, end_seconds: float) -> bool:
        """Whether a segment, before padding, is no shorter than min_speech."""
        return end_seconds - start_seconds >= self.min_speech_seconds - EPSILON_SECONDS


def _check_probability(option: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise UsageError(f"{option} {value:g}: not between 0 and 1; give a probability such as 0.5")


def _check_seconds(option: str, value: float) -> None:
    if not 0.0 <= value < math.inf:
        raise UsageError(f"{option} {value:g}: not a length of time; give seconds, 0 or more")
