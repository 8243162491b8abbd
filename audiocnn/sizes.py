"""The arithmetic of convolutions: what comes out of n positions, and what one output depends on.

    output = (n + p_start + p_end - d (k - 1) - 1) // s + 1

Everything a network does along one axis is a `Reach`: a kernel (dilation included), a stride and the padding at both
ends. Two in a row are again one (`then`), exactly, because whole-number division nests; so are several side by side
(`side_by_side`). No weights are needed to know any size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Reach:
    """How the outputs of one or many layers depend on their inputs along one axis, in input positions."""

    kernel: int = 1
    stride: int = 1
    start: int = 0
    end: int = 0

    def out(self, positions: int) -> int:
        """Output positions for so many input positions; less than 1 means that nothing is left."""
        return (positions + self.start + self.end - self.kernel) // self.stride + 1

    def then(self, later: Reach) -> Reach:
        """This reach followed by another, as one."""
        return Reach(
            kernel=self.kernel + (later.kernel - 1) * self.stride,
            stride=self.stride * later.stride,
            start=self.start + later.start * self.stride,
            end=self.end + later.end * self.stride,
        )

    @property
    def shrink(self) -> int:
        """Kernel minus padding: the fewest inputs that give one output."""
        return self.kernel - self.start - self.end

    @property
    def centre(self) -> float:
        """The centre of output 0, in input positions."""
        return (self.kernel - 1) / 2 - self.start


def in_a_row(reaches: Iterable[Reach]) -> Reach:
    """The reach of layers one after the other."""
    whole = Reach()
    for reach in reaches:
        whole = whole.then(reach)
    return whole


def side_by_side(reaches: Sequence[Reach]) -> tuple[Reach, list[tuple[int, int]]]:
    """The joint reach of branches, and how many inputs each must drop at its two ends to line up.

    The branch that shrinks its input most decides; the others are cropped around the same centre. The joint reach
    covers what any branch looks at. Raises ValueError, with the reason, where they cannot line up.
    """
    if len({reach.stride for reach in reaches}) > 1:
        strides = ", ".join(str(reach.stride) for reach in reaches)
        raise ValueError(f"the branches have strides {strides}; they must be equal")
    whole = max(reaches, key=lambda reach: (reach.shrink, reach.kernel))
    crops = []
    for reach in reaches:
        total = whole.shrink - reach.shrink
        start = math.floor(whole.centre - reach.centre)
        if not 0 <= start <= total:
            raise ValueError("the branches do not line up; give them paddings that keep the same centre")
        crops.append((start, total - start))
    # A crop takes back what padding adds; what a branch sees from its first input on lies behind both.
    before = max(reach.start - start for reach, (start, _) in zip(reaches, crops, strict=True))
    behind = max(reach.kernel - reach.start + start for reach, (start, _) in zip(reaches, crops, strict=True))
    kernel = before + behind
    return Reach(kernel, whole.stride, before, kernel - before - whole.shrink), crops


@dataclass(frozen=True)
class Size:
    """What stands between two layers: channels, and positions along each axis, `(time,)` or `(frequency, time)`."""

    channels: int
    axes: tuple[int, ...]

    @property
    def bands(self) -> int:
        """Positions along the frequency; 1 in 1-D."""
        return self.axes[0] if len(self.axes) == 2 else 1

    @property
    def time(self) -> int:
        """Positions along the time."""
        return self.axes[-1]

    @property
    def positions(self) -> int:
        """Positions over all axes."""
        return math.prod(self.axes)

    def __str__(self) -> str:
        # Strides multiply: a hundred of them reach over more than can be written in a line.
        numbers = (self.channels, *self.axes)
        return "x".join(str(n) if abs(n) < 10**15 else f"10^{abs(n).bit_length() * 30103 // 100_000}" for n in numbers)
