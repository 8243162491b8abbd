"""The results of `benchmarks.networks` as a table in a page of the manual, and as a picture beside it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audiocnn.files import write_whole
from audiocnn.report.figure import new_figure, save_figure
from benchmarks.networks_runs import Result
from benchmarks.pages import around_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

Values = NDArray[np.float64]

HEAD = ("spec", "sees", "parameters", "window", "hop", "multiply-adds/s", "accuracy", "over the seeds", "clips/s")
COLOURS = {"samples": "#c1440e", "1-D": "#2a7f62", "2-D": "#2b5d9b"}
WORDS = {"samples": "on samples", "1-D": "on features, along the time", "2-D": "on features, as a picture"}
LEAST_ERROR = 1 / 600  # half a clip of 300, so that the axis of the picture ends even if no clip is wrong
AXIS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
LABEL_POINTS = 6.5
# Possible places of a name, in points from its dot: close ones first, to the right first.
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.8, 0.7), (0.8, -0.7), (-0.8, 0.7), (-0.8, -0.7))
PLACES = tuple((dx * far, dy * far) for far in (6, 12, 20, 30, 42) for dx, dy in DIRECTIONS)


@dataclass(frozen=True)
class Facts:
    """What arithmetic tells about a spec; zeros if it cannot be read. `sees`: samples, or features and axes."""

    name: str
    sees: str = ""
    parameters: int = 0
    window_seconds: float = 0.0
    hop_seconds: float = 0.0
    multiply_adds_per_second: int = 0


@dataclass(frozen=True)
class EarlierRow:
    """A row of an earlier table, and accuracies (shares) with about the mean and the range given there."""

    cells: tuple[str, ...]
    accuracies: tuple[float, ...]
    multiply_adds_per_second: int


@dataclass(frozen=True)
class Standing:
    """A row: the facts, one result per seed or the reason why there is none, or the row of an earlier table."""

    facts: Facts
    results: Sequence[Result]
    reason: str = ""
    earlier: EarlierRow | None = None

    @property
    def accuracies(self) -> list[float]:
        """The accuracies of the finished seeds; none if something went wrong."""
        if self.reason or self.earlier:
            return list(self.earlier.accuracies) if self.earlier and not self.reason else []
        return [r.accuracy for r in self.results if r.accuracy is not None]

    @property
    def mean(self) -> float | None:
        """The mean accuracy over the seeds."""
        return statistics.fmean(self.accuracies) if self.accuracies else None


def sorted_rows(rows: Sequence[Standing]) -> list[Standing]:
    """The best first, of equals the cheapest; rows without an accuracy last, by cost."""
    return sorted(rows, key=lambda row: (row.mean is None, -(row.mean or 0.0), cost_of(row)))


def cost_of(row: Standing) -> tuple[int, str]:
    """Multiply-adds, then the name."""
    return row.facts.multiply_adds_per_second, row.facts.name


def cells(row: Standing) -> list[str]:
    """One row of the table."""
    if row.earlier:
        return list(row.earlier.cells)
    facts, percent = row.facts, [100 * value for value in row.accuracies]
    found = [f"`{facts.name}`"]
    if facts.sees:
        found += [facts.sees, f"{facts.parameters:,}", f"{facts.window_seconds:.3f} s", f"{facts.hop_seconds:.3f} s"]
        found += [millions(facts.multiply_adds_per_second)]
    else:
        found += ["-"] * 5
    if row.mean is None:
        return [*found, row.reason or "not trained yet", "", ""]
    speed = statistics.fmean(result.clips_per_second for result in row.results)
    return [*found, f"{100 * row.mean:.1f} %", f"{min(percent):.1f} - {max(percent):.1f}", f"{speed:,.0f}"]


def millions(number: int) -> str:
    """Millions with two or three significant digits."""
    return f"{number / 1e6:,.0f} M" if number >= 1e8 else f"{number / 1e6:.1f} M"


def to_markdown(rows: Sequence[Standing], clips: int) -> str:
    """The table, and the conditions of its figures."""
    done = {len(row.accuracies) for row in rows if row.accuracies and not row.earlier}
    seeds = " or ".join(str(count) for count in sorted(done)) or "no"
    threads = {result.threads for row in rows for result in row.results if result.threads}
    lines = [f"| {' | '.join(HEAD)} |", "|---|---|" + "---:|" * (len(HEAD) - 2)]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in cells(row))} |" for row in sorted_rows(rows)]
    machine = f", on {' or '.join(map(str, sorted(threads)))} thread{'s' * (threads != {1})}" if threads else ""
    lines += ["", f"{clips:,} clips seen by each, {seeds} seed{'s' * (seeds != '1')}{machine}."]
    if kept := [f"`{row.facts.name}`" for row in sorted_rows(rows) if row.earlier]:
        lines += ["", f"Not measured again, but kept from an earlier table: {', '.join(kept)}."]
    return "\n".join(lines)


def read_earlier(page: Path) -> dict[str, EarlierRow]:
    """The rows with an accuracy in the table of a page, by the name of the spec."""
    before, after = around_table(page)
    table = page.read_text(encoding="utf-8")[len(before) : -len(after)]
    found = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        row = dict(zip(HEAD, cells, strict=False))
        if len(cells) == len(HEAD) and row["accuracy"].endswith(" %"):
            mean, low, high = (
                float(text) / 100 for text in (row["accuracy"][:-2], *row["over the seeds"].split(" - "))
            )
            middle = min(max(3 * mean - low - high, low), high)  # for three seeds, the one between the ends
            cost = float(row["multiply-adds/s"].replace(",", "").removesuffix(" M"))
            found[row["spec"].strip("`")] = EarlierRow(tuple(cells), (low, middle, high), round(1e6 * cost))
    return found


def write_page(page: Path, rows: Sequence[Standing], clips: int) -> None:
    """Replace the table between the marks of a page, and the picture beside it.

    Raises UsageError if the page does not exist or has no such marks.
    """
    before, after = around_table(page)
    table, picture = to_markdown(rows, clips), page.with_suffix(".png")
    if any(row.accuracies for row in rows):
        draw(picture, rows)
        table += f"\n\n![Accuracy against multiply-adds for a second of sound]({picture.name})"
    write_whole(page, f"{before}{table}\n{after}".encode())


def draw(path: Path, rows: Sequence[Standing]) -> None:
    """Accuracy against multiply-adds per second of sound, a dot per spec with the range of its seeds."""
    shown = sorted_rows([row for row in rows if row.mean is not None and row.facts.sees])
    figure = new_figure(9.0, 6.2)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.set_yscale("function", functions=(depth_of, share_of))
    for kind, colour in COLOURS.items():
        mine = [row for row in shown if kind in row.facts.sees]
        if mine:
            costs = [row.facts.multiply_adds_per_second for row in mine]
            means = np.array([np.mean(row.accuracies) for row in mine])
            ends = np.array([(min(row.accuracies), max(row.accuracies)) for row in mine]).T
            axes.errorbar(costs, means, np.abs(ends - means), fmt="o", ms=4.5, lw=0.8, color=colour, label=WORDS[kind])
    values = [value for row in shown for value in row.accuracies]
    axes.set_ylim(max(0.0, min(values) - 0.05), 1.0 - max(1.0 - max(values), LEAST_ERROR) / 1.4)
    axes.margins(x=0.12)
    axes.set_yticks([tick for tick in AXIS if axes.get_ylim()[0] <= tick <= axes.get_ylim()[1]])
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1e9:g} G" if value >= 1e9 else f"{value / 1e6:g} M")
    axes.minorticks_off()
    axes.set_xlabel("multiply-adds for a second of sound")
    axes.set_ylabel("accuracy (a logarithmic scale of errors)")
    axes.grid(color="#dddddd", lw=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", frameon=False, fontsize=8)
    figure.draw_without_rendering()
    put_names(axes, shown)
    save_figure(figure, path)


def depth_of(share: Values) -> Values:
    """Accuracy -> the negative logarithm of the error."""
    return -np.log10(np.maximum(1.0 - np.asarray(share), LEAST_ERROR))


def share_of(depth: Values) -> Values:
    """The inverse of `depth_of`."""
    return 1.0 - 10.0 ** -np.asarray(depth)


def put_names(axes: Axes, rows: Sequence[Standing]) -> None:
    """Place each name beside its dot without covering another; a thin line joins distant ones."""
    from matplotlib.transforms import Bbox

    points = [(row.facts.multiply_adds_per_second, float(np.mean(row.accuracies))) for row in rows]
    taken = [Bbox.from_bounds(x - 3, y - 3, 6, 6) for x, y in axes.transData.transform(points)]
    for row, (cost, _) in zip(rows, points, strict=True):
        ends = axes.transData.transform([(cost, min(row.accuracies)), (cost, max(row.accuracies))])
        taken.append(Bbox(ends + np.array([[-1, 0], [1, 0]])))
    legend = axes.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent())
    for row, point in zip(rows, points, strict=True):
        best = None
        for dx, dy in PLACES:
            side = "left" if dx > 0 else "right" if dx < 0 else "center"
            level = "center" if abs(dy) < abs(dx) else "bottom" if dy > 0 else "top"
            text = axes.annotate(
                row.facts.name, point, (dx, dy), textcoords="offset points", ha=side, va=level, fontsize=LABEL_POINTS,
                arrowprops={"arrowstyle": "-", "lw": 0.4, "color": "#999999"} if abs(dx) + abs(dy) > 14 else None,
            )  # fmt: skip
            box = text.get_window_extent()
            covered = sum(box.overlaps(other) for other in taken) + 10 * (not inside(box, axes.bbox))
            if best is None or covered < best[0]:
                if best is not None:
                    best[1].remove()
                best = (covered, text, box)
            else:
                text.remove()
            if not covered:
                break
        assert best is not None
        taken.append(best[2])


def inside(box: Bbox, frame: Bbox) -> bool:
    """Whether a box is inside a frame."""
    return bool(box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1)
