"""Clips without a segment, counted for detectors whose answer is known."""

from __future__ import annotations

import numpy as np
import soundfile

from audiocnn.evaluation.annotated import Scorer
from audiocnn.segments.finder import SegmentRule
from benchmarks import missed_clips


def loud(samples):
    """1 where 10 ms reach 0.1."""
    return (np.abs(samples[0].reshape(-1, 160)).max(axis=1, keepdims=True) > 0.1).astype(np.float32)


def test_clips_without_a_segment_are_counted_by_kind(tmp_path):
    paths = []
    for number, (level, seconds) in enumerate([(0.2, 1.0), (0.2, 0.1), (0.05, 1.0), (0.3, 0.5)]):
        samples = np.zeros(16000, np.float32)
        samples[: round(16000 * seconds)] = level
        paths.append(tmp_path / f"{number}.wav")
        soundfile.write(paths[-1], samples, 16000)
    both = Scorer(lambda samples: np.repeat(loud(samples), 2, axis=1), 16000, 0.01, ("noise", "speech"), {})
    clips = {"all": paths, "first": paths[:1], "none": []}
    rule = SegmentRule(0.5, min_speech_seconds=0.25)
    assert missed_clips.missed_cells(both, rule, clips) == ["50.0", "0.0", "0.0"]
    assert missed_clips.false_cells(both, rule, clips) == ["2 = 50.0 %", "1 = 100.0 %", "0 = 0.0 %"]


def test_kinds_are_those_of_the_tables(monkeypatch, tmp_path):
    for folder, kinds in (("data", ("commands", "digits", "nonspeech")), ("more", ("speech", "nonspeech"))):
        rows = ["filename\tkind\tsource\tsplit"]
        for kind in kinds:
            for split in ("train", "dev"):
                name = f"{kind}-{split}.wav"
                (tmp_path / folder).mkdir(exist_ok=True)
                soundfile.write(tmp_path / folder / name, np.zeros(1600), 16000)
                rows.append(f"{name}\t{kind}\tsource-{kind}\t{split}")
        (tmp_path / folder / "recordings.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "hidden.tsv").write_text(
        "filename\tonset\toffset\tevent_label\nnonspeech-dev.wav\t0.01\t0.05\tunsure\n"
    )
    monkeypatch.setattr(missed_clips, "SHARED", tmp_path)
    monkeypatch.setattr(missed_clips, "HIDDEN", tmp_path / "hidden.tsv")
    assert {kind: [path.name for path in paths] for kind, paths in missed_clips.clips_of()} == {
        "commands": ["commands-dev.wav"],
        "digits": ["digits-dev.wav"],
        "more": ["speech-dev.wav"],
        "source-speech": ["speech-dev.wav"],
    }
    assert {kind: [path.parent.name for path in paths] for kind, paths in missed_clips.clips_without()} == {
        "nonspeech": ["data"],
        "of these silent for sure": [],
        "more": ["more"],
    }
