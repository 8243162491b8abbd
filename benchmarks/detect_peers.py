"""Runs another speech detector on a recording of 16 kHz, in a separate process that reads with soundfile.

python -m benchmarks.detect_peers PEER FILE [FROM TO]       a stretch of the file, as shares of its length
python -m benchmarks.detect_peers PEER FOLDER               each of its recordings, one after the other

The last line is JSON: `load`, the seconds until the detector is ready, `inside`, the seconds of reading and detecting,
and `found`, the number of segments. The settings of Silero VAD are `jit` (TorchScript), `onnx`, and `sequence` (many
frames per call, the same scores), which is documented for long recordings. Each uses one thread, which the package sets
and which is fastest. WebRTC VAD uses frames of 30 ms in mode 3.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RATE = 16000
FRAME_SAMPLES = 480  # the longest frame that WebRTC VAD supports
PACKAGES = {"jit": "silero_vad", "onnx": "silero_vad", "sequence": "silero_vad", "webrtc": "webrtcvad"}
Detect = Callable[[Path, float, float], int]
"""A file, and which part of it, as shares of its length -> the number of segments."""


def missing(peer: str) -> str | None:
    """The reason why a peer cannot be measured here, or nothing."""
    found = importlib.util.find_spec(PACKAGES[peer])
    if found is None:
        return f"{PACKAGES[peer]} is not installed (pip install -c constraints.txt -e '.[bench]')"
    # Found as a file, since importing it would load torch into the measuring process.
    folders = [Path(folder) for folder in found.submodule_search_locations or ()]
    if peer == "sequence" and not any((folder / "sequence_vad.py").exists() for folder in folders):
        return "this version of silero_vad has no sequence model; take 6.2.3"
    return None


def samples_of(path: Path, start: float, end: float, kind: str) -> Any:
    """The part of a mono recording, as "float32" or "int16"."""
    import soundfile

    with soundfile.SoundFile(path) as file:
        first, last = round(start * file.frames), round(end * file.frames)
        file.seek(first)
        return file.read(last - first, dtype=kind)


def silero(kind: str) -> Detect:
    """Silero VAD in one of its settings."""
    import silero_vad
    import torch

    model = silero_vad.load_silero_vad(onnx=kind == "onnx", **({"sequence": True} if kind == "sequence" else {}))

    def detect(path: Path, start: float, end: float) -> int:
        samples = samples_of(path, start, end, "float32")
        if kind == "sequence":
            return len(silero_vad.get_speech_timestamps_sequence(samples, model))
        return len(silero_vad.get_speech_timestamps(torch.from_numpy(samples), model))

    return detect


def webrtc() -> Detect:
    """WebRTC VAD; a segment is a run of speech frames."""
    import webrtcvad

    def detect(path: Path, start: float, end: float) -> int:
        detector = webrtcvad.Vad(3)
        data = samples_of(path, start, end, "int16").tobytes()
        step = 2 * FRAME_SAMPLES
        frames = (data[at : at + step] for at in range(0, len(data) - step + 1, step))
        return sum(speech for speech, _ in itertools.groupby(detector.is_speech(frame, RATE) for frame in frames))

    return detect


def main(arguments: list[str]) -> int:
    begin = time.perf_counter()
    peer, path = arguments[0], Path(arguments[1])
    start, end = (float(word) for word in arguments[2:4] or ("0", "1"))
    detect = webrtc() if peer == "webrtc" else silero(peer)
    loaded = time.perf_counter()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found = sum(detect(file, start, end) for file in files)
    end_seconds = time.perf_counter()
    print(json.dumps({"load": loaded - begin, "inside": end_seconds - loaded, "found": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
