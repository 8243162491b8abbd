"""The same network for other sounds: a spec at another rate, or with another window."""

from __future__ import annotations

from typing import Any

from audiocnn.architecture import Spec, spec_from_table
from audiocnn.units import to_samples


def spec_at_rate(spec: Spec, rate: int) -> Spec:
    """The spec at another rate in Hz: bands that would lie above half of it end there, a frame fits its FFT."""
    settings: dict[str, Any] = dict(spec.table["input"])
    if settings["sample_rate"] == rate:
        return spec
    settings["sample_rate"] = rate
    if "high_hertz" in settings:
        settings["high_hertz"] = min(settings["high_hertz"], rate / 2)
    if "fft_samples" in settings:
        frame = to_samples(settings["frame_seconds"], rate)
        settings["fft_samples"] = max(settings["fft_samples"], 1 << (frame - 1).bit_length())
    return spec_from_table(spec.table | {"input": settings}, spec.name)


def spec_with_window(spec: Spec, window_seconds: float) -> Spec:
    """The spec whose scores look at so many seconds, as nearly as its sizes allow."""
    f = dict(spec.table["f"]) | {"window_seconds": window_seconds}
    return spec_from_table(spec.table | {"f": f}, spec.name)
