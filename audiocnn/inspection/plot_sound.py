"""The sound that a page of `plot` plays: a stretch of a recording in the fewest bytes that sound as it does.

Short ones are WAV, which loses nothing and can be entered at every sample; Chromium was seen to fail when it enters
FLAC without a seek table. Longer ones are Ogg Vorbis, which libsndfile writes some ten times as fast as Opus; the
longest are mixed and their rate is lowered. What is longer still is left out.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from audiocnn.inspection.plotting import Plotted, Samples
from audiocnn.recording import open_recording
from audiocnn.units import clock

LOSSLESS_BYTES = 8 * 2**20  # of 16-bit samples: 4 minutes at 16 kHz
FULL_SECONDS = 1800.0  # longer ones are mixed and at most at LONG_RATE
LONG_RATE = 16000
MOST_SECONDS = 3 * 3600.0  # some 45 MB
LEAST_RATE, MOST_RATE = 8000, 48000  # that every browser plays
BLOCK_SECONDS = 0.5  # libsndfile was seen to crash when it writes Vorbis in one large block


@dataclass(frozen=True)
class Sound:
    """A file of sound in memory. `what` says it to a person."""

    content: bytes
    kind: str
    what: str


def sound_of(file: str | Path | BinaryIO, plotted: Plotted, channel: str | int) -> Sound | None:
    """The stretch of a plot; None where it is too long to be carried. Raises RecordingError.

    Of two channels both, of more the mean; a channel that was asked for alone. What is louder than full scale is turned
    down as a whole.
    """
    start, end = plotted.start, plotted.end
    if not 0 < end - start <= MOST_SECONDS:
        return None
    with open_recording(file, name=plotted.detection.file) as recording:
        info = recording.info
        long = end - start > FULL_SECONDS
        taken: str | int = channel
        if not isinstance(channel, int):
            taken = "each" if info.channels <= 2 and not long else "mix"
        rate = min(max(info.sample_rate, LEAST_RATE), LONG_RATE if long else MOST_RATE)
        rows = info.channels if taken == "each" else 1
        lossless = (end - start) * rate * rows * 2 <= LOSSLESS_BYTES
        gain = 1.0 / max(1.0, plotted.peak)
        content = encoded(recording.blocks(rate, taken, BLOCK_SECONDS), rate, rows, (start, end), gain, lossless)
    kind, name = ("audio/wav", "WAV") if lossless else ("audio/ogg", "Ogg Vorbis")
    turned = "" if gain == 1.0 else f", turned down by {-20 * math.log10(gain):.0f} dB"
    return Sound(content, kind, f"{name}, {rate:,} Hz, {'stereo' if rows == 2 else 'mono'}{turned}")


def encoded(
    blocks: Iterable[Samples], rate: int, rows: int, stretch: tuple[float, float], gain: float, lossless: bool
) -> bytes:
    """Blocks (rows, samples) of a recording, of them the stretch in seconds, as a file in memory."""
    import soundfile

    target = io.BytesIO()
    how = {"format": "WAV", "subtype": "PCM_16"} if lossless else {"format": "OGG", "subtype": "VORBIS"}
    at, first, stop = 0, round(stretch[0] * rate), math.ceil(stretch[1] * rate)
    with soundfile.SoundFile(target, "w", rate, rows, **how) as out:
        for block in blocks:
            inside = block[:, max(0, first - at) : max(0, stop - at)]
            at += block.shape[1]
            if inside.shape[1]:
                out.write(np.clip(inside.T * gain, -1.0, 1.0))
            if at >= stop:
                break
    return target.getvalue()


def why_none(plotted: Plotted) -> str:
    """Why a stretch is not carried along."""
    long = clock(plotted.end - plotted.start)
    return (
        f"no sound on the page: {long} are too long, {clock(MOST_SECONDS)} the most; choose a stretch with --from --to"
    )
