"""What all pictures share: a figure that needs no screen, and a file that is written whole and never over another."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.errors import UsageError
from audiocnn.whole_files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = (".png", ".svg", ".pdf")
DOTS_PER_INCH = 120


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """An empty figure; its texts find their place by themselves."""
    from matplotlib.figure import Figure

    return Figure((width_inches, height_inches), dpi=DOTS_PER_INCH, layout="constrained")


def check_picture(path: Path, force: bool, endings: Sequence[str] = PICTURES, option: str = "-o") -> None:
    """Refuse, before any work, a name that no picture can have, and a file that is there already. option: that which
    names the file."""
    if path.suffix.lower() not in endings:
        raise UsageError(f"{path}: a picture ends in {', '.join(endings)}; name it so")
    if path.exists() and not force:
        raise UsageError(f"{path}: is there already; overwrite it with --force, or name another {option}")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}; make it first")


def save_figure(figure: Figure, path: Path) -> None:
    """Write the picture, whole or not at all; the suffix picks the format."""
    content = io.BytesIO()
    kind = path.suffix.lower().removeprefix(".")
    figure.savefig(content, format=kind, metadata={"Software": None} if kind == "png" else None)
    save_bytes(path, content.getvalue())


def save_bytes(path: Path, content: bytes) -> None:
    """Write what is a picture already, whole or not at all. UsageError where that cannot be."""
    try:
        write_whole(path, content)
    except OSError as problem:
        raise UsageError(f"{path}: cannot be written ({problem.strerror}); name another -o") from None
