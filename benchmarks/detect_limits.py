"""The limits of a detector, and the detector without its start, each in a separate process.

python -m benchmarks.detect_limits decode FILE [FROM TO]    only decode, mix and resample to 16 kHz, in one thread
python -m benchmarks.detect_limits blocks FILE              the same with `audiocnn.audio.recording`
python -m benchmarks.detect_limits warm MODEL FILE N        the engine, loaded once, N times on the file
python -m benchmarks.detect_limits product N A B C          matrices A x B and B x C, until N multiply-adds are done
python -m benchmarks.detect_limits sliding MODEL FILE S     every window of S seconds in batches, and the dense pass

The last line is JSON; `inside` is in seconds.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BLOCK_FRAMES = 1 << 16
RATE = 16000
BATCH = 64  # windows per batch; 16, 64 and 256 were within 10 % of each other


def decode(path: str, start: str = "0", end: str = "1") -> dict[str, float]:
    """The shortest possible loop."""
    import numpy as np
    import soundfile
    import soxr

    begin = time.perf_counter()
    with soundfile.SoundFile(path) as file:
        left = round(float(end) * file.frames) - round(float(start) * file.frames)
        file.seek(round(float(start) * file.frames))
        other = file.samplerate != RATE
        resampler = soxr.ResampleStream(file.samplerate, RATE, 1, dtype="float32", quality="HQ") if other else None
        while left > 0 and len(block := file.read(min(left, BLOCK_FRAMES), dtype="float32", always_2d=True)):
            left -= len(block)
            mono = block.mean(axis=1, dtype=np.float32)
            if resampler is not None:
                resampler.resample_chunk(mono, last=left <= 0)
    return {"inside": time.perf_counter() - begin}


def blocks(path: str) -> dict[str, float]:
    """The blocks that `detect` reads."""
    from audiocnn.audio.recording import open_recording

    begin = time.perf_counter()
    with open_recording(Path(path)) as recording:
        for _ in recording.blocks(RATE):
            pass
    return {"inside": time.perf_counter() - begin}


def warm(model: str, path: str, times: str) -> dict[str, float]:
    """The median of several passes, after one that is not counted."""
    from audiocnn.inference.detect import detect_recording
    from audiocnn.inference.engine import load_engine
    from audiocnn.model.model import find_model

    engine = load_engine(find_model(model))
    seconds = []
    for _ in range(int(times) + 1):
        begin = time.perf_counter()
        detect_recording(Path(path), engine)
        seconds.append(time.perf_counter() - begin)
    return {"inside": statistics.median(seconds[1:])}


def product(multiply_adds: str, rows: str, inner: str, columns: str) -> dict[str, float]:
    """numpy's float32 matrix product on all cores."""
    import numpy as np

    random = np.random.default_rng(0)
    left = random.standard_normal((int(rows), int(inner)), np.float32)
    right = random.standard_normal((int(inner), int(columns)), np.float32)
    out = left @ right
    times = max(1, round(float(multiply_adds) / (int(rows) * int(inner) * int(columns))))
    begin = time.perf_counter()
    for _ in range(times):
        np.matmul(left, right, out=out)
    return {"inside": time.perf_counter() - begin}


def sliding(model: str, path: str, seconds: str) -> dict[str, float]:
    """Both on the same samples with the same backend and cores, each after one pass that is not counted."""
    import numpy as np
    import soundfile

    from audiocnn.inference.engine import load_engine
    from audiocnn.model.model import find_model

    engine = load_engine(find_model(model))
    geometry = engine.geometry
    samples = soundfile.read(path, round(float(seconds) * RATE), dtype="float32", always_2d=True)[0].T
    # The end of the last window: a recording is extended to a whole number of hops.
    rows = geometry.rows(samples.shape[1])
    after = (rows - 1) * geometry.hop_samples + geometry.window_samples - geometry.extend_start - samples.shape[1]
    extended = np.pad(samples, ((0, 0), (geometry.extend_start, max(0, after))))
    windows = np.lib.stride_tricks.sliding_window_view(extended, geometry.window_samples, axis=1)
    windows = windows[:, :: geometry.hop_samples][:, :rows].transpose(1, 0, 2)

    def one(first: int) -> np.ndarray:
        return engine.backend.run(np.ascontiguousarray(windows[first : first + BATCH]))[:, 0]

    def each() -> np.ndarray:
        with ThreadPoolExecutor(getattr(engine, "jobs", 1)) as pool:
            return np.concatenate(list(pool.map(one, range(0, rows, BATCH))))

    engine.score(samples)
    one(0)
    begin = time.perf_counter()
    dense = engine.score(samples)
    between = time.perf_counter()
    slid = each()
    end = time.perf_counter()
    return {
        "inside": end - between,
        "dense_seconds": between - begin,
        "difference": float(np.abs(dense - slid).max()),
        "window_over_hop": geometry.window_samples / geometry.hop_samples,
    }


WORK: dict[str, Callable[..., dict[str, float]]] = {
    "decode": decode, "blocks": blocks, "warm": warm, "product": product, "sliding": sliding,
}  # fmt: skip


def main(arguments: list[str]) -> int:
    print(json.dumps(WORK[arguments[0]](*arguments[1:])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
