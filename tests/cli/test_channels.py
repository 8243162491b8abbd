"""Recordings whose channels cancel each other, or with a silent channel, get the same answer as each single channel."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from fixtures_cli import RATE, audiocnn, tone, tone_model  # noqa: F401
from sounds import as_bytes, write

from audiocnn.data.dataset import Dataset
from audiocnn_cli.app.exits import ExitStatus

SOUND = tone((0.5, 1.3), (2.0, 2.4), seconds=3.0, amplitude=0.4)
GAINS = {"the other polarity": (1, -1), "nearly": (-0.9, 1), "one is silent": (0, 1), "one of four": (1, 1, -1, 1)}


def stereo(gains):
    return (SOUND[:, None] * np.array(gains)).astype(np.float32)


def rows(done):
    assert done.status is ExitStatus.OK, done.err
    return [
        {k: v for k, v in row.items() if k not in ("file", "score")} for row in csv.DictReader(done.out.splitlines())
    ]


@pytest.mark.parametrize("kind", GAINS)
@pytest.mark.parametrize("command", ["detect", "classify --every 0.5"])
def test_what_one_channel_holds_is_found_in_the_mix(tmp_path, monkeypatch, tone_model, command, kind):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "mono.wav", SOUND, RATE)
    write(tmp_path / "a.wav", stereo(GAINS[kind]), RATE)
    write(tmp_path / "a.flac", stereo(GAINS[kind]), RATE)
    task = (*command.split(), "-m", tone_model, "-f", "csv")
    wanted = [(row["label"], float(row["start"]), float(row["end"])) for row in rows(audiocnn(*task, "mono.wav"))]
    assert any(label == "tone" for label, *_ in wanted)
    for source in ("a.wav", "a.flac", "-"):
        stdin = (tmp_path / "a.wav").read_bytes() if source == "-" else b""
        found = [
            (row["label"], float(row["start"]), float(row["end"])) for row in rows(audiocnn(*task, source, stdin=stdin))
        ]
        assert [label for label, *_ in found] == [label for label, *_ in wanted]
        assert np.allclose([times for _, *times in found], [times for _, *times in wanted], atol=0.03)


def test_a_file_and_a_pipe_give_the_same_scores(tmp_path, tone_model):  # noqa: F811
    for kind in ("WAV", "FLAC", "AU"):
        path = tmp_path / f"a.{kind.lower()}"
        path.write_bytes(as_bytes(stereo((1, -0.95)), RATE, kind))
        task = ("score", "-m", tone_model, "-f", "csv")
        assert rows(audiocnn(*task, path)) == rows(audiocnn(*task, "-", stdin=path.read_bytes()))


def test_a_stream_of_two_channels_is_followed(tone_model):  # noqa: F811
    data = as_bytes(stereo((1, -1)), RATE, "WAV")
    done = audiocnn("detect", "--follow", "-", "-m", tone_model, "-f", "csv", stdin=data)
    assert len(rows(done)) == 2


@pytest.mark.parametrize("kind", GAINS)
def test_ingest_keeps_what_does_not_cancel(tmp_path, kind):
    write(tmp_path / "sounds" / "tone" / "a.wav", stereo(GAINS[kind]), RATE)
    write(tmp_path / "sounds" / "none" / "b.wav", stereo(GAINS[kind])[::-1].copy(), RATE)
    done = audiocnn("ingest", tmp_path / "sounds", "-o", tmp_path / "data", "--sample-rate", RATE)
    assert done.status is ExitStatus.OK, done.err
    dataset = Dataset.open(tmp_path / "data")
    for entry in dataset.entries:
        assert np.abs(dataset.samples(entry)).max() > 0.15


@pytest.mark.parametrize("kind", GAINS)
def test_evaluate_judges_the_mix_of_a_dataset_of_several_channels(tmp_path, monkeypatch, tone_model, kind):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "sounds" / "a.wav", stereo(GAINS[kind]), RATE)
    (tmp_path / "sounds" / "a.txt").write_text("0.5\t1.3\ttone\n2.0\t2.4\ttone\n")
    channels = len(GAINS[kind])
    done = audiocnn("ingest", "sounds", "-o", "data", "--sample-rate", RATE, "--channels", channels)
    assert done.status is ExitStatus.OK, done.err
    done = audiocnn("evaluate", "data", "-m", tone_model, "-f", "json")
    assert done.status is ExitStatus.OK, done.err
    assert json.loads(done.out)["labels"]["tone"]["figures"]["f1"]["value"] > 0.9
