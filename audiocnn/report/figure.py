"""Shared code of all pictures: figures that need no screen, and files that are never half written or overwritten."""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import UsageError, show_controls
from audiocnn.files import write_whole
from audiocnn.spec.librosa_import import import_librosa

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

PICTURE_SUFFIXES = (".png", ".svg", ".pdf")
_DOTS_PER_INCH = 120
_FREQUENCY_AXES = {"stft": "linear", "cqt": "cqt_hz"}  # of librosa, by features; "mel" for all others
_ROUND_HERTZ = (0, 50, 100, 200, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000)
_LEAST_APART = 0.07  # between two frequency labels, relative to the height of the axes
MOST_PLAIN_SECONDS = 60.0  # longer times are written as minutes and seconds
_CLOCK_SECONDS = (10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)  # between two time labels


def new_figure(width_inches: float, height_inches: float) -> Figure:
    # The messages of matplotlib at import are about the place of its font cache.
    if (log := logging.getLogger("matplotlib")).level == logging.NOTSET:
        log.setLevel(logging.ERROR)
    from matplotlib.figure import Figure

    return Figure((width_inches, height_inches), dpi=_DOTS_PER_INCH, layout="constrained")


def show_spectrogram(
    axes: Axes, values: NDArray[Any], seconds: NDArray[Any], hertz: NDArray[Any], features: str, **how: Any
) -> QuadMesh:
    """Draw (bands, columns) over time and frequency. seconds (columns + 1,), hertz (bands + 1,): borders of the cells.
    `features` selects the frequency scale; `how` is passed to matplotlib's `pcolormesh`."""
    from matplotlib import ticker

    span = float(seconds[-1] - seconds[0])
    if span > MOST_PLAIN_SECONDS:
        mesh = show_bands(axes, values, seconds, hertz, features, x_axis="time", **how)
        step = next((step for step in _CLOCK_SECONDS if span <= 10 * step), 3600 * math.ceil(span / 36_000))
        axes.xaxis.set_major_locator(ticker.MultipleLocator(step))
    else:
        mesh = show_bands(axes, values, seconds, hertz, features, x_axis="s", **how)
        axes.xaxis.set_major_locator(ticker.AutoLocator())
        # librosa rounds to three digits, which are too few late in a recording.
        axes.xaxis.set_major_formatter(ticker.ScalarFormatter(useOffset=False))
    axes.set_xlabel("")
    return mesh


def show_bands(
    axes: Axes,
    values: NDArray[Any],
    columns: NDArray[Any],
    hertz: NDArray[Any],
    features: str,
    x_axis: str | None = None,
    **how: Any,
) -> QuadMesh:
    """Draw (bands, columns) over frequency; the axis of the columns is one of librosa, or none."""
    specshow = import_librosa().display.specshow
    y_axis = _FREQUENCY_AXES.get(features, "mel")
    mesh: QuadMesh = specshow(values, x_coords=columns, y_coords=hertz, x_axis=x_axis, y_axis=y_axis, ax=axes, **how)
    axes.set_ylim(hertz[0], hertz[-1])
    ticks = _round_hertz(axes, hertz)
    axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_yticks([], minor=True)
    return mesh


def _round_hertz(axes: Axes, hertz: NDArray[Any]) -> list[int]:
    """Round frequencies within the axes that are not too close to each other."""
    scale = axes.yaxis.get_transform()
    low, high = scale.transform(hertz[[0, -1]])
    kept: list[int] = []
    for tick in (tick for tick in _ROUND_HERTZ if hertz[0] <= tick <= hertz[-1]):
        if not kept or np.diff(scale.transform([kept[-1], tick]))[0] > _LEAST_APART * (high - low):
            kept.append(tick)
    return kept


def check_picture(path: Path, force: bool, endings: Sequence[str] = PICTURE_SUFFIXES, option: str = "-o") -> None:
    """Refuse, before any work, an unsupported file name, and an existing file. option: the one that sets the file."""
    if path.suffix.lower() not in endings:
        raise UsageError(f"{path}: not a picture file name; end it in {', '.join(endings)}")
    if path.exists() and not force:
        raise UsageError(f"{path}: already exists; overwrite it with --force, or give another {option}")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist; create it first")


def save_figure(figure: Figure, path: Path) -> None:
    """Write the picture completely or not at all. The suffix sets the format."""
    content = io.BytesIO()
    kind = path.suffix.lower().removeprefix(".")
    from matplotlib import rc_context
    from matplotlib.text import Text

    for text in figure.findobj(Text):  # a name with two $ is not a formula
        text.set_parse_math(False)
    with warnings.catch_warnings(), rc_context({"text.parse_math": False, "text.usetex": False}):
        warnings.simplefilter("ignore", UserWarning)  # names may contain letters that the font lacks
        figure.savefig(content, format=kind, metadata={"Software": None} if kind == "png" else None)
    drawn = content.getvalue()
    save_bytes(path, show_controls(drawn.decode()).encode() if kind == "svg" else drawn)


def save_bytes(path: Path, content: bytes) -> None:
    """Write the bytes of a picture completely or not at all. UsageError if that fails."""
    try:
        write_whole(path, content)
    except OSError as problem:
        raise UsageError(f"{path}: cannot be written ({problem.strerror}); give another -o") from None
