"""What changes values and no sizes: norm, activation, dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audiocnn.errors import SpecError
from audiocnn.kinds.reading import ACTIVATIONS, Context
from audiocnn.layers import Layer
from audiocnn.sizes import Reach, Size
from audiocnn.tables import Table

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Norm(Layer):
    """Normalisation on its own: `batch`, `sub_spectral` (batch norm of each channel in so many bands; Chang et al.
    2021, eq. 1), `local_response` (Krizhevsky et al. 2012, section 3.3), or `level`: of values that are logarithms of
    power, the logarithm of the mean power of all bands over so many positions around is taken away. A gain of the whole
    then changes nothing."""

    kind: str
    bands: int = 1
    neighbours: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0
    positions: int = 1
    dims: int = 1

    @classmethod
    def read(cls, table: Table, context: Context) -> Norm:
        """`norm`; with sub_spectral `bands`; with local_response `neighbours`, `alpha`, `beta`, `k`; with level
        `positions`, an odd number."""
        kind = table.text("norm", choices=("batch", "sub_spectral", "local_response", "level"))
        if kind == "level":
            positions = table.integer("positions", most=100_000)
            if positions % 2 == 0:
                raise table.wrong(f'"positions" must be odd, so that one is in the middle, not {positions}')
            return cls(kind, positions=positions, dims=context.dims)
        if kind == "sub_spectral":
            return cls(kind, bands=table.integer("bands"))
        if kind == "local_response":
            return cls(
                kind,
                neighbours=table.integer("neighbours", cls.neighbours, most=1000),
                alpha=table.number("alpha", cls.alpha),
                beta=table.number("beta", cls.beta),
                k=table.number("k", cls.k, above=True),
            )
        return cls(kind)

    def check(self, size: Size) -> None:
        if size.bands % self.bands:
            raise SpecError(f"bands = {self.bands} does not divide the {size.bands} positions in frequency")

    def reach(self, axis: int) -> Reach:
        """`level` looks along the time, which is the last axis."""
        return Reach(self.positions if axis == self.dims - 1 else 1)

    @property
    def hears_all_bands(self) -> bool:
        return self.kind == "level"

    def parameters(self, size: Size) -> int:
        return 0 if self.kind in ("local_response", "level") else 2 * size.channels * self.bands

    def text(self) -> str:
        if self.kind == "level":
            return f"level norm over {self.positions}"
        return f"{self.kind} norm" + (f" in {self.bands} bands" if self.bands > 1 else "")

    def module(self, size: Size) -> nn.Module:
        from audiocnn import modules

        return modules.normalisation(self, size)


@dataclass(frozen=True)
class Activation(Layer):
    """A nonlinearity on its own."""

    kind: str

    @classmethod
    def read(cls, table: Table, context: Context) -> Activation:
        """`activation`."""
        return cls(table.text("activation", choices=ACTIVATIONS))

    def text(self) -> str:
        return self.kind

    def module(self, size: Size) -> nn.Module:
        from audiocnn import modules

        return modules.activation(self.kind)


@dataclass(frozen=True)
class Dropout(Layer):
    """Zeroes a share of the values while training."""

    share: float

    @classmethod
    def read(cls, table: Table, context: Context) -> Dropout:
        """`dropout`, the share."""
        return cls(table.number("dropout", most=0.99))

    def text(self) -> str:
        return f"dropout {self.share:g}"

    def module(self, size: Size) -> nn.Module:
        from torch import nn

        return nn.Dropout(self.share)
