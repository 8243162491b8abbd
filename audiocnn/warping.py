"""Other throats: the bands of a spectrum pushed up or down in frequency, as the length of a vocal tract does.

Vocal tract length perturbation (Jaitly and Hinton 2013, section 3) draws a factor for each example and moves what
sounds at f to f times the factor; near the top of the spectrum the map bends so that it ends where it ended. Played at
another speed (`[mix] speed`), a voice changes its pitch, its formants and its pace together; this changes the formants
alone.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiocnn.features import InputSpec, band_edges_hertz

BENDS_AT = 0.6  # of the highest frequency: 4,800 of 8,000 Hz in the paper
Array = NDArray[np.float64]


def warp_bands(values: Tensor, spec: InputSpec, factors: Array) -> Tensor:
    """(batch, ..., bands, frames) with each example's frequencies multiplied by its factor (batch,). Features whose
    bands are no frequencies, as mfcc, come back as they are."""
    edges = band_edges_hertz(spec)
    if edges is None or len(edges) < 2:
        return values
    places = np.stack([heard_at(edges.mean(axis=1), spec.sample_rate / 2, factor) for factor in factors])
    below = np.clip(np.floor(places), 0, len(edges) - 2)
    apart = values.reshape(len(values), -1, len(edges), values.shape[-1])  # 1-D networks have channels and bands in one
    share = torch.from_numpy(places - below).to(values)[:, None, :, None]
    lower = torch.from_numpy(below.astype(np.int64)).to(values.device)[:, None, :, None].expand(apart.shape)
    return torch.lerp(apart.gather(2, lower), apart.gather(2, lower + 1), share).reshape(values.shape)


def heard_at(centres: Array, highest: float, factor: float) -> Array:
    """(bands,) for each band, the fraction of a band number at which its new content lies: the band that `factor` moves
    there. centres: in Hz, rising."""
    bend = BENDS_AT * highest * min(factor, 1.0)
    moved = np.interp(centres, [0.0, bend / factor, highest], [0.0, bend, highest])
    return np.asarray(np.interp(centres, moved, np.arange(len(centres))), dtype=np.float64)
