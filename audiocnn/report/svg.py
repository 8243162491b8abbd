"""Small plots as SVG text for embedding in a page: axes, lines, areas, dots, and ranges with a dot.

Colours come from the page's style sheet: a mark names its classes, and the page sets their look on light and dark
backgrounds. A mark shows its `tip` when the mouse is over it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

TOP_PIXELS, RIGHT_PIXELS, BOTTOM_PIXELS = 10, 14, 42


@dataclass(frozen=True)
class Axis:
    """One side of a plot, from `low` to `high`. ticks: value -> text. `log`: equal steps are equal factors."""

    title: str
    low: float
    high: float
    ticks: Mapping[float, str]
    log: bool = False

    def share(self, value: float) -> float:
        """The position of a value on the axis: 0 at its low end, 1 at its high end; others are outside."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def axis_between(title: str, low: float = 0.0, high: float = 1.0, steps: int = 5) -> Axis:
    """An axis of equal steps, by default 0 to 1 in fifths."""
    places = [low + (high - low) * k / steps for k in range(steps + 1)]
    return Axis(title, low, high, {place: f"{place:.4g}" for place in places})


class Plot:
    """Marks between two axes. Points are in the units of the axes, sizes in pixels. Marks outside are clipped."""

    def __init__(self, x: Axis, y: Axis, width: int = 420, height: int = 320, left: int = 52) -> None:
        self._x, self._y = x, y
        self._width, self._height, self._left = width, height, left
        self._marks: list[str] = []
        self._over: list[str] = []  # dots, which are not clipped at an edge

    def line(self, xs: Sequence[float], ys: Sequence[float], classes: str) -> None:
        self._marks.append(f'<path class="line {classes}" d="{self._path(xs, ys)}"/>')

    def area(self, edges: Sequence[float], heights: Sequence[float], classes: str) -> None:
        """A filled step area, heights[k] from edges[k] to edges[k + 1]."""
        xs = [edge for edge in edges for _ in range(2)]
        ys = [self._y.low, *(height for height in heights for _ in range(2)), self._y.low]
        self._marks.append(f'<path class="area {classes}" d="{self._path(xs, ys)}Z"/>')

    def dot(self, x: float, y: float, classes: str, tip: str = "", radius: float = 3.5) -> None:
        if not (0 <= self._x.share(x) <= 1 and 0 <= self._y.share(y) <= 1):
            return
        left, top = self._at(x, y)
        self._over.append(f'<circle class="dot {classes}" cx="{left}" cy="{top}" r="{radius:.3g}">{_tip(tip)}</circle>')

    def stretch(self, low: float, high: float, y: float, classes: str, tip: str = "") -> None:
        """A horizontal line from low to high, such as an interval."""
        (start, top), (end, _) = self._at(low, y), self._at(high, y)
        path = f"M{start} {top}H{end}"
        self._marks.append(f'<path class="stretch {classes}" d="{path}">{_tip(tip)}</path>')

    def upright(self, x: float, classes: str, tip: str = "") -> None:
        left, _ = self._at(x, self._y.low)
        bottom = self._height - BOTTOM_PIXELS
        self._marks.append(f'<path class="line {classes}" d="M{left} {TOP_PIXELS}V{bottom}">{_tip(tip)}</path>')

    def to_svg(self, name: str) -> str:
        """The picture. `name` is its description for screen readers."""
        description = escape(name, quote=True)
        size = f'viewBox="0 0 {self._width} {self._height}" width="{self._width}" height="{self._height}"'
        # A nested picture with the same units clips lines; it is larger than the plot by half a line width.
        box = (
            self._left - 1,
            TOP_PIXELS - 1,
            self._width - RIGHT_PIXELS - self._left + 2,
            self._height - BOTTOM_PIXELS - TOP_PIXELS + 2,
        )
        place = 'x="{0}" y="{1}" width="{2}" height="{3}" viewBox="{0} {1} {2} {3}"'.format(*box)
        marks = [f"<svg {place}>", *self._marks, "</svg>", *self._over]
        return "\n".join([f'<svg {size} role="img" aria-label="{description}">', *self._axes(), *marks, "</svg>"])

    def _axes(self) -> Iterable[str]:
        bottom, right = self._height - BOTTOM_PIXELS, self._width - RIGHT_PIXELS
        for value, text in self._x.ticks.items():
            left, _ = self._at(value, self._y.low)
            yield f'<path class="grid" d="M{left} {TOP_PIXELS}V{bottom}"/>'
            yield f'<text class="tick" x="{left}" y="{bottom + 15}" text-anchor="middle">{escape(text)}</text>'
        for value, text in self._y.ticks.items():
            _, top = self._at(self._x.low, value)
            yield f'<path class="grid" d="M{self._left} {top}H{right}"/>'
            yield f'<text class="tick" x="{self._left - 7}" y="{top + 4}" text-anchor="end">{escape(text)}</text>'
        middle = (self._left + right) / 2
        place = f'x="{middle}" y="{self._height - 6}" text-anchor="middle"'
        yield f'<text class="axis" {place}>{escape(self._x.title)}</text>'
        if self._y.title:
            middle = (TOP_PIXELS + bottom) / 2
            place = f'x="12" y="{middle}" transform="rotate(-90 12 {middle})" text-anchor="middle"'
            yield f'<text class="axis" {place}>{escape(self._y.title)}</text>'

    def _at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels from the left and from the top, with one decimal."""
        across = self._width - RIGHT_PIXELS - self._left
        down = self._height - BOTTOM_PIXELS - TOP_PIXELS
        return round(self._left + across * self._x.share(x), 1), round(TOP_PIXELS + down * (1 - self._y.share(y)), 1)

    def _path(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        points = (self._at(x, y) for x, y in zip(xs, ys, strict=True))
        return "M" + "L".join(f"{left} {top}" for left, top in points)


def _tip(text: str) -> str:
    return f"<title>{escape(text)}</title>" if text else ""
