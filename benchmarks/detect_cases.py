"""The cases of `benchmarks.detect`. A case is a function that measures every contender once, one after the other.

A round is the result of one call: contender -> figure. A figure has `seconds`, the amount of work done in that time
(`amount`, in `unit`) and possibly other values; or `missing`, the reason why there is none.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.detect_peers import missing
from benchmarks.detect_sounds import CLIP_FOLDER, FLAC, HOUR, HOURS, MINUTES, OPUS, SECONDS, STEREO, VORBIS, Sounds
from benchmarks.measuring import BenchmarkError, Figure, audiocnn, measure, module

Round = dict[str, Figure]
TIMES_REAL, FILES, START, MEMORY = "x real time", "files/s", "starts", "of memory"
ONE, EACH = "one process", "one process a core"
SETTINGS = ("jit", "onnx", "sequence")
SQUARE = (1024, 1024, 1024)
# A layer of a small network over half a minute: (frames, kernel x channels in) times (kernel x channels in, channels).
THIN = (3000, 320, 64)
SILERO_CLIPS = 1000  # the rest is extrapolated
SLIDING_SECONDS = 60.0
WARM_PASSES = 3
LIVE_VOICES = 6
SLID = "commands"  # the released model whose windows are scored separately
ALLOWED, LONGEST = "what is ahead, two hops and `--min-duration`", "after the onset that is told, longest"


@dataclass(frozen=True)
class Place:
    """The recordings, the labelled data, and the number of cores."""

    sounds: Sounds
    data: Path
    cores: int

    @property
    def parts(self) -> list[tuple[float, float]]:
        """The parts of a recording, one per core, as shares of its length."""
        return [(core / self.cores, (core + 1) / self.cores) for core in range(self.cores)]

    def detect(self, *arguments: str | Path, output: Path | None = None) -> Figure:
        """Our command as a whole process."""
        return measure(audiocnn("detect", *arguments), output=output)

    def of(self, name: str, model: str = "speech_1d") -> Figure:
        """Our command on one of the recordings."""
        return timed(self.detect(self.sounds.get(name), "-m", model), self.sounds.seconds_of(name))

    def peer(self, peer: str, name: str, each: bool = False) -> Figure:
        """Another detector on one of the recordings; each: one process per core, each with a part."""
        if reason := missing(peer):
            return {"missing": reason}
        path, parts = self.sounds.get(name), self.parts if each else [(0.0, 1.0)]
        commands = [module("detect_peers", peer, path, *part) for part in parts]
        return timed(measure(*commands), self.sounds.seconds_of(name))

    def work(self, name: str, *arguments: str | Path | float) -> Figure:
        """One of `detect_limits`, with the time of the work alone."""
        return inside(measure(module("detect_limits", name, *arguments)))


def timed(figure: Figure, amount: float, unit: str = TIMES_REAL) -> Figure:
    """With the amount of work done in the time."""
    return figure | {"amount": amount, "unit": unit}


def inside(figure: Figure) -> Figure:
    """With the time of the work alone instead of that of the process."""
    return figure | {"seconds": figure["inside"]} if "inside" in figure else figure


def decoding(path: Path, start: float = 0.0, end: float = 1.0) -> list[str]:
    """Only decode, mix and resample a part of the file."""
    return module("detect_limits", "decode", path, start, end)


def python(code: str) -> list[str]:
    """A piece of Python code as a process."""
    return [sys.executable, "-c", code]


def hour_1d(place: Place) -> Round:
    """One hour, 16 kHz, mono, WAV: whole processes, `speech_1d`."""
    return {
        "audiocnn, speech_1d": place.of(HOUR),
        f"Silero VAD, sequence, {ONE}": place.peer("sequence", HOUR),
        f"Silero VAD, sequence, {EACH}": place.peer("sequence", HOUR, each=True),
        f"Silero VAD, onnx, {ONE}": place.peer("onnx", HOUR),
        f"Silero VAD, onnx, {EACH}": place.peer("onnx", HOUR, each=True),
        f"WebRTC VAD, {ONE}": place.peer("webrtc", HOUR),
        f"WebRTC VAD, {EACH}": place.peer("webrtc", HOUR, each=True),
    }


def hour_2d(place: Place) -> Round:
    """The same hour: whole processes, `speech_2d`."""
    return {
        "audiocnn, speech_2d": place.of(HOUR, "speech_2d"),
        f"Silero VAD, sequence, {ONE}": place.peer("sequence", HOUR),
        f"Silero VAD, sequence, {EACH}": place.peer("sequence", HOUR, each=True),
    }


def warm(place: Place) -> Round:
    """The same hour, with detectors that are already loaded."""
    path, seconds = place.sounds.get(HOUR), place.sounds.seconds
    return {
        "audiocnn, speech_1d": timed(place.work("warm", "speech_1d", path, WARM_PASSES), seconds),
        "audiocnn, speech_2d": timed(place.work("warm", "speech_2d", path, 1), seconds),
        f"Silero VAD, sequence, {ONE}": inside(place.peer("sequence", HOUR)),
        f"Silero VAD, sequence, {EACH}": inside(place.peer("sequence", HOUR, each=True)),
    }


def silero(place: Place) -> Round:
    """Ten minutes: the settings of Silero VAD compared."""
    ours = {"audiocnn, speech_1d": place.of(MINUTES)}
    return ours | {f"Silero VAD, {setting}, {ONE}": place.peer(setting, MINUTES) for setting in SETTINGS}


def mp3(place: Place) -> Round:
    """One hour, MP3, 44.1 kHz, stereo: `detect`, and decoding, mixing and resampling alone."""
    path, seconds = place.sounds.get(STEREO), place.sounds.seconds
    parts = [decoding(path, *part) for part in place.parts]
    return {
        "audiocnn, speech_1d": place.of(STEREO),
        "decode and resample alone, shortest loop": timed(measure(decoding(path)), seconds),
        "decode and resample alone, Recording.blocks": timed(measure(module("detect_limits", "blocks", path)), seconds),
        f"decode and resample alone, {EACH}, a part each": timed(measure(*parts), seconds),
    }


def codecs(place: Place) -> Round:
    """One hour, 16 kHz, mono, as FLAC, Ogg Vorbis and Opus: `detect`, and decoding alone."""
    figures: Round = {}
    for name, said in ((FLAC, "FLAC"), (VORBIS, "Vorbis"), (OPUS, "Opus")):
        ours = f"{said}: audiocnn, speech_1d"
        figures[ours] = place.of(name)
        decode = measure(decoding(place.sounds.get(name)))
        figures[f"{said}: decode alone"] = timed(decode, place.sounds.seconds) | {"against": ours}
    return figures


def clips(place: Place) -> Round:
    """WAV clips of one second: whole processes. Silero VAD runs on the first ones; the rest is extrapolated."""
    folder, count = place.sounds.get(CLIP_FOLDER), place.sounds.clips
    found = place.sounds.folder / "clips.jsonl"
    ours = timed(place.detect(folder, output=found), count, FILES)
    with found.open(encoding="utf-8") as lines:
        done = sum(record["type"] == "file" and record["status"] == "ok" for record in map(json.loads, lines))
    found.unlink()
    if done != count:
        raise BenchmarkError(f"{folder}: {done} of {count} clips were done")
    return {"audiocnn, speech_1d": ours, f"Silero VAD, sequence, {ONE}": silero_clips(place, folder)}


def silero_clips(place: Place, folder: Path) -> Figure:
    """Silero VAD on the first clips, extrapolated: once loaded, every clip takes as long as these."""
    if reason := missing("sequence"):
        return {"missing": reason}
    count = min(SILERO_CLIPS, place.sounds.clips)
    some = place.sounds.folder / "some_clips"
    some.mkdir(exist_ok=True)
    for path in sorted(folder.iterdir())[:count]:
        (some / path.name).unlink(missing_ok=True)
        (some / path.name).hardlink_to(path)
    figure = measure(module("detect_peers", "sequence", some))
    seconds = figure["seconds"] + figure["inside"] * (place.sounds.clips / count - 1)
    return timed(figure | {"seconds": seconds}, place.sounds.clips, FILES)


def start(place: Place) -> Round:
    """From a cold start: a clip of ten seconds, and `--help`."""
    path = place.sounds.get(SECONDS)
    figures: Round = {
        "audiocnn detect, ten seconds": place.detect(path),
        "audiocnn --help": measure(audiocnn("--help")),
        "python, numpy and typer alone": measure(python("import numpy, typer")),
        "python alone": measure(python("")),
        f"Silero VAD, sequence, {ONE}": place.peer("sequence", SECONDS),
    }
    return {name: figure | {"unit": START} for name, figure in figures.items()}


def memory(place: Place) -> Round:
    """The peak memory of a whole process, for ten hours and for ten minutes."""
    hours = place.sounds.get(HOURS)
    try:
        figures = {"ten minutes": place.of(MINUTES), "ten hours": place.of(HOURS)}
    finally:
        hours.unlink()
    return {name: figure | {"unit": MEMORY} for name, figure in figures.items()}


def sliding(place: Place) -> Round:
    """One minute: the dense pass, and every window separately in batches, with the same engine and hop.

    The model has no padding: with a padded level norm, a separate window has its own level, not that of the half-minute
    around it.
    """
    path, figures = place.sounds.get(MINUTES), {}
    for model in (SLID,):
        seconds = min(SLIDING_SECONDS, place.sounds.seconds_of(MINUTES))
        figure = timed(place.work("sliding", model, path, seconds), seconds) | {"against": f"{model}, dense"}
        figures[f"{model}, dense"] = {**figure, "seconds": figure["dense_seconds"]}
        figures[f"{model}, sliding windows"] = figure
    return figures


def live(place: Place) -> Round:
    """A live stream: the time from the start of a voice until its onset is printed."""
    from audiocnn.model.model import DEFAULT_LIVE_MODEL, find_model
    from audiocnn.spec.describe import onset_latency

    model = find_model(DEFAULT_LIVE_MODEL)
    allowed = onset_latency(model.geometry, model.rule("speech").min_speech_seconds) + model.geometry.hop_seconds
    figure = measure(module("detect_live", model.name, place.data, LIVE_VOICES))
    told, voiced = figure["told"], figure["voiced"]
    delays = {
        ALLOWED: allowed,
        "after the onset that is told, median": statistics.median(told),
        LONGEST: max(told),
        f"after the first sound of the voice, median of {len(voiced)}": statistics.median(voiced),
    }
    return {name: {"seconds": seconds, "unit": START} for name, seconds in delays.items()}


def limits(place: Place) -> Round:
    """The same hour: the limits of the engine. Matrix products have as many multiply-adds as the network."""
    from audiocnn.model.model import find_model
    from audiocnn.spec.describe import describe

    path, seconds = place.sounds.get(HOUR), place.sounds.seconds
    figures: Round = {}
    for model in ("speech_1d", "speech_2d"):
        per_second = describe(find_model(model).spec).multiply_adds_per_second
        assert per_second is not None
        ours = f"audiocnn, {model}, warm"
        figures[ours] = timed(place.work("warm", model, path, 1), seconds)
        for shape in (SQUARE, THIN):
            figure = timed(place.work("product", per_second * seconds, *shape), seconds)
            name = f"{model}: product of {shape[0]} x {shape[1]} and {shape[1]} x {shape[2]}"
            figures[name] = figure | {"against": ours}
    figures["decode alone"] = timed(inside(measure(decoding(path))), seconds)
    return figures


@dataclass(frozen=True)
class Case:
    """A case with its function and its maximal number of runs."""

    name: str
    measure: Callable[[Place], Round]
    most_runs: int = 1000

    @property
    def title(self) -> str:
        """A description in one line."""
        return (self.measure.__doc__ or "").splitlines()[0].rstrip(".")


CASES = {
    case.name: case
    for case in (
        Case("start", start),
        Case("hour_1d", hour_1d),
        Case("warm", warm),
        Case("hour_2d", hour_2d),
        Case("mp3", mp3),
        Case("clips", clips),
        Case("sliding", sliding),
        Case("limits", limits),
        Case("silero", silero),
        Case("memory", memory, most_runs=2),
        Case("live", live, most_runs=1),
        Case("codecs", codecs, most_runs=2),
    )
}
