"""audiocnn: convolutional networks for sound. `audiocnn.detect(path)` finds speech in a recording."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiocnn.audio.pcm import RawFormat
    from audiocnn.errors import AudiocnnError, MissingPackageError
    from audiocnn.evaluation.report import EvaluationReport
    from audiocnn.evaluation.results import EvaluationSettings, Figure
    from audiocnn.inference.classify import Classification, ClassifySettings, Clip, classify, classify_many
    from audiocnn.inference.detect import Detection, DetectSettings, Ending, Onset, detect, detect_many, follow
    from audiocnn.inference.engine import Engine, load_engine
    from audiocnn.inference.scores import RecordingScores, score
    from audiocnn.inference.stream import LiveModel, Stream, Streams
    from audiocnn.model.model import Model, find_model
    from audiocnn.progress import Progress
    from audiocnn.segments.finder import SegmentRule, find_segments
    from audiocnn.segments.segment import Annotation, Segment
    from audiocnn.workflows.evaluate import evaluate
    from audiocnn.workflows.train import TrainingResult, train

__all__ = [
    "Annotation", "AudiocnnError", "Classification", "ClassifySettings", "Clip", "DetectSettings", "Detection",
    "Ending", "Engine", "EvaluationReport", "EvaluationSettings", "Figure", "LiveModel", "MissingPackageError", "Model",
    "Onset", "Progress", "RawFormat", "RecordingScores", "Segment", "SegmentRule", "Stream", "Streams",
    "TrainingResult", "__version__", "classify", "classify_many", "detect", "detect_many", "evaluate", "find_model",
    "find_segments", "follow", "load_engine", "score", "train",
]  # fmt: skip

__version__ = "0.1.0"
_HOMES = {
    "audiocnn.inference.classify": ("Classification", "ClassifySettings", "Clip", "classify", "classify_many"),
    "audiocnn.inference.detect": ("Detection", "DetectSettings", "Ending", "Onset", "detect", "detect_many", "follow"),
    "audiocnn.inference.engine": ("Engine", "load_engine"),
    "audiocnn.inference.scores": ("RecordingScores", "score"),
    "audiocnn.inference.stream": ("LiveModel", "Stream", "Streams"),
    "audiocnn.errors": ("AudiocnnError", "MissingPackageError"),
    "audiocnn.evaluation.report": ("EvaluationReport",),
    "audiocnn.evaluation.results": ("EvaluationSettings", "Figure"),
    "audiocnn.model.model": ("Model", "find_model"),
    "audiocnn.progress": ("Progress",),
    "audiocnn.audio.pcm": ("RawFormat",),
    "audiocnn.segments.finder": ("SegmentRule", "find_segments"),
    "audiocnn.segments.segment": ("Annotation", "Segment"),
    "audiocnn.workflows.evaluate": ("evaluate",),
    "audiocnn.workflows.train": ("TrainingResult", "train"),
}


def __dir__() -> list[str]:
    return sorted(__all__)


if not TYPE_CHECKING:  # otherwise type checkers would accept any attribute name

    def __getattr__(name: str) -> Any:
        """Import a public name on first use, so that `import audiocnn` itself stays cheap."""
        for home, names in _HOMES.items():
            if name in names:
                return getattr(import_module(home), name)
        raise AttributeError(f"module 'audiocnn' has no attribute '{name}'")
