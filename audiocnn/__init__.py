"""audiocnn: convolutional networks for sound. `audiocnn.detect(path)` finds speech in a recording."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiocnn.classification import Classification, ClassifySettings, Clip, classify, classify_many
    from audiocnn.detection import Detection, DetectSettings, detect
    from audiocnn.engine import Engine, load_engine
    from audiocnn.errors import AudiocnnError
    from audiocnn.live import Ending, Onset, follow
    from audiocnn.model import Model, find_model
    from audiocnn.parallel import detect_many
    from audiocnn.pcm import RawFormat
    from audiocnn.segments import Segment, SegmentRule, find_segments

__all__ = [
    "AudiocnnError", "Classification", "ClassifySettings", "Clip", "DetectSettings", "Detection", "Ending", "Engine",
    "Model", "Onset", "RawFormat", "Segment", "SegmentRule", "__version__", "classify", "classify_many", "detect",
    "detect_many", "find_model", "find_segments", "follow", "load_engine",
]  # fmt: skip

__version__ = "0.1.0"
_HOMES = {
    "classification": ("Classification", "ClassifySettings", "Clip", "classify", "classify_many"),
    "detection": ("Detection", "DetectSettings", "detect"),
    "engine": ("Engine", "load_engine"),
    "errors": ("AudiocnnError",),
    "live": ("Ending", "Onset", "follow"),
    "model": ("Model", "find_model"),
    "parallel": ("detect_many",),
    "pcm": ("RawFormat",),
    "segments": ("Segment", "SegmentRule", "find_segments"),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: `import audiocnn` costs nothing."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"audiocnn.{home}"), name)
    raise AttributeError(f"module 'audiocnn' has no attribute '{name}'")
