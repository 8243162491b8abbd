"""The layers of F: dense and recurrent."""

from __future__ import annotations

from dataclasses import dataclass

from audiocnn.kinds.reading import ACTIVATIONS, Context
from audiocnn.layers import Layer
from audiocnn.sizes import Size
from audiocnn.tables import Table


@dataclass(frozen=True)
class Dense(Layer):
    """A fully connected layer of F: over a window of T positions it is a convolution of width T."""

    neurons: int
    activation: str = "none"
    dropout: float = 0.0

    @classmethod
    def read(cls, table: Table, context: Context) -> Dense:
        """`dense`, the neurons; `activation`, `dropout`."""
        activation = table.text("activation", context.activation, ACTIVATIONS)
        neurons = table.integer("dense", most=10**6)
        return cls(neurons, activation, table.number("dropout", 0.0, most=0.99))

    def out(self, size: Size) -> Size:
        return Size(self.neurons, (1,) * len(size.axes))

    def parameters(self, size: Size) -> int:
        return (size.channels * size.positions + 1) * self.neurons

    def multiply_adds(self, size: Size) -> int:
        return size.channels * size.positions * self.neurons

    def text(self) -> str:
        words = [f"dense {self.neurons}"] + [self.activation] * (self.activation != "none")
        return ", ".join(words + [f"dropout {self.dropout:g}"] * (self.dropout > 0))


@dataclass(frozen=True)
class Recurrent(Layer):
    """A GRU or LSTM over the positions of one window, from the first to the last; its final state goes on."""

    units: int
    kind: str = "gru"
    bidirectional: bool = False

    @classmethod
    def read(cls, table: Table, context: Context) -> Recurrent:
        """`recurrent`, the units; `kind` = gru or lstm; `bidirectional`."""
        kind = table.text("kind", cls.kind, ("gru", "lstm"))
        return cls(table.integer("recurrent", most=10**5), kind, table.flag("bidirectional", False))

    @property
    def ways(self) -> int:
        """1, or 2 if it runs in both directions."""
        return 1 + self.bidirectional

    @property
    def gates(self) -> int:
        """Weight matrices in a cell."""
        return 3 if self.kind == "gru" else 4

    def out(self, size: Size) -> Size:
        return Size(self.units * self.ways, (1,) * len(size.axes))

    def parameters(self, size: Size) -> int:
        return self.ways * self.gates * self.units * (size.channels * size.bands + self.units + 2)

    def multiply_adds(self, size: Size) -> int:
        return self.ways * self.gates * self.units * (size.channels * size.bands + self.units) * size.time

    def text(self) -> str:
        return f"{self.kind} {self.units}" + (" in both directions" if self.bidirectional else "")
