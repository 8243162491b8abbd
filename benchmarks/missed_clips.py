"""Counts clips of `dev` that certainly contain a voice but get no segment (words, digits and the voices of
../shared/more), and clips without a voice that get one.

    python -m benchmarks.missed_clips -m speech_1d -m runs/speech_1d --against silero,firered

Every detector runs with its default settings; for a model with operating points, all three are counted. Prints two
Markdown tables by kind of clips: the percentage of clips with a voice that have no segment, and the number of clips
without a voice that have one. In some nearly silent clips of the latter, either judge of data/marks detects a voice if
the level is raised (`python -m benchmarks.marks --hidden-alone`). They are counted both among all clips and separately.
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
from audiocnn.labels.formats.dcase import Dcase
from audiocnn.model.model import SENSITIVITIES, find_model
from audiocnn.segments.finder import SegmentRule
from benchmarks.levels import LABEL, scorer_of
from benchmarks.measuring import ROOT

SHARED, HIDDEN = ROOT.parent / "shared", ROOT / "data/marks/hidden_dev.tsv"
SAMPLE_RATE = 16000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("-m", "--model", action="append", default=[], help="a model or a run; may be repeated")
    parser.add_argument("--against", default="", help="other detectors: silero,firered")
    given = parser.parse_args(arguments)
    try:
        voices, others = dict(clips_of()), dict(clips_without())
        rules = [row for name in given.model or ([] if given.against else ["speech_1d"]) for row in rules_of(name)]
        for name in given.against.split(",") if given.against else ():
            scorer = load_peer(name).scorer()
            rules.append((name, scorer, scorer.rules[LABEL]))
        for head, clips, cells in (("without a segment, %", voices, missed_cells), ("with one", others, false_cells)):
            print(f"| {head} | {' | '.join(f'{kind} ({len(paths)})' for kind, paths in clips.items())} |")
            print(f"|---|{'---:|' * len(clips)}")
            for name, scorer, rule in rules:
                print(f"| {name} | {' | '.join(cells(scorer, rule, clips))} |", flush=True)
            print()
    except AudiocnnError as problem:
        print(f"missed clips: {problem}", file=sys.stderr)
        return 2
    return 0


def clips_of() -> Iterator[tuple[str, list[Path]]]:
    """The files of each kind."""
    for kind in ("commands", "digits"):
        yield kind, [Path(str(item.path)) for item in _items(SHARED / "data", kind)]
    voices = _items(SHARED / "more", "speech")
    yield "more", [Path(str(item.path)) for item in voices]
    for source in sorted({item.tags["source"] for item in voices}):
        yield source, [Path(str(item.path)) for item in voices if item.tags["source"] == source]


def clips_without() -> Iterator[tuple[str, list[Path]]]:
    """The files of each kind without a voice."""
    data, more = _items(SHARED / "data", "nonspeech"), _items(SHARED / "more", "nonspeech")
    hidden = Dcase.read_annotations(HIDDEN).keys()
    yield "nonspeech", [Path(str(item.path)) for item in data]
    yield "of these silent for sure", [Path(str(item.path)) for item in data if item.filename not in hidden]
    yield "more", [Path(str(item.path)) for item in more]


def _items(folder: Path, kind: str) -> Sequence[Item]:
    table = folder / "recordings.tsv"
    return read_source(DataSettings(folder, table, keep={"kind": (kind,)}, split="dev", label="kind")).items


def rules_of(name: str) -> Iterator[tuple[str, Scorer, SegmentRule]]:
    """The default rule of a model, and those of its other operating points."""
    model, scorer = find_model(name), scorer_of(name)
    yield name, scorer, scorer.rules[LABEL]
    for sensitivity in SENSITIVITIES[1:] if model.points.get(LABEL) else ():
        yield f"{name}, {sensitivity}", scorer, model.rule(LABEL, sensitivity)


def missed_cells(scorer: Scorer, rule: SegmentRule, clips: Mapping[str, Sequence[Path]]) -> list[str]:
    """The percentage of clips without a segment, by kind."""
    heard = heard_among(scorer, rule, clips)
    return [f"{100 * sum(path not in heard for path in own) / max(1, len(own)):.1f}" for own in clips.values()]


def false_cells(scorer: Scorer, rule: SegmentRule, clips: Mapping[str, Sequence[Path]]) -> list[str]:
    """The number and share of clips with a segment, by kind."""
    heard = heard_among(scorer, rule, clips)
    counts = [sum(path in heard for path in own) for own in clips.values()]
    shares = [100 * count / max(1, len(own)) for count, own in zip(counts, clips.values(), strict=True)]
    return [f"{count} = {share:.1f} %" for count, share in zip(counts, shares, strict=True)]


def heard_among(scorer: Scorer, rule: SegmentRule, clips: Mapping[str, Sequence[Path]]) -> set[Path]:
    """The clips of all kinds in which a detector finds a segment."""
    return {path for path in {path for own in clips.values() for path in own} if is_heard(scorer, rule, path)}


def is_heard(scorer: Scorer, rule: SegmentRule, path: Path) -> bool:
    """Whether a detector finds a segment in a file."""
    return len(detect_intervals(clip_scores(scorer, path), LABEL, rule)) > 0


def clip_scores(scorer: Scorer, path: Path) -> JudgedRecording:
    """A file with the scores of the label, (rows,)."""
    samples, _ = read_samples(path, SAMPLE_RATE)
    scores = scorer.score(samples)[:, list(scorer.labels).index(LABEL)]
    return JudgedRecording(path.name, scores, scorer.hop_seconds, samples.shape[1] / SAMPLE_RATE, [], find=scorer.find)


if __name__ == "__main__":
    sys.exit(main())
