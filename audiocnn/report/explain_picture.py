"""The picture of an explanation: the scores, the spectrogram overlaid with effects on the score, the maps of a group.

Red supports the label, blue speaks against it; a stronger colour is a larger effect. The numbered boxes are
`occlusion.patches`, strongest first.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audiocnn.inspection.explain import Explanation
from audiocnn.inspection.feature_maps import FeatureMaps
from audiocnn.inspection.occlusion import Patch
from audiocnn.report.figure import new_figure, save_figure, show_spectrogram
from audiocnn.spec.features import Array
from audiocnn.units import clock

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH_INCHES, _HEIGHT_INCHES = 10.5, 9.0
_ROWS = {"scores": 1.1, "occlusion": 2.6, "over_time": 0.8, "gradient": 2.6}
_COLUMNS = {"map": 1.0, "bands": 0.14, "colours": 0.02}
_FOR, _AGAINST, _HERE = "#b2182b", "#2166ac", "#1b7837"
_SHOWN_DECIBELS = 70.0  # below the loudest cell
_MOST_POINTS = 2000  # of the score curve; for a longer one, the range over each point is drawn
_MAPS_IN_A_ROW = 4  # in 2-D


def draw_explanation(found: Explanation, path: Path) -> None:
    """Write the picture. UsageError if that fails."""
    rows, maps = dict(_ROWS), found.maps
    in_rows = maps is not None and maps.values.shape[1] == 1
    if maps is not None and in_rows:
        rows["maps"] = 0.4 + 0.16 * len(maps.values)
    heights = [_HEIGHT_INCHES * sum(rows.values()) / sum(_ROWS.values())]
    if maps is not None and not in_rows:
        heights.append(0.8 + 1.35 * -(-len(maps.values) // _MAPS_IN_A_ROW))
    figure = new_figure(_WIDTH_INCHES, sum(heights))
    parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    parts[0].suptitle(_explanation_title(found), fontsize=12, parse_math=False)
    axes = parts[0].subplots(
        len(rows), len(_COLUMNS), height_ratios=list(rows.values()), width_ratios=list(_COLUMNS.values())
    )
    grid: dict[str, Any] = {name: dict(zip(_COLUMNS, row, strict=True)) for name, row in zip(rows, axes, strict=True)}
    _draw_scores(grid["scores"], found)
    _draw_map(grid["occlusion"], found, found.occlusion.map, found.occlusion.over_bands)
    grid["occlusion"]["map"].set_title(_occlusion_title(found), loc="left", fontsize=9)
    for number, patch in enumerate(found.occlusion.patches, 1):
        _draw_patch(grid["occlusion"]["map"], number, patch)
    _draw_over_time(grid["over_time"], found)
    _draw_map(grid["gradient"], found, found.gradient, found.gradient.sum(axis=1))
    grid["gradient"]["map"].set_title(_gradient_title(found), loc="left", fontsize=9)
    axes[-1, 0].set_xlabel("seconds")
    if maps is not None and in_rows:
        _draw_maps_in_rows(grid["maps"], found, maps)
    elif maps is not None:
        _draw_maps(parts[1], found, maps)
    save_figure(figure, path)


def _explanation_title(found: Explanation) -> str:
    name = "".join(letter if letter.isprintable() else "?" for letter in Path(found.file).name)
    where = f"at {(found.start + found.end) / 2:.2f} s"
    if found.whole:
        where = f"over all of its {found.end:.2f} s"
    return f"{name or 'recording'}: {found.label} {found.score:.4f} {where}, by {found.model}"


def _occlusion_title(found: Explanation) -> str:
    level = {"background": "the background", "mean": "the mean of its bands"}.get(
        found.settings.fill, found.settings.fill
    )
    size = f"{found.occlusion.patch_seconds:.2g} s x {found.occlusion.patch_bands} bands"
    return f"occlusion: decrease of the log-odds when a patch of {size} is lowered to {level}"


def _gradient_title(found: Explanation) -> str:
    if found.settings.points == 1:
        return "gradient: slope of the log-odds at the recording, times the difference of each cell to the background"
    points = f"{found.settings.points} points between background and recording"
    return f"gradient: contribution of each cell to the log-odds, from slopes at {points}"


def _draw_scores(places: dict[str, Any], found: Explanation) -> None:
    axes = _main_axes(places)
    times, low, high = _score_curve(found)
    axes.fill_between(times, low, high, color="0.6", linewidth=0)
    axes.plot(times, high, color="0.2", linewidth=1.0)
    axes.axhline(found.threshold, color="0.5", linewidth=0.7, linestyle=":")
    axes.axvspan(*found.window, color=_HERE, alpha=0.15, linewidth=0)
    _mark_rows(axes, found)
    axes.set(xlim=(0.0, found.duration_seconds), ylim=(-0.03, 1.05))
    axes.set_ylabel(f"score of {found.label}", parse_math=False)
    window = "explained part" if found.whole else "explained score and its window"
    axes.set_title(f"scores of the recording; dotted: threshold; green: {window}", loc="left", fontsize=9)
    if found.duration_seconds > 120:
        axes.xaxis.set_major_formatter(lambda value, _position: clock(max(0.0, value)))


def _main_axes(places: dict[str, Any]) -> Axes:
    places["bands"].axis("off")
    places["colours"].axis("off")
    axes: Axes = places["map"]
    return axes


def _score_curve(found: Explanation) -> tuple[Array, Array, Array]:
    """Times, and the lowest and highest score at each: of single rows, or of several rows, so that the curve is
    short."""
    scores = found.scores.astype(np.float64)
    rows = -(-len(scores) // _MOST_POINTS)
    together = np.pad(scores, (0, -len(scores) % rows), mode="edge").reshape(-1, rows)
    times = np.minimum((np.arange(len(together)) + 0.5) * rows * found.hop_seconds, found.duration_seconds)
    return times, together.min(axis=1), together.max(axis=1)


def _mark_rows(axes: Axes, found: Explanation) -> None:
    """A line through the middle of the explained row; none if all rows are explained."""
    if not found.whole:
        axes.axvline((found.start + found.end) / 2, color=_HERE, linewidth=1.2, linestyle="--")


def _draw_map(places: dict[str, Any], found: Explanation, effects: Array, over_bands: Array) -> None:
    """The spectrogram in grey, overlaid with effects in red and blue, and their sums over the bands beside it."""
    axes, side = places["map"], places["bands"]
    side.sharey(axes)
    where = (found.frame_seconds, found.band_hertz, found.features)
    top = float(found.decibels.max())
    limit = max(float(np.nanquantile(np.abs(effects), 0.998)), 1e-6)  # the effect with the full colour
    show_spectrogram(axes, found.decibels, *where, cmap="Greys", vmin=top - _SHOWN_DECIBELS, vmax=top + 10.0)
    alpha = np.clip(np.abs(np.nan_to_num(effects)) / limit, 0.0, 1.0) ** 0.7 * 0.8
    image = show_spectrogram(axes, effects, *where, cmap="RdBu_r", vmin=-limit, vmax=limit, alpha=alpha)
    for edges in ((found.frame_seconds[0], 0.0), (found.duration_seconds, found.frame_seconds[-1])):
        if edges[1] > edges[0]:
            axes.axvspan(*edges, facecolor="none", edgecolor="0.75", hatch="////", linewidth=0)
    _mark_rows(axes, found)
    axes.set(xlim=_time_limits(found))
    _draw_colour_bar(places["colours"], image)
    _draw_signed_steps(side, over_bands, found.band_hertz, upright=False)
    side.tick_params(axis="y", left=False, labelleft=False)
    side.set_title("whole bands", fontsize=8)


def _draw_colour_bar(axes: Axes, image: Any) -> None:
    bar = axes.figure.colorbar(image, cax=axes)
    if bar.solids is not None:
        bar.solids.set_alpha(1.0)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("against  < log-odds >  for", fontsize=8)


def _draw_signed_steps(axes: Axes, values: Array, borders: Array, upright: bool) -> None:
    """Steps filled red above zero and blue below; `upright` over time, else over bands."""
    values = np.nan_to_num(values)
    for colour, part in ((_FOR, np.maximum(values, 0.0)), (_AGAINST, np.minimum(values, 0.0))):
        axes.stairs(part, borders, fill=True, color=colour, orientation="vertical" if upright else "horizontal")
    (axes.axhline if upright else axes.axvline)(0.0, color="0.3", linewidth=0.7)
    axes.tick_params(labelsize=7)
    reach = max(float(np.abs(values).max()), 0.01)
    low, high = min(float(values.min()), 0.0) - 0.05 * reach, max(float(values.max()), 0.0) + 0.05 * reach
    (axes.set_ylim if upright else axes.set_xlim)(low, high)


def _draw_over_time(places: dict[str, Any], found: Explanation) -> None:
    axes = _main_axes(places)
    _draw_signed_steps(axes, found.occlusion.over_time, found.frame_seconds, upright=True)
    _mark_rows(axes, found)
    axes.set(xlim=_time_limits(found), ylabel="log-odds")
    axes.set_title("occlusion of a stretch of time in all bands", loc="left", fontsize=9)


def _time_limits(found: Explanation) -> tuple[float, float]:
    """The time range shown: the window, or the whole recording if all of it is explained."""
    if found.whole:
        return 0.0, found.duration_seconds
    return float(found.frame_seconds[0]), float(found.frame_seconds[-1])


def _draw_patch(axes: Axes, number: int, patch: Patch) -> None:
    from matplotlib.patches import Rectangle

    assert patch.start is not None and patch.end is not None
    assert patch.low_hertz is not None and patch.high_hertz is not None
    low, high = patch.low_hertz, patch.high_hertz
    colour = _FOR if patch.effect > 0 else _AGAINST
    box = Rectangle(
        (patch.start, low), patch.end - patch.start, high - low, fill=False, edgecolor=colour, linewidth=1.2
    )
    axes.add_patch(box)
    axes.annotate(
        str(number), (patch.start, high), (2, -2), textcoords="offset points", va="top", fontsize=8, color=colour,
        fontweight="bold", bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
    )  # fmt: skip


def _maps_title(maps: FeatureMaps) -> str:
    shown = f"the {len(maps.values)} strongest of {maps.of}" if len(maps.values) < maps.of else f"all {maps.of}"
    return f"maps of group {maps.group}: {shown}, strongest first; dotted: the part that the score depends on"


def _mark_seen(axes: Axes, found: Explanation, maps: FeatureMaps) -> None:
    for seconds in maps.seen:
        axes.axvline(seconds, color="white", linewidth=1.2, linestyle=":")
    axes.set_xlim(_time_limits(found))


def _map_colours(maps: FeatureMaps) -> dict[str, Any]:
    """One scale for all maps, with a midpoint if they have negative values."""
    limit = max(float(np.quantile(np.abs(maps.values), 0.998)), 1e-9)
    signed = float(maps.values.min()) < -0.05 * limit
    scale = {"cmap": "PuOr_r", "vmin": -limit} if signed else {"cmap": "magma", "vmin": 0.0}
    return {"vmax": limit, **scale}


def _draw_maps_in_rows(places: dict[str, Any], found: Explanation, maps: FeatureMaps) -> None:
    """Maps of 1-D, or of one band: the rows of one picture, aligned with the time axis above."""
    axes, count = _main_axes(places), len(maps.values)
    start = maps.start_seconds - maps.hop_seconds / 2
    extent = (start, start + maps.values.shape[2] * maps.hop_seconds, count - 0.5, -0.5)
    image = axes.imshow(maps.values[:, 0], extent=extent, aspect="auto", interpolation="nearest", **_map_colours(maps))
    axes.set_yticks(range(count), [str(number) for number in maps.numbers], fontsize=7)
    axes.set_ylabel("map")
    axes.set_title(_maps_title(maps), loc="left", fontsize=9, parse_math=False)
    _mark_seen(axes, found, maps)
    places["colours"].axis("on")
    places["colours"].figure.colorbar(image, cax=places["colours"]).set_label("activation", fontsize=8)


def _draw_maps(figure: Any, found: Explanation, maps: FeatureMaps) -> None:
    """Maps of 2-D: one picture each."""
    rows = -(-len(maps.values) // _MAPS_IN_A_ROW)
    many = figure.subplots(rows, _MAPS_IN_A_ROW, sharex=True, sharey=True, squeeze=False)
    _, bands, positions = maps.values.shape
    seconds = maps.start_seconds + maps.hop_seconds * (np.arange(positions + 1) - 0.5)
    borders = maps.first_band + maps.band_hop * (np.arange(bands + 1) - 0.5)
    hertz = np.interp(borders, np.arange(len(found.band_hertz)), found.band_hertz)
    for place, axes in enumerate(many.flat):
        if place >= len(maps.values):
            axes.axis("off")
            continue
        if maps.in_hertz:
            image = show_spectrogram(axes, maps.values[place], seconds, hertz, found.features, **_map_colours(maps))
        else:
            image = axes.pcolormesh(seconds, borders, maps.values[place], rasterized=True, **_map_colours(maps))
        axes.set_ylabel("")
        axes.set_title(f"map {maps.numbers[place]}", fontsize=8)
        axes.tick_params(labelsize=7)
        _mark_seen(axes, found, maps)
    figure.suptitle(_maps_title(maps), fontsize=10, parse_math=False)
    figure.supxlabel("seconds", fontsize=9)
    figure.supylabel("Hz" if maps.in_hertz else "row", fontsize=9)
    figure.colorbar(image, ax=many, label="activation", pad=0.01)
