"""Features for `ingest --features`: the front end of a network, applied to whole recordings piece by piece."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import UsageError, did_you_mean
from audiocnn.features import FEATURES, default_input

FRAMES_A_PIECE = 4096  # memory does not grow with the recording


def check_features(name: str | None) -> None:
    """UsageError for features that there are not."""
    choices = [known for known in FEATURES if known != "waveform"]
    if name is not None and name not in choices:
        raise UsageError(f'--features cannot be "{name}"; {did_you_mean(name, choices)}')


def compute_of(name: str, sample_rate: int) -> Callable[[NDArray[np.int16]], NDArray[np.float16]]:
    """int16 (channels, samples) -> float16 (channels * bands, frames), at least one frame."""
    check_features(name)
    import torch

    from audiocnn.front_end import FrontEnd

    spec = default_input(name, sample_rate)
    front_end, frame, hop = FrontEnd(spec).eval(), spec.frame_samples, spec.hop_samples
    largest = np.finfo(np.float16).max

    def compute(samples: NDArray[np.int16]) -> NDArray[np.float16]:
        if samples.shape[1] < frame:
            samples = np.pad(samples, ((0, 0), (0, frame - samples.shape[1])))
        frames = (samples.shape[1] - frame) // hop + 1
        found = np.empty((samples.shape[0] * spec.bands, frames), dtype=np.float16)
        with torch.inference_mode():
            for first in range(0, frames, FRAMES_A_PIECE):
                last = min(first + FRAMES_A_PIECE, frames)
                piece = samples[:, first * hop : (last - 1) * hop + frame].astype(np.float32) / 32768.0
                values = front_end(torch.from_numpy(piece)[None])[0].reshape(-1, last - first).numpy()
                found[:, first:last] = np.clip(values, -largest, largest)
        return found

    return compute
