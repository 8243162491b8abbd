"""Mixtures of synthetic voices and synthetic noise, with segments that are true by construction.

A mixture is made from a seeded generator and from nothing else: the same seed gives the same bytes (with the
same espeak-ng, numpy and soxr). It says where speech is without anybody having listened:

- Each utterance is rendered alone by espeak-ng, without noise, and resampled. Its *active* frames (5 ms) are
  those whose power is within 40 dB of its loudest frame. A segment begins with the first active frame
  and ends with the last one. Silence of 0.3 s or more inside an utterance splits it; shorter silence
  (a stop, a comma) belongs to the segment. Utterances are 0.4 s or more apart and never overlap.
- The clean utterance is then placed at a known sample, and the noise is added.
- The SNR is the mean power of the clean speech inside all segments over the mean power of the noise
  over the whole mixture, in dB. Every utterance is scaled to the same mean power inside its segments.
- No reverberation: it would make every offset a matter of opinion.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from audiocnn.errors import AudiocnnError
from audiocnn.segments.segment import Annotation
from data.samples.noises import BEDS, EVENTS, Samples, with_unit_power
from data.samples.texts import TEXTS

FRAME_SECONDS = 0.005
ACTIVE_RANGE_DB = 40.0
SPLIT_SECONDS = 0.3
CROSSFADE_SECONDS = 0.3
PEAK = 0.95

ACCENTS = {
    "en": ("en-gb", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-us-nyc"),
    "es": ("es", "es-419"),
}
"""Languages that espeak-ng speaks in several ways; the others have one voice, named as the language."""

VARIANTS = (
    *("m1", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "klatt", "klatt2", "klatt3", "Alex", "Andrea", "Andy"),
    *(
        "Annie",
        "Denis",
        "Gene",
        "Jacky",
        "Lee",
        "Mario",
        "Michael",
        "Mike",
        "adam",
        "anika",
        "aunty",
        "belinda",
    ),
    *(
        "boris",
        "david",
        "ed",
        "grandma",
        "grandpa",
        "john",
        "linda",
        "max",
        "paul",
        "quincy",
        "rob",
        "shelby",
    ),
    *("steph", "steph2", "steph3", "travis", "victor", "zac"),
)
"""Speakers of espeak-ng that sound like people: no whisper, no robot, no echo."""


@dataclass(frozen=True)
class MixtureRule:
    """How a mixture is made. Without `noises`, one or two kinds are drawn, and sometimes events over them."""

    duration_seconds: float
    snr_db: float
    sample_rate: int = 16000
    channels: int = 1
    level_db: float = -26.0
    """Power of the speech inside its segments (without speech: of the noise), in dB to full scale."""
    gap_seconds: tuple[float, float] = (0.4, 1.6)
    """Silence before, between and after utterances: the least, and the most that is drawn."""
    noises: tuple[str, ...] = ()
    """Kinds in the order in which they follow each other; "fan+beeps" is both at once."""
    languages: tuple[str, ...] = tuple(TEXTS)
    speaks: bool = True


@dataclass(frozen=True)
class Utterance:
    """What one voice says."""

    text: str
    voice: str
    words_per_minute: int
    pitch: int

    @property
    def variant(self) -> str:
        """The speaker, whatever the language."""
        return self.voice.partition("+")[2]


@dataclass(frozen=True)
class Mixture:
    """`samples`: float32 (channels, samples) in [-1, 1]; `speech` is its clean part; times in seconds."""

    samples: NDArray[np.float32]
    sample_rate: int
    segments: tuple[Annotation, ...]
    speech: NDArray[np.float32]
    utterances: tuple[Utterance, ...]


class SynthesizerError(AudiocnnError):
    """espeak-ng is missing or refuses."""


def find_espeak() -> str:
    """The path of the synthesizer, or one line that says how to get it."""
    path = shutil.which("espeak-ng")
    if path is None:
        raise SynthesizerError("espeak-ng: not found on the PATH; install it (Debian: apt-get install espeak-ng)")
    return path


def espeak_version() -> str:
    """Such as "1.51". Another version may speak a little differently."""
    said = subprocess.run([find_espeak(), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+(\.\d+)+", said)
    return found.group() if found else said.strip()


def draw_utterance(rng: np.random.Generator, languages: tuple[str, ...]) -> Utterance:
    """A text, a speaker, a speed and a pitch, each drawn evenly; a language as often as it has texts."""
    texts = [(language, text) for language in languages for text in TEXTS[language]]
    language, text = texts[rng.integers(len(texts))]
    accents = ACCENTS.get(language, (language,))
    voice = f"{accents[rng.integers(len(accents))]}+{VARIANTS[rng.integers(len(VARIANTS))]}"
    return Utterance(text, voice, int(rng.integers(130, 200)), int(rng.integers(25, 75)))


def speak(utterance: Utterance, sample_rate: int) -> Samples:
    """The clean utterance, float64 (samples,) at `sample_rate`, with some silence around it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "utterance.wav"
        voice = ["-v", utterance.voice, "-s", str(utterance.words_per_minute), "-p", str(utterance.pitch)]
        command = [find_espeak(), *voice, "-b", "1", "-w", str(path), utterance.text]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not path.exists():
            raise SynthesizerError(f"espeak-ng {utterance.voice}: {done.stderr.strip() or 'no sound'}; see --voices")
        samples, rendered_rate = soundfile.read(path, dtype="float64")
    return np.asarray(soxr.resample(samples, rendered_rate, sample_rate, quality="VHQ"), np.float64)


def find_true_segments(clean: Samples, sample_rate: int) -> list[tuple[int, int]]:
    """(start, end) in samples of the speech in a clean recording (samples,), by the rule above."""
    frame = round(FRAME_SECONDS * sample_rate)
    power = np.mean(np.square(clean[: clean.size // frame * frame].reshape(-1, frame)), axis=1)
    if not power.size or power.max() <= 0:
        return []
    active = np.flatnonzero(power >= power.max() * 10 ** (-ACTIVE_RANGE_DB / 10))
    splits = np.flatnonzero(np.diff(active) - 1 >= round(SPLIT_SECONDS / FRAME_SECONDS))
    starts = active[np.concatenate([[0], splits + 1])]
    ends = active[np.concatenate([splits, [active.size - 1]])] + 1
    return [(int(start) * frame, int(end) * frame) for start, end in zip(starts, ends, strict=True)]


def make_noise(rng: np.random.Generator, length: int, rule: MixtureRule) -> Samples:
    """(samples,) with mean power 1: the kinds of the rule one after another, crossfaded."""
    kinds = rule.noises or _draw_kinds(rng)
    fade = round(CROSSFADE_SECONDS * rule.sample_rate)
    borders = np.linspace(0, length, len(kinds) + 1).astype(int)
    noise = np.zeros(length)
    for index, kind in enumerate(kinds):
        start, end = max(0, borders[index] - fade // 2), min(length, borders[index + 1] + fade // 2)
        part = sum((BEDS | EVENTS)[name](rng, end - start, rule.sample_rate) for name in kind.split("+"))
        part = with_unit_power(np.asarray(part)) * 10 ** (rng.uniform(-2, 2) / 20)
        ramp = np.sqrt(np.minimum(1.0, np.arange(end - start) / fade))
        noise[start:end] += part * (ramp if start else 1.0) * (ramp[::-1] if end < length else 1.0)
    return with_unit_power(noise)


def _draw_kinds(rng: np.random.Generator) -> tuple[str, ...]:
    """One or two beds, each with events over it half of the time."""
    beds = rng.choice(list(BEDS), size=int(rng.integers(1, 3)), replace=False)
    return tuple(str(bed) + (f"+{rng.choice(list(EVENTS))}" if rng.random() < 0.5 else "") for bed in beds)


def render_mixture(rng: np.random.Generator, rule: MixtureRule) -> Mixture:
    """One mixture. As many utterances as fit between the gaps of the rule; with `speaks`, at least one."""
    length = round(rule.duration_seconds * rule.sample_rate)
    speech = np.zeros((rule.channels, length))
    spans: list[tuple[int, int]] = []
    utterances = _place_utterances(rng, rule, speech, spans) if rule.speaks else []
    noise = np.stack([make_noise(rng, length, rule) for _ in range(rule.channels)])
    level = 10 ** (rule.level_db / 10)
    if spans:
        inside = np.concatenate([speech[:, start:end] for start, end in spans], axis=1)
        speech *= np.sqrt(level / np.mean(np.square(inside)))
        level *= 10 ** (-rule.snr_db / 10)
    mixed = speech + np.sqrt(level) * noise
    scale = min(1.0, PEAK / float(np.abs(mixed).max()))
    rate = rule.sample_rate
    return Mixture(
        samples=(scale * mixed).astype(np.float32),
        sample_rate=rate,
        segments=tuple(Annotation(start / rate, end / rate, "speech") for start, end in spans),
        speech=(scale * speech).astype(np.float32),
        utterances=tuple(utterances),
    )


def _place_utterances(
    rng: np.random.Generator, rule: MixtureRule, speech: Samples, spans: list[tuple[int, int]]
) -> list[Utterance]:
    """Adds utterances to `speech` (channels, samples) and their segments to `spans`, in samples."""
    least_gap = round(rule.gap_seconds[0] * rule.sample_rate)
    placed: list[Utterance] = []
    begin = round(rng.uniform(*rule.gap_seconds) * rule.sample_rate)
    refused = 0
    while refused < 20:
        utterance = draw_utterance(rng, rule.languages)
        heard = any(utterance.text == other.text or utterance.variant == other.variant for other in placed)
        clean = speak(utterance, rule.sample_rate)
        found = find_true_segments(clean, rule.sample_rate)
        if heard or not found or begin + found[-1][1] - found[0][0] + least_gap > speech.shape[1]:
            refused += 1
            continue
        first, last = found[0][0], found[-1][1]
        power = np.mean(np.square(np.concatenate([clean[start:end] for start, end in found])))
        angle = rng.uniform(0.15, 0.85) * np.pi / 2
        pan = np.array([[np.cos(angle)], [np.sin(angle)]]) if rule.channels == 2 else np.ones((rule.channels, 1))
        speech[:, begin : begin + last - first] += pan * clean[first:last] / np.sqrt(power)
        spans.extend((begin + start - first, begin + end - first) for start, end in found)
        placed.append(utterance)
        begin += last - first + round(rng.uniform(*rule.gap_seconds) * rule.sample_rate)
    if not placed:
        raise SynthesizerError(f"no utterance fits into {rule.duration_seconds:g} s; ask for a longer mixture")
    return placed
