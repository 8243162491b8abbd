"""Clips that hold a voice for sure, and get no segment: words, digits, and the voices of ../shared/more, of `dev`.

    python -m benchmarks.missed_clips -m speech_1d -m runs/speech_1d --against silero,firered

Every detector answers as it does without options; of a model with operating points all three are counted. Prints a
Markdown table: of each kind how many clips there are, and how many of them have no segment, in %.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from audiocnn.audio.recording import read_samples
from audiocnn.data.sources import read_source
from audiocnn.data.sources.settings import DataSettings
from audiocnn.data.writer import Item
from audiocnn.errors import AudiocnnError
from audiocnn.evaluation.annotated import Scorer
from audiocnn.evaluation.peers import load_peer
from audiocnn.evaluation.segments import JudgedRecording, detect_intervals
from audiocnn.inference.engine import load_engine
from audiocnn.model.model import SENSITIVITIES, find_model
from audiocnn.segments.finder import SegmentRule
from benchmarks.levels import LABEL, scorer_of
from benchmarks.measuring import ROOT

SHARED = ROOT.parent / "shared"
SAMPLE_RATE = 16000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("-m", "--model", action="append", default=[], help="a model or a run; may be repeated")
    parser.add_argument("--against", default="", help="other detectors: silero,firered")
    given = parser.parse_args(arguments)
    try:
        clips = dict(clips_of())
        rows: list[list[str]] = []
        for name in given.model or ([] if given.against else ["speech_1d"]):
            rows += model_rows(name, clips)
        for name in given.against.split(",") if given.against else ():
            scorer = load_peer(name).scorer()
            rows.append([name, *cells_of(scorer, scorer.rules[LABEL], clips)])
    except AudiocnnError as problem:
        print(f"missed clips: {problem}", file=sys.stderr)
        return 2
    print(f"| without a segment, % | {' | '.join(f'{kind} ({len(paths)})' for kind, paths in clips.items())} |")
    print(f"|---|{'---:|' * len(clips)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    return 0


def clips_of() -> Iterator[tuple[str, list[Path]]]:
    """The files of each kind."""
    for kind in ("commands", "digits"):
        yield kind, [Path(str(item.path)) for item in _items(SHARED / "data", kind)]
    voices = _items(SHARED / "more", "speech")
    yield "more", [Path(str(item.path)) for item in voices]
    for source in sorted({item.tags["source"] for item in voices}):
        yield source, [Path(str(item.path)) for item in voices if item.tags["source"] == source]


def _items(folder: Path, kind: str) -> Sequence[Item]:
    table = folder / "recordings.tsv"
    return read_source(DataSettings(folder, table, keep={"kind": (kind,)}, split="dev", label="kind")).items


def model_rows(name: str, clips: Mapping[str, Sequence[Path]]) -> Iterator[list[str]]:
    """A row for the rule that the model uses by itself, and for each of its other operating points."""
    model, scorer = load_engine(find_model(name), "cpu", None).model, scorer_of(name)
    yield [name, *cells_of(scorer, scorer.rules[LABEL], clips)]
    for sensitivity in SENSITIVITIES[1:] if model.points.get(LABEL) else ():
        yield [f"{name}, {sensitivity}", *cells_of(scorer, model.rule(LABEL, sensitivity), clips)]


def cells_of(scorer: Scorer, rule: SegmentRule, clips: Mapping[str, Sequence[Path]]) -> list[str]:
    """Of each kind the share of clips without a segment, in %."""
    paths = {path for of_kind in clips.values() for path in of_kind}
    missed = {path for path in paths if not is_heard(scorer, rule, path)}
    return [f"{100 * sum(path in missed for path in of_kind) / max(1, len(of_kind)):.1f}" for of_kind in clips.values()]


def is_heard(scorer: Scorer, rule: SegmentRule, path: Path) -> bool:
    """Whether a detector finds a segment in a file."""
    samples, _ = read_samples(path, SAMPLE_RATE)
    scores = scorer.score(samples)[:, list(scorer.labels).index(LABEL)]
    seconds = samples.shape[1] / SAMPLE_RATE
    one = JudgedRecording(path.name, scores, scorer.hop_seconds, seconds, [], find=scorer.find)
    return len(detect_intervals(one, LABEL, rule)) > 0


if __name__ == "__main__":
    sys.exit(main())
