"""Pieces of sound on their way from the decoder: mixed, joined, and cut into blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
FEW_CHANNELS = 7


def pick(piece: Samples, channel: str | int) -> Samples:
    """(frames, channels) -> (frames, rows)."""
    if channel == "each" or piece.shape[1] == 1:
        return piece
    return mean_of(piece) if channel == "mix" else np.ascontiguousarray(piece[:, [int(channel)]])


def mean_of(piece: Samples) -> Samples:
    """(frames, channels) -> (frames, 1). For two channels, adding columns takes a tenth of the time; the numbers are
    the same."""
    if piece.shape[1] > FEW_CHANNELS:
        mean: Samples = piece.mean(axis=1, keepdims=True, dtype=np.float32)
        return mean
    total = piece[:, :1].copy()
    for column in range(1, piece.shape[1]):
        total += piece[:, column : column + 1]
    total /= piece.shape[1]
    return total


def joined(pieces: Iterable[Samples], least_frames: int) -> Iterator[Samples]:
    """(n, rows) pieces, joined to at least so many frames; the last one is what is left."""
    waiting, count = list[Samples](), 0
    for piece in pieces:
        waiting.append(piece)
        count += len(piece)
        if count >= least_frames:
            yield np.concatenate(waiting)
            waiting, count = [], 0
    if waiting:
        yield np.concatenate(waiting)


def in_blocks(pieces: Iterable[Samples], block_samples: int) -> Iterator[Samples]:
    """(n, rows) pieces of any size -> (rows, block_samples) blocks; the last one is what is left."""
    waiting, count = list[Samples](), 0
    for piece in pieces:
        waiting.append(piece)
        count += len(piece)
        if count < block_samples:
            continue
        together = np.concatenate(waiting)
        whole = count - count % block_samples
        for start in range(0, whole, block_samples):
            yield np.ascontiguousarray(together[start : start + block_samples].T)
        waiting = [together[whole:]]
        count -= whole
    if count:
        yield np.ascontiguousarray(np.concatenate(waiting).T)
