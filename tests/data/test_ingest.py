"""Ingest: what changed and only that, in a dataset that equals what was written."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from corpora import brief, counts, run, said, same_dataset, seed_of, text
from sounds import noise, sine, write

from audiocnn.data import decode, features, writer
from audiocnn.data.dataset import Dataset
from audiocnn.data.features import layout_of
from audiocnn.data.ingest import IngestStep, cached_dataset, fit_annotations, ingest
from audiocnn.data.shards import ShardWriter
from audiocnn.data.sources.settings import data_settings
from audiocnn.errors import DatasetError, SpecError
from audiocnn.model.frontend import FrontEnd
from audiocnn.model.model import spec_folders
from audiocnn.segments.segment import Annotation
from audiocnn.spec.spec import find_spec, spec_at_rate

# Annotations and the end of the recording


@pytest.mark.parametrize(
    ("onset", "offset", "good", "message"),
    [
        (0.5, 2.0, (0.5, 2.0), None),
        (0.5, 2.004, (0.5, 2.0), None),
        (0.5, 2.04, (0.5, 2.0), r'annotation "x" 0\.5 to 2\.04 s: cut to 0\.5 to 2 s, the extent of the recording'),
        (-0.04, 0.5, (0.0, 0.5), r"cut to 0 to 0\.5 s"),
        (0.5, 2.06, None, r"after the end of the recording at 2\.000 s; check that the times are in seconds"),
        (2.0, 2.01, None, r"after the end"),
        (500, 1500, None, r"after the end"),
        (-0.06, 0.5, None, r"begins before the recording; correct the times"),
        (-0.04, -0.01, None, r"begins before the recording"),
        (0.5, 0.5, None, r"ends before it begins; correct the times"),
        (1.5, 0.5, None, r"ends before it begins"),
        (float("nan"), 0.5, None, r'annotation "x" nan to 0\.5 s: a time is not a finite number; correct it'),
        (0.5, float("inf"), None, r"a time is not a finite number"),
    ],
)
def test_annotations_must_fit(
    onset: float, offset: float, good: tuple[float, float] | None, message: str | None
) -> None:
    kept, bad, notes = fit_annotations([Annotation(onset, offset, "x"), Annotation(0, 1, "y")], 2.0)
    assert kept == ((Annotation(*good, "x"),) if good else ()) + (Annotation(0, 1, "y"),)
    assert (len(bad), len(notes)) == (int(good is None), int(good is not None and message is not None))
    if message is not None:
        with pytest.raises(ValueError, match=message):
            raise ValueError((bad + notes)[0])


def test_annotations_that_do_not_fit_are_listed_again_and_again(corpus: Path, tmp_path: Path) -> None:
    lines = [
        "filename,label,onset,offset",
        "dog/0.wav,bark,0.5,0.75",
        "dog/0.wav,bark,0.5,3.5",
        "dog/1.wav,bark,0.5,1.04",
    ]
    table = text(corpus / "a.csv", *lines)
    for _ in range(2):
        steps = run(table, tmp_path / "ds")
        dataset = Dataset.open(tmp_path / "ds")
        assert brief(dataset) == {"dog/0.wav": [(0.5, 0.75, "bark")], "dog/1.wav": [(0.5, 1.0, "bark")]}
        why = (
            'annotation "bark" 0.5 to 3.5 s: after the end of the recording at 1.000 s; '
            "check that the times are in seconds"
        )
        assert dataset.refused == [("dog/0.wav", why)]
        assert steps[0].notes == (why,)
        assert "cut to 0.5 to 1 s" in steps[1].notes[0]
        assert not any(step.reason for step in steps)


# What changed, and only that


def test_only_what_changed_is_taken(corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "ds"
    assert counts(run(corpus, output)) == {"added": 10}
    first = Dataset.open(output)
    assert counts(run(corpus, output)) == {"kept": 10}
    assert said(Dataset.open(output)) == said(first)
    write(corpus / "dog/1.wav", noise(2, 16000, 99), 16000)
    write(corpus / "dog/9.wav", noise(1, 16000, 98), 16000)
    (corpus / "cat/0.flac").unlink()
    steps = run(corpus, output)
    assert counts(steps) == {"kept": 8, "updated": 1, "added": 1, "removed": 1}
    assert {step.filename for step in steps if step.outcome == "removed"} == {"cat/0.flac"}
    dataset = Dataset.open(output)
    run(corpus, tmp_path / "straight")
    assert said(dataset) == said(Dataset.open(tmp_path / "straight"))
    changed = next(e for e in dataset.entries if e.filename == "dog/1.wav")
    assert np.array_equal(dataset.samples(changed), noise(2, 16000, 99)[None])
    (corpus / "dog").rename(corpus / "wolf")
    assert counts(run(corpus, output)) == {"kept": 4, "added": 6, "removed": 6}
    assert Dataset.open(output).labels == ("cat", "wolf")
    moved = corpus.rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=r"ds: also contains .*corpus; name that source too, .* with --force"):
        run(moved, output)
    assert counts(run(moved, output, replace=True)) == {"updated": 10}, "the samples are the same"
    assert counts(run(moved, output)) == {"kept": 10}


def test_a_recording_that_goes_bad_leaves_and_comes_back(corpus: Path, tmp_path: Path) -> None:
    run(corpus, tmp_path / "ds")
    good = (corpus / "dog/0.wav").read_bytes()
    (corpus / "dog/0.wav").write_bytes(b"")
    for _ in range(2):
        assert counts(run(corpus, tmp_path / "ds")) == {"kept": 9, "refused": 1}
        assert len(Dataset.open(tmp_path / "ds").entries) == 9
    (corpus / "dog/0.wav").write_bytes(good)
    assert counts(run(corpus, tmp_path / "ds")) == {"kept": 9, "added": 1}
    assert Dataset.open(tmp_path / "ds").refused == []


def test_changed_labels_do_not_decode_again(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = text(corpus / "a.csv", "filename,label,onset,offset", "dog/0.wav,bark,0,0.5", "dog/1.wav,bark,0,0.5")
    run(table, tmp_path / "ds")
    monkeypatch.setattr(decode, "open_recording", lambda path: pytest.fail(f"{path} is decoded again"))
    text(table, "filename,label,onset,offset", "dog/0.wav,bark,0,0.75", "dog/1.wav,bark,0,0.5")
    assert counts(run(table, tmp_path / "ds")) == {"updated": 1, "kept": 1}
    assert brief(Dataset.open(tmp_path / "ds"))["dog/0.wav"] == [(0, 0.75, "bark")]


def test_nothing_at_all_could_be_taken(tmp_path: Path) -> None:
    text(tmp_path / "corpus/dog/a.wav", "no audio")
    with pytest.raises(
        DatasetError, match=r"no recording could be read; the last error was: dog/a\.wav: not a supported"
    ):
        run(tmp_path / "corpus", tmp_path / "ds")
    with pytest.raises(DatasetError, match="interrupted"):
        Dataset.open(tmp_path / "ds")


@pytest.mark.parametrize("jobs", [1, 3])
def test_threads_and_streaming_change_nothing(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    write(corpus / "dog/long.wav", np.stack([sine(440, 95, 22050)] * 2, 1), 22050)
    run(corpus, tmp_path / "straight")
    monkeypatch.setattr(decode, "_AHEAD_SAMPLES", 16000 * 30)
    run(corpus, tmp_path / "ds", jobs=jobs)
    same_dataset(tmp_path / "straight", tmp_path / "ds")


def test_a_long_recording_that_breaks_late(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_AHEAD_SAMPLES", 16000)
    late = np.zeros(16000 * 65, np.float32)
    late[-5] = np.nan
    write(corpus / "dog/2b.wav", late, 16000, "FLOAT")
    steps = run(corpus, tmp_path / "ds")
    (refused,) = [step for step in steps if step.outcome == "refused"]
    assert refused.reason == "a sample is not finite (NaN at 65.000 s); write the file again"
    dataset = Dataset.open(tmp_path / "ds")
    assert len(dataset.entries) == 10
    for entry in dataset.entries:
        assert np.array_equal(dataset.samples(entry), noise(1, 16000, seed_of(entry))[None])


def test_channels_are_kept_on_request(tmp_path: Path) -> None:
    both = np.stack([noise(1, 16000, 1), noise(1, 16000, 2)], 1)
    write(tmp_path / "corpus/dog/two.wav", both, 16000)
    write(tmp_path / "corpus/dog/one.wav", both[:, 0], 16000)
    write(tmp_path / "corpus/dog/three.wav", np.stack([both[:, 0]] * 3, 1), 16000)
    reasons = {step.filename: step.reason for step in run(tmp_path / "corpus", tmp_path / "ds", channels=2)}
    assert reasons["dog/three.wav"] == "has 3 channels, but this dataset has 2; convert it or leave it out"
    dataset = Dataset.open(tmp_path / "ds")
    found = {entry.filename: entry for entry in dataset.entries}
    assert np.array_equal(dataset.samples(found["dog/two.wav"]), both.T)
    assert np.array_equal(dataset.samples(found["dog/one.wav"]), np.stack([both[:, 0]] * 2))


@pytest.mark.parametrize("piece", [4096, 7])
def test_features(piece: int, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_FRAMES_A_PIECE", piece)
    output, spec = tmp_path / "ds", find_spec("conv_a_2d", spec_folders())
    run(corpus, output)
    assert Dataset.open(output).layout is None
    assert counts(run(corpus, output, features=spec)) == {"updated": 10}
    write(corpus / "dog/9.wav", noise(2, 16000), 16000)
    (corpus / "dog/0.wav").unlink()
    again = {"kept": 9, "added": 1, "removed": 1}
    assert counts(run(corpus, output)) == again  # goes on with the features that are there
    dataset, front_end = Dataset.open(output), FrontEnd(spec.input.powers)
    assert (dataset.feature_name, dataset.layout) == ("conv_a_2d", layout_of(spec))
    for entry in dataset.entries:
        assert dataset.has_features(entry)
        samples = torch.from_numpy(dataset.samples(entry).astype(np.float32) / 32768)
        start = -dataset.layout.first
        padded = torch.nn.functional.pad(samples, (start, 400))
        wanted = front_end.band_powers(padded)[0, :, : 1 + (start + entry.samples - 1) // 160]
        np.testing.assert_allclose(dataset.features(entry), wanted, rtol=2e-4, atol=1e-9)
    other = find_spec("sound_2d", spec_folders())
    assert counts(run(corpus, output, features=other)) == {"updated": 10}
    assert Dataset.open(output).layout == layout_of(other)


def test_features_at_the_rate_of_the_dataset(corpus: Path, tmp_path: Path) -> None:
    spec = find_spec("sound_2d", spec_folders())
    run(corpus, tmp_path / "ds", features=spec, sample_rate=8000)
    assert Dataset.open(tmp_path / "ds").layout == layout_of(spec_at_rate(spec, 8000))


def test_a_network_on_samples_has_no_features(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="speech_wave: its input is the waveform"):
        run(corpus, tmp_path / "ds", features=find_spec("speech_wave", spec_folders()))
    assert not (tmp_path / "ds").exists()


def test_cached_dataset(corpus: Path, tmp_path: Path) -> None:
    steps: list[IngestStep] = []
    dataset = cached_dataset(corpus, tmp_path / "cache", progress=steps.append)
    assert (len(dataset.entries), counts(steps)) == (10, {"added": 10})
    again = cached_dataset(corpus, tmp_path / "cache", progress=steps.append)
    assert (said(again), counts(steps)) == (said(dataset), {"added": 10, "kept": 10})
    opened = cached_dataset(tmp_path / "cache", tmp_path / "unused")
    assert said(opened) == said(dataset)
    assert not (tmp_path / "unused").exists()


def test_a_reader_that_stops_keeps_what_was_done(corpus: Path, tmp_path: Path) -> None:
    steps = ingest([corpus], tmp_path / "ds")
    for _ in range(4):
        next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert len(Dataset.open(tmp_path / "ds", unfinished=True).entries) == 4
    assert counts(run(corpus, tmp_path / "ds")) == {"kept": 4, "added": 6}


def test_a_full_disk(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DatasetError, match=r"ds: cannot be written \(.*No space left on device\); free some space"):
        run(corpus, tmp_path / "ds")
    monkeypatch.undo()
    assert counts(run(corpus, tmp_path / "ds")) == {"added": 10}


# The recordings beside the project


def test_meetings_have_their_turns(shared_data: Path, tmp_path: Path) -> None:
    steps = run(shared_data / "meetings", tmp_path / "ds")
    assert counts(steps) == {"noted": 1, "added": 10}  # that names are speakers
    dataset = Dataset.open(tmp_path / "ds")
    assert dataset.labels == ("speech",)
    turns = dataset.annotations(dataset.entries[0])
    assert turns[0] == Annotation(3.168, 3.968, "speech")
    assert sum(len(dataset.annotations(entry)) for entry in dataset.entries) == sum(
        path.read_text().count("SPEAKER ") for path in (shared_data / "meetings").glob("*.rttm")
    )


def test_a_recipe_over_the_shared_recordings(shared_data: Path, tmp_path: Path) -> None:
    table = {"recordings": "recordings.tsv", "segments": "segments.tsv", "split": "dev", "labels": ["speech"]}
    listed = [line.split("\t") for line in (shared_data / "recordings.tsv").read_text().splitlines()[1:]]
    keep = {"kind": ["digits", "commands"], "speaker": "theo"}
    list(ingest([data_settings({**table, "keep": keep}, shared_data, "[data]")], tmp_path / "ds"))
    dataset = Dataset.open(tmp_path / "ds")
    expected = {row[0] for row in listed if row[1] == "digits" and row[3] == "theo" and row[7] == "dev"}
    assert {entry.filename for entry in dataset.entries} == expected
    assert all(entry.annotated and entry.split == "dev" for entry in dataset.entries)
    durations = {row[0]: float(row[6]) for row in listed}
    for entry in dataset.entries:
        assert dataset.duration_seconds(entry) == pytest.approx(durations[entry.filename], abs=0.006)


# A full disk


@pytest.mark.parametrize("filled", range(1, 13, 2))
def test_a_disk_that_fills_up_is_told_of_and_the_ingest_goes_on_later(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filled: int
) -> None:
    """SQLite gets so many pages of 4096 bytes: its tables, and what stands in them, are there at once or not at all."""
    opened = writer.open_index

    def full(folder: Path) -> sqlite3.Connection:
        index = opened(folder)
        index.execute(f"PRAGMA max_page_count={filled}")
        return index

    monkeypatch.setattr(writer, "open_index", full)
    with pytest.raises(
        DatasetError, match=r"ds: cannot be written \(database or disk is full\); free some space, and run it"
    ):
        run(corpus, tmp_path / "ds")
    monkeypatch.undo()
    assert counts(run(corpus, tmp_path / "ds")) == {"added": 10}


def test_a_disk_that_is_full_of_samples_is_told_of(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ShardWriter, "append", full)
    with pytest.raises(DatasetError, match=r"ds: cannot be written \(No space left on device\); free some space"):
        run(corpus, tmp_path / "ds")
    monkeypatch.undo()
    assert counts(run(corpus, tmp_path / "ds")) == {"added": 10}
