"""Features that a dataset stores next to its samples: the power of each band, from which a network continues.

These are the powers that a front end computes before the floor, scaling and DCT. `mel`, `log_mel` and `mfcc` can all
continue from them with any floor, a gain is a factor, and silence is 0. Frames are a hop apart, at the positions that a
network uses for the recording alone. A frame that extends past an end of the recording is filled with zeros.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.pcm import from_int16
from audiocnn.errors import SpecError
from audiocnn.files import parse_json
from audiocnn.spec.features import InputSpec, read_input
from audiocnn.spec.spec import Spec
from audiocnn.toml import TomlTable

if TYPE_CHECKING:
    from audiocnn.model.frontend import FrontEnd

Powers = NDArray[np.float32]
_FRAMES_A_PIECE = 4096  # bounds memory use for long recordings


@dataclass(frozen=True)
class FeatureLayout:
    """What is stored, and where its frames begin. spec: the name of the network that it was made for. input: see
    `InputSpec.powers`. phase: the first sample of some frame, from 0 to below the hop."""

    spec: str
    input: InputSpec
    phase: int

    @property
    def first(self) -> int:
        """The first sample of the first frame that overlaps a recording; usually before its start."""
        hop = self.input.hop_samples
        return self.phase - (self.phase + self.input.frame_samples - 1) // hop * hop

    def frames(self, samples: int) -> int:
        """The number of frames that overlap a recording of this many samples."""
        return max(0, (samples - 1 - self.first) // self.input.hop_samples + 1) if samples else 0

    def offset(self, extend_start: int) -> int:
        """By how many samples a network's frames, for a recording alone with this many zeros before it, come before the
        stored ones: from 0, if they coincide, to below the hop."""
        return (self.phase + extend_start) % self.input.hop_samples

    def to_json(self) -> str:
        return json.dumps({"spec": self.spec, "phase": self.phase, "input": self.input.to_table()})


def layout_of(spec: Spec) -> FeatureLayout:
    """The layout for a network. Raises SpecError if its input is a waveform."""
    if spec.input.features == "waveform":
        raise SpecError(
            f"{spec.name}: its input is the waveform, which a dataset stores anyway; name a network with features"
        )
    return FeatureLayout(spec.name, spec.input.powers, -spec.geometry().extend_start % spec.input.hop_samples)


def parse_layout(text: str) -> FeatureLayout | None:
    """The inverse of `to_json`. None for a bare name of features, written by older versions, which fits no network.
    Raises ValueError, TypeError or KeyError for invalid values."""
    if not text.startswith("{"):
        return None
    values: Any = parse_json(text)
    try:
        found = read_input(TomlTable(values["input"], "features", SpecError)).powers
    except SpecError as problem:
        raise ValueError(str(problem)) from None
    spec, phase = values["spec"], values["phase"]
    if not isinstance(spec, str) or type(phase) is not int or not 0 <= phase < found.hop_samples:
        raise ValueError(f"features of {spec!r} with phase {phase!r}")
    return FeatureLayout(spec, found, phase)


class BandPowers:
    """The front end up to the powers. It is built on first use, and again after pickling, because torch and librosa
    take a second to import."""

    def __init__(self, spec: InputSpec) -> None:
        self.spec = spec
        self._front_end: FrontEnd | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"spec": self.spec, "_front_end": None}

    def __call__(self, samples: NDArray[np.float32]) -> Powers:
        """(channels, samples) in [-1, 1] -> (channels, bands, frames)."""
        import torch

        from audiocnn.model.frontend import FrontEnd

        if self._front_end is None:
            self._front_end = FrontEnd(self.spec).eval()
        with torch.inference_mode():
            powers: Powers = self._front_end.band_powers(torch.from_numpy(samples)).numpy()
        return powers


def recording_powers(
    samples: NDArray[np.int16], layout: FeatureLayout, powers: BandPowers, scale: float = 1.0
) -> Iterator[Powers]:
    """(channels, samples) of a whole recording, in which 32,768 stands for `scale` -> (frames, channels * bands), in
    pieces."""
    frame, hop = layout.input.frame_samples, layout.input.hop_samples
    frames = layout.frames(samples.shape[1])
    for begin in range(0, frames, _FRAMES_A_PIECE):
        end = min(begin + _FRAMES_A_PIECE, frames)
        piece = cut_padded(samples, layout.first + begin * hop, layout.first + (end - 1) * hop + frame)
        yield powers(from_int16(piece, scale)).reshape(-1, end - begin).T


def cut_padded(samples: NDArray[Any], begin: int, end: int) -> NDArray[Any]:
    """[begin, end) of (channels, samples), padded with zeros."""
    inside = samples[:, max(0, begin) : max(0, end)]
    out = np.zeros((len(samples), end - begin), samples.dtype)
    at = max(0, -begin)
    out[:, at : at + inside.shape[1]] = inside
    return out
