"""Features that a dataset keeps beside its samples: the power of each band, which a network goes on from.

Powers are the last that a front end computes before floor, scale and DCT: at any floor, `mel`, `log_mel` and `mfcc` go
on from the same ones, a gain is a factor, and silence is 0. Frames lie a hop apart, where a network has them that is
given the recording alone; one that reaches over an end of the recording hears zeros there.
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
_FRAMES_A_PIECE = 4096  # memory does not grow with the recording


@dataclass(frozen=True)
class FeatureLayout:
    """What is kept, and where its frames begin. spec: the name of the network it was made for. input: as of
    `InputSpec.powers`. phase: the first sample of some frame, from 0 up to the hop."""

    spec: str
    input: InputSpec
    phase: int

    @property
    def first(self) -> int:
        """The sample at which the first frame begins that reaches a recording; mostly before its start."""
        hop = self.input.hop_samples
        return self.phase - (self.phase + self.input.frame_samples - 1) // hop * hop

    def frames(self, samples: int) -> int:
        """The frames that reach so many samples."""
        return max(0, (samples - 1 - self.first) // self.input.hop_samples + 1) if samples else 0

    def offset(self, extend_start: int) -> int:
        """By how many samples frames of a network that is given a recording alone, with so many zeros before it, come
        before those here, up to a hop; 0 where they are the same."""
        return (self.phase + extend_start) % self.input.hop_samples

    def to_json(self) -> str:
        return json.dumps({"spec": self.spec, "phase": self.phase, "input": self.input.to_table()})


def layout_of(spec: Spec) -> FeatureLayout:
    """What to keep for a network. SpecError: it hears samples."""
    if spec.input.features == "waveform":
        raise SpecError(f"{spec.name}: hears samples, which a dataset keeps anyway; name a network that has features")
    return FeatureLayout(spec.name, spec.input.powers, -spec.geometry().extend_start % spec.input.hop_samples)


def parse_layout(text: str) -> FeatureLayout | None:
    """What `to_json` wrote; None for the bare name of features that older datasets have, which fit no network.
    ValueError, TypeError or KeyError where it cannot be."""
    if not text.startswith("{"):
        return None
    values: Any = parse_json(text)
    try:
        found = read_input(TomlTable(values["input"], "features", SpecError)).powers
    except SpecError as problem:
        raise ValueError(str(problem)) from None
    spec, phase = values["spec"], values["phase"]
    if not isinstance(spec, str) or type(phase) is not int or not 0 <= phase < found.hop_samples:
        raise ValueError(f"features of {spec!r} that begin at {phase!r}")
    return FeatureLayout(spec, found, phase)


class BandPowers:
    """The front end up to the powers. It is made when it is first used, and again after pickling: torch and librosa
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
    """(channels, samples) of a whole recording, 32,768 of which are `scale` -> (frames, channels * bands), piece by
    piece."""
    frame, hop = layout.input.frame_samples, layout.input.hop_samples
    frames = layout.frames(samples.shape[1])
    for begin in range(0, frames, _FRAMES_A_PIECE):
        end = min(begin + _FRAMES_A_PIECE, frames)
        piece = cut_padded(samples, layout.first + begin * hop, layout.first + (end - 1) * hop + frame)
        yield powers(from_int16(piece, scale)).reshape(-1, end - begin).T


def cut_padded(samples: NDArray[Any], begin: int, end: int) -> NDArray[Any]:
    """[begin, end) of (channels, samples), with zeros where there are none."""
    inside = samples[:, max(0, begin) : max(0, end)]
    out = np.zeros((len(samples), end - begin), samples.dtype)
    at = max(0, -begin)
    out[:, at : at + inside.shape[1]] = inside
    return out
