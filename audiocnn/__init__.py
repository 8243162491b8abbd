"""audiocnn: convolutional networks for sound. `audiocnn.detect(path)` finds speech in a recording."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiocnn.detection import Detection, DetectSettings, detect
    from audiocnn.engine import Engine, load_engine
    from audiocnn.errors import AudiocnnError
    from audiocnn.model import Model, find_model
    from audiocnn.segments import Segment, SegmentRule, find_segments

__all__ = [
    "AudiocnnError", "DetectSettings", "Detection", "Engine", "Model", "Segment", "SegmentRule",
    "detect", "find_model", "find_segments", "load_engine",
]  # fmt: skip

try:
    __version__ = version("audiocnn")
except PackageNotFoundError:  # a checkout that was not installed
    __version__ = "0"

_HOMES = {
    "detection": ("Detection", "DetectSettings", "detect"),
    "engine": ("Engine", "load_engine"),
    "errors": ("AudiocnnError",),
    "model": ("Model", "find_model"),
    "segments": ("Segment", "SegmentRule", "find_segments"),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: `import audiocnn` costs nothing."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"audiocnn.{home}"), name)
    raise AttributeError(f"module 'audiocnn' has no attribute '{name}'")
