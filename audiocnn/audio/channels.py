"""Selection of channels: each channel, a single one, or a mix: the mean, without cancellation.

The mean of two channels of opposite polarity is silence. The mix is therefore checked in frames of about 0.2 s, counted
from the first sample that is read. If the mean has less than a tenth of the energy that uncorrelated channels would
give, some channels are inverted before they are added. For two equally loud channels, this happens at a correlation
below -0.9.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator

import numpy as np

from audiocnn.audio.pcm import Samples

_FRAME_SECONDS = 0.2  # rounded to a power of two samples, of which the block sizes of stereo files are multiples
_MOST_FRAME_SAMPLES = 1 << 20  # over all channels
_CELL, _LOOKED_AT = 512, 32  # cell length in samples, and how many of them are checked
_LEAST_ENERGY, _LOW_ENERGY = (
    0.1,
    0.3,
)  # relative to uncorrelated channels; below the second, all samples are checked
_FAINT_ENERGY = 1 / 16  # of the loudest channel: a quieter channel does not decide the polarity of the others
_FEW_CHANNELS = 7


def select_channels(pieces: Iterable[Samples], channel: str | int, sample_rate: int) -> Generator[Samples]:
    """(n, channels) pieces -> (n, rows) pieces. Pieces of a mix hold whole frames; some are empty.

    channel: "mix", "each", or a channel number.
    """
    if channel == "mix":
        yield from _mix(pieces, sample_rate)
        return
    for piece in pieces:
        yield piece if channel == "each" or piece.shape[1] == 1 else np.ascontiguousarray(piece[:, [int(channel)]])


def mix_rows(samples: Samples, sample_rate: int) -> Samples:
    """(channels, n) of a whole recording -> its mix (1, n)."""
    pieces = select_channels([np.ascontiguousarray(samples.T)], "mix", sample_rate)
    return np.concatenate([piece.T for piece in pieces], axis=1)


def _mix(pieces: Iterable[Samples], sample_rate: int) -> Iterator[Samples]:
    rest: Samples | None = None
    for piece in pieces:
        channels = piece.shape[1]
        if channels == 1:
            yield piece
            continue
        most = min(max(_CELL, _FRAME_SECONDS * sample_rate), max(_CELL, _MOST_FRAME_SAMPLES / channels))
        frame = 1 << round(math.log2(most))
        together = piece if rest is None else np.concatenate([rest, piece])
        whole = len(together) - len(together) % frame
        rest = together[whole:] if whole < len(together) else None
        yield _mix_frames(together[:whole], frame)
    if rest is not None:
        yield _mix_frames(rest, len(rest))


def _mix_frames(piece: Samples, frame: int) -> Samples:
    """(n, channels), with n a multiple of `frame` -> (n, 1)."""
    mixed, channels = mean_of_channels(piece), piece.shape[1]
    for k in _low_frames(piece, mixed, frame):
        inside = slice(k * frame, (k + 1) * frame)
        energy, of_mean = (np.vdot(samples, samples) for samples in (piece[inside], mixed[inside]))
        if of_mean * channels**2 < _LEAST_ENERGY * energy:
            mixed[inside] = mean_of_channels(piece[inside] * _polarities(piece[inside]))
    return mixed


def _low_frames(piece: Samples, mixed: Samples, frame: int) -> Iterable[int]:
    """Frames in which the mean may cancel, judged from a subset of their samples."""
    if frame % _CELL:  # the last frame of a recording
        return (0,)
    energies, of_mean = (
        np.einsum("kn,kn->k", cells, cells).reshape(-1, frame // _CELL).sum(axis=1)
        for cells in (x.reshape(-1, _CELL * x.shape[1])[:, : _LOOKED_AT * x.shape[1]] for x in (piece, mixed))
    )
    low: Iterable[int] = np.flatnonzero(of_mean * np.float32(piece.shape[1] ** 2 / _LOW_ENERGY) <= energies)
    return low


def _polarities(frame: Samples) -> Samples:
    """(n, channels) -> factors 1 or -1, one a channel, for which the sum has at least the energy of all channels
    together. Channels are added one after another, and each is inverted if it would lower the energy of the sum so
    far."""
    channels = frame.T.astype(np.float64)
    energies = np.einsum("cn,cn->c", channels, channels)
    order = sorted(range(len(channels)), key=lambda c: energies[c] < _FAINT_ENERGY * energies.max())
    signs, total = np.ones(len(channels), np.float32), np.zeros(channels.shape[1])
    for channel in order:
        if total @ channels[channel] < 0:
            signs[channel] = -1
        total += signs[channel] * channels[channel]
    return signs


def mean_of_channels(piece: Samples) -> Samples:
    """(n, channels), with at least two channels -> (n, 1). For two channels, adding columns takes a tenth of the time
    and gives the same numbers."""
    if piece.shape[1] > _FEW_CHANNELS:
        mean: Samples = piece.mean(axis=1, keepdims=True, dtype=np.float32)
        return mean
    total: Samples = piece[:, :1] + piece[:, 1:2]
    if piece.shape[1] == 2:
        total *= np.float32(0.5)
        return total
    for column in range(2, piece.shape[1]):
        total += piece[:, column : column + 1]
    total /= piece.shape[1]
    return total
