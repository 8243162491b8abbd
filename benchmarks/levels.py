"""A detector at other levels: seconds found in voices, and AUROC of voices, mixtures and meetings, at each gain.

    python -m benchmarks.levels -m speech_1d -m runs/speech_1d --against silero,firered

The voices are those of the `dev` part with the labels of data/marks/data.tsv; by default every eighth of them
(--every). The mixtures are those with noise at 5 dB in part `dev` of data/recipes/speech_conditions.toml, kept in --set
for later runs. Gains are applied in float, without rounding or clipping. Prints a Markdown table: seconds found, their
change from 0 dB, and AUROC of 10 ms frames.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.recording import read_samples
from audiocnn.data.dataset import Dataset
from audiocnn.data.ingest import IngestSettings, cached_dataset
from audiocnn.data.sources import SourceItems, read_source
from audiocnn.data.sources.settings import DataSettings
from audiocnn.errors import AudiocnnError
from audiocnn.evaluation.annotated import Scorer
from audiocnn.evaluation.conditions import read_conditions
from audiocnn.evaluation.peers import load_peer
from audiocnn.evaluation.results import EvaluationSettings
from audiocnn.evaluation.segments import JudgedRecording, detect_intervals, evaluate_scores
from audiocnn.evaluation.testset import make_set
from audiocnn.inference.engine import load_engine
from audiocnn.model.model import find_model
from audiocnn.segments.segment import Annotation
from benchmarks.measuring import ROOT

DATA = ROOT.parent / "shared" / "data"
GAINS_DB = (0, -20, -30, -40, -50, 15)
LABEL = "speech"
UNSURE = "unsure"
SAMPLE_RATE = 16000
CONDITIONS, PART, MIXTURES = ROOT / "data/recipes/speech_conditions.toml", "dev", "noise_5db"
VOICES = DataSettings(
    DATA, DATA / "recordings.tsv", ROOT / "data/marks/data.tsv", {"kind": ("speech",)}, split="dev", unsure=UNSURE
)


@dataclass(frozen=True)
class Sound:
    """A recording in memory: samples (1, n) at 16 kHz, and its true segments."""

    name: str
    samples: NDArray[np.float32]
    notes: list[Annotation]
    unsure: list[tuple[float, float]]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("-m", "--model", action="append", default=[], help="a model or a run; may be repeated")
    parser.add_argument("--against", default="", help="other detectors: silero,firered")
    parser.add_argument("--every", type=int, default=8, help="use every N-th voice")
    parser.add_argument("--set", type=Path, help="folder for the mixtures")
    given = parser.parse_args(arguments)
    try:
        scorers = [(name, scorer_of(name)) for name in given.model or ([] if given.against else ["speech_1d"])]
        scorers += [(name, load_peer(name).scorer()) for name in given.against.split(",") if name]
        sets = [sounds_of(read_source(VOICES), given.every)]
        with tempfile.TemporaryDirectory(prefix="audiocnn-") as folder:
            sets.append(mixtures_in(given.set or Path(folder)))
        sets.append(sounds_of(read_source(DATA / "meetings")))
    except AudiocnnError as problem:
        print(f"levels: {problem}", file=sys.stderr)
        return 2
    print("| detector | gain, dB | seconds found | against 0 dB | AUROC of voices | of mixtures | of meetings |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, scorer in scorers:
        for cells in level_rows(scorer, sets):
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return 0


def scorer_of(name: str) -> Scorer:
    engine = load_engine(find_model(name), "cpu", None)
    labels = engine.model.labels
    rules = {label: engine.model.rule(label) for label in labels}
    return Scorer(engine.score, engine.geometry.sample_rate, engine.hop_seconds, labels, rules)


def sounds_of(source: SourceItems, every: int = 1) -> list[Sound]:
    found = []
    for item in source.items[::every]:
        samples, _ = read_samples(Path(str(item.path)), SAMPLE_RATE)
        notes = [note for note in item.annotations if note.label == LABEL]
        unsure = [(note.onset, note.offset) for note in item.annotations if note.label == UNSURE]
        found.append(Sound(item.filename, samples, notes, unsure))
    return found


def set_in(folder: Path, part: str, name: str | None = None) -> Dataset:
    """The recordings of a part of the conditions, or of one condition, made in `folder` unless they exist."""
    conditions = read_conditions(CONDITIONS)
    source = dataclasses.replace(conditions.data, split=conditions.part(part).split)
    dataset = cached_dataset(source, folder / "recordings", IngestSettings(sample_rate=SAMPLE_RATE))
    chosen = tuple(one for one in conditions.conditions if name in (None, one.name))
    return make_set(dataclasses.replace(conditions, conditions=chosen), dataset, part, folder / "set")


def mixtures_in(folder: Path, name: str = MIXTURES) -> list[Sound]:
    """The mixtures of a condition, made in `folder` unless they exist."""
    made = set_in(folder, PART, name)
    found = []
    for entry in made.entries:
        notes, samples = made.annotations(entry), made.waveform(entry)
        unsure = [(note.onset, note.offset) for note in notes if note.label == made.unsure]
        found.append(Sound(entry.filename, samples, [note for note in notes if note.label == LABEL], unsure))
    return found


def level_rows(scorer: Scorer, sets: Sequence[Sequence[Sound]]) -> Iterator[list[str]]:
    """The cells for each gain: seconds found in the first set, their change, AUROC of each set."""
    before = 0.0
    for gain_db in GAINS_DB:
        found = [found_at(scorer, sounds, gain_db) for sounds in sets]
        seconds = found[0][0]
        before = before or seconds
        change = f"{100 * (seconds / before - 1):+.1f} %" if before else "-"
        yield [f"{gain_db:+d}", f"{seconds:.1f}", change, *(f"{area:.4f}" for _, area in found)]


def found_at(scorer: Scorer, sounds: Sequence[Sound], gain_db: float) -> tuple[float, float]:
    """Total length of the segments found in sounds with this gain, in seconds, and AUROC."""
    column, rule = list(scorer.labels).index(LABEL), scorer.rules[LABEL]
    judged, seconds = [], 0.0
    for sound in sounds:
        scores = scorer.score(sound.samples * np.float32(10 ** (gain_db / 20)))[:, column]
        duration = sound.samples.shape[1] / scorer.sample_rate
        one = JudgedRecording(sound.name, scores, scorer.hop_seconds, duration, sound.notes, find=scorer.find)
        seconds += sum(end - start for start, end in detect_intervals(one, LABEL, rule))
        judged.append(
            JudgedRecording(
                sound.name, scores[:, None], scorer.hop_seconds, duration, sound.notes, find=scorer.find,
                unsure=sound.unsure,
            )
        )  # fmt: skip
    settings = EvaluationSettings(resamples=0, smoothing_seconds=())
    area = evaluate_scores(judged, [LABEL], {LABEL: rule}, settings).labels[LABEL].figures["auroc"].value
    return seconds, float("nan") if area is None else area


if __name__ == "__main__":
    sys.exit(main())
