"""What a network costs: multiply-adds of the features and of a second of sound, and how long a score is waited for."""

from __future__ import annotations

import math
from collections.abc import Sequence

from audiocnn.architecture import Spec
from audiocnn.features import InputSpec
from audiocnn.layers import Layer, sizes_through
from audiocnn.sizes import Size
from audiocnn.windows import Geometry


def front_end_multiply_adds(settings: InputSpec) -> int:
    """For one frame of all channels: the kernels as they are (folded, they take a quarter to a half), the squares, the
    mel matrix, the DCT."""
    total = settings.kernels * settings.frame_samples + settings.kernels
    if settings.features in ("mel", "log_mel", "mfcc"):
        total += settings.mels * (settings.kernels // 2)
    if settings.features == "mfcc":
        total += settings.coefficients * settings.mels
    return total * settings.channels


def per_second(spec: Spec, geometry: Geometry) -> int:
    """Multiply-adds for a second of sound in the dense pass."""
    settings = spec.input
    frames_per_second = settings.sample_rate / settings.hop_samples
    window, stride = spec.window_size(), spec.reach().stride
    more = 64 * stride  # whole strides: costs then grow in proportion
    longer = Size(window.channels, (*window.axes[:-1], window.time + more))
    body = (cost(spec.body, longer) - cost(spec.body, window)) / more * frames_per_second
    size = window
    for layer in spec.body:
        size = layer.out(size)
    return round(
        front_end_multiply_adds(settings) * frames_per_second + body + cost(spec.head, size) / geometry.hop_seconds
    )


def cost(layers: Sequence[Layer], size: Size) -> int:
    """Multiply-adds of layers in a row, those inside others too."""
    total = 0
    for layer, after in sizes_through(layers, size):
        total += layer.multiply_adds(size)
        total += sum(cost(inside, given) for inside, given in zip(layer.inner(), layer.inputs(size), strict=True))
        size = after
    return total


def latency(geometry: Geometry) -> float:
    """Seconds of sound behind the end of a score's row that must be heard before the score is known."""
    core = geometry.window_samples - geometry.pad_start - geometry.pad_end
    ahead = core - geometry.extend_start - geometry.hop_samples + geometry.margin_rows * geometry.hop_samples
    return max(0, ahead) / geometry.sample_rate


def onset_latency(geometry: Geometry, min_speech_seconds: float) -> float:
    """Seconds of sound from the start of a segment's first row until its onset is certain: the rows that make up
    min_speech, and what must be heard behind the last of them."""
    rows = max(1, math.ceil((min_speech_seconds - 1e-9) / geometry.hop_seconds))
    return rows * geometry.hop_seconds + latency(geometry)
