"""The delay between the start of a voice and the printed onset, when sound arrives in real time.

Silence and voices alternate. Every 20 ms, the next 20 ms of sound are passed to `audiocnn detect --follow`.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.measuring import BenchmarkError, audiocnn, environment

RATE = 16000
PIECE_SAMPLES = 320
SILENCE_SECONDS, VOICE_SECONDS = 3.0, 2.5
LATEST_SECONDS = 5.0  # a later onset does not count
COMMAND = ("detect", "-", "--follow", "--raw", "s16le", "--rate", str(RATE), "--channels", "1", "--pad", "0")


def voices(data: Path, count: int) -> list[Any]:
    """int16 samples of so many read sentences, each from its first word on."""
    import soundfile

    onsets: dict[str, float] = {}
    for line in (data / "segments.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        name, onset, *_ = line.split("\t")
        onsets.setdefault(name, float(onset))
    names = sorted(name for name in onsets if name.startswith("speech/librispeech/"))
    found = []
    for name in names[:: max(1, len(names) // (2 * count))]:
        samples = soundfile.read(data / name, dtype="int16")[0][round(onsets[name] * RATE) :]
        if len(samples) >= VOICE_SECONDS * RATE:
            found.append(samples[: round(VOICE_SECONDS * RATE)])
    return found[:count]


def track_of(found: list[Any]) -> tuple[Any, list[float]]:
    """int16 samples of the whole track, and the start of each voice in seconds. The silence contains soft noise."""
    import numpy as np

    noise = np.random.default_rng(0)
    parts, onsets, at = [], [], 0.0
    for voice in found:
        parts += [noise.normal(0, 3, round(SILENCE_SECONDS * RATE)).astype(np.int16), voice]
        onsets.append(at + SILENCE_SECONDS)
        at += SILENCE_SECONDS + VOICE_SECONDS
    return np.concatenate(parts), onsets


def listen(stream: Any, heard: queue.SimpleQueue[tuple[float, dict[str, Any]]]) -> None:
    """Each record with its time of arrival."""
    for line in stream:
        heard.put((time.perf_counter(), json.loads(line)))


def play(samples: Any, process: Any) -> float:
    """Write the samples in real time. Returns the time of the first."""
    begin = time.perf_counter()
    for start in range(0, len(samples), PIECE_SAMPLES):
        piece = samples[start : start + PIECE_SAMPLES]
        due = begin + (start + len(piece)) / RATE  # the time of the last sample of the piece
        time.sleep(max(0.0, due - time.perf_counter()))
        process.stdin.write(piece.tobytes())
        process.stdin.flush()
    process.stdin.close()
    return begin


def live(model: str, data: Path, count: int) -> dict[str, Any]:
    """The delays of each printed onset, from the time it reports and from the start of the voice, in seconds."""
    samples, onsets = track_of(voices(data, count))
    if not onsets:
        raise BenchmarkError(f"{data}: has no read sentences (speech/librispeech); name their folder with --data")
    heard: queue.SimpleQueue[tuple[float, dict[str, Any]]] = queue.SimpleQueue()
    command = audiocnn(*COMMAND, "-m", model)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment(), **pipes) as process:  # type: ignore[call-overload]
        listener = threading.Thread(target=listen, args=(process.stdout, heard))
        listener.start()
        try:
            begin = play(samples, process)
        except BrokenPipeError:  # it ended and reports the reason itself
            begin = 0.0
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        listener.join()
        said = process.stderr.read().decode().strip()
        if process.wait():
            raise BenchmarkError(f"audiocnn detect --follow: {said.splitlines()[-1] if said else 'failed'}")
    moments = [(moment - begin, record["start"]) for moment, record in taken(heard) if record["type"] == "onset"]
    told = [moment - start for moment, start in moments]
    voiced = [delay for onset in onsets if (delay := delay_of(onset, [moment for moment, _ in moments])) is not None]
    if not told or not voiced:
        raise BenchmarkError("audiocnn detect --follow: printed no onset of a voice")
    return {"told": told, "voiced": voiced, "voices": len(onsets)}


def taken(heard: queue.SimpleQueue[Any]) -> list[Any]:
    """Everything in the queue."""
    return [heard.get() for _ in range(heard.qsize())]


def delay_of(onset: float, moments: list[float]) -> float | None:
    """The delay from the start of a voice to the next printed onset."""
    later = [moment - onset for moment in moments if 0.0 <= moment - onset <= LATEST_SECONDS]
    return min(later, default=None)


def main(arguments: list[str]) -> int:
    model, data, count = arguments
    print(json.dumps(live(model, Path(data), int(count))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
