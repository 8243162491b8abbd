"""Recordings by label: which they are, and how answers are counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from audiocnn.data.writer import Item
from audiocnn.segments.segment import Annotation
from benchmarks import three_labels
from benchmarks.three_labels import Answer, Sorted


def write_table(folder: Path, name: str, rows: list[tuple[str, ...]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")


def test_recordings_are_those_of_dev_as_the_recipe_labels_them(tmp_path):
    for folder, source in (("data", "piano"), ("more", "drums")):
        rows = [("filename", "kind", "source", "split")]
        for name, kind, own, split in (
            ("voice.wav", "speech", "readers", "dev"),
            ("silent.wav", "speech", "readers", "dev"),
            ("tune.wav", "nonspeech", source, "dev"),
            ("hiss.wav", "nonspeech", "hiss", "dev"),
            ("other.wav", "nonspeech", "hiss", "train"),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            soundfile.write(tmp_path / folder / name, np.zeros(1600), 16000)
            rows.append((name, kind, own, split))
        write_table(tmp_path / folder, "recordings.tsv", rows)
        write_table(tmp_path / folder, "segments.tsv", [
            ("filename", "onset", "offset", "label"), ("voice.wav", "0.01", "0.05", "speech"),
        ])  # fmt: skip
    (tmp_path / "recipe.toml").write_text(
        """name = "three"
        spec = "speech_1d"
        [data]
        source = "data"
        recordings = "recordings.tsv"
        segments = "segments.tsv"
        split = "train"
        labels = ["speech", "music", "noise"]
        [[data.whole]]
        label = "music"
        where = { source = ["piano"] }
        [[data.whole]]
        label = "noise"
        where = { kind = ["nonspeech"] }
        [[data.more]]
        source = "more"
        recordings = "recordings.tsv"
        segments = "segments.tsv"
        whole = [{ label = "noise", where = { kind = ["nonspeech"] } }]
        """,
        encoding="utf-8",
    )
    found = [
        (one.path.name, one.label, one.folder, one.source)
        for one in three_labels.sorted_recordings(tmp_path / "recipe.toml")
    ]
    assert sorted(found) == [
        ("hiss.wav", "noise", "data", "hiss"),
        ("hiss.wav", "noise", "more", "hiss"),
        ("tune.wav", "music", "data", "piano"),
        ("tune.wav", "noise", "more", "drums"),
        ("voice.wav", "speech", "data", "readers"),
        ("voice.wav", "speech", "more", "readers"),
    ]


def test_what_is_marked_as_a_whole_comes_before_marked_speech():
    notes = (Annotation(0.0, 1.0, "speech"),)
    assert three_labels.label_of(Item(Path("a"), "a", annotated=True, annotations=notes)) == "speech"
    assert three_labels.label_of(Item(Path("a"), "a", annotated=True, annotations=notes, whole="music")) == "music"
    assert three_labels.label_of(Item(Path("a"), "a", annotated=True)) is None


def test_answers_are_counted_by_folder_and_by_source():
    def answer(label, folder, source, said):
        return Answer(Sorted(Path("x"), label, folder, source), said, {said: 0.9})

    answers = [
        answer("music", "data", "piano", "music"),
        answer("music", "data", "harp", "noise"),
        answer("music", "more", "piano", "music"),
        answer("noise", "data", "piano", "noise"),
    ]
    assert list(three_labels.rows_of(answers)) == [
        ["music", "all of `data`", "2", "1 = 50.0 %"],
        ["music", "all of `more`", "1", "1 = 100.0 %"],
        ["noise", "all of `data`", "1", "1 = 100.0 %"],
        ["music", "harp", "1", "0 = 0.0 %"],
        ["music", "piano", "2", "2 = 100.0 %"],
        ["noise", "piano", "1", "1 = 100.0 %"],
    ]


def test_recordings_are_classified_as_the_command_does(tmp_path):
    times = np.arange(32000) / 16000
    soundfile.write(tmp_path / "hiss.wav", np.random.default_rng(0).normal(0, 0.1, 32000), 16000)
    soundfile.write(tmp_path / "tone.wav", 0.3 * np.sin(2 * np.pi * 440 * times), 16000)
    asked = [Sorted(tmp_path / name, "noise", "data", "made") for name in ("hiss.wav", "tone.wav")]
    answers = list(three_labels.answers_of("speech_music_noise", asked))
    assert [one.asked for one in answers] == asked
    assert answers[0].said == "noise"
    assert answers[0].right
    for one in answers:
        assert set(one.scores) == {"speech", "music", "noise"}
        assert one.said == max(one.scores, key=one.scores.get)
