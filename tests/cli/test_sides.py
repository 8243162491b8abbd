"""`evaluate --against` and `--html`: other detectors next to models in one run, and the page."""

from __future__ import annotations

import json
import os
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from fixtures_cli import audiocnn, tone_model, write_tones  # noqa: F401

from audiocnn.evaluation import peers
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import SegmentOptions
from audiocnn_cli.io.judge import peer_rule


class Loud:
    """A stand-in for WebRTC VAD that hears tones: yes, in every mode, where a frame is not silent."""

    def __init__(self, mode):
        self.mode = mode

    def is_speech(self, frame, sample_rate):
        return bool(np.abs(np.frombuffer(frame, "<i2").astype(int)).max() > 2000)


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    """A working folder with recordings of tones and their labels, and a peer that finds what the model finds."""
    module = types.ModuleType("webrtcvad")
    module.__spec__ = ModuleSpec("webrtcvad", None)
    module.Vad = Loud
    monkeypatch.setitem(sys.modules, "webrtcvad", module)
    monkeypatch.setattr(peers, "PEER_LABEL", "tone")
    write_tones(tmp_path)
    monkeypatch.chdir(tmp_path)
    return str(tone_model)


def test_a_peer_is_a_further_column(here):
    done = audiocnn(
        "evaluate", "tones.tsv", "-m", here, "--against", "webrtc", "--resamples", "20", "-o", "report.json"
    )
    assert done.status is ExitStatus.OK, done.err
    ours, theirs = json.loads(Path("report.json").read_text())
    assert (ours["model"], theirs["model"]) == ("tone", "webrtc")
    assert theirs["folder"] is None
    assert theirs["version"]
    assert "version" not in ours
    found = theirs["labels"]["tone"]
    assert (found["threshold"], found["tuned_on"], found["pad"]) == (1.0, "mode 3 of its authors", 0.0)
    assert found["figures"]["auroc"]["value"] > 0.99
    assert theirs["difference_to"]["model"] == "tone"
    assert theirs["difference_to"]["labels"]["tone"]["figures"]["auroc"]["value"] == pytest.approx(
        found["figures"]["auroc"]["value"] - ours["labels"]["tone"]["figures"]["auroc"]["value"], abs=2e-6
    )
    assert ours["sound_seconds"] == theirs["sound_seconds"] > 0


def test_a_peer_hears_its_own_sample_rate(here):
    done = audiocnn("evaluate", "tones.tsv", "-m", here, "--against", "webrtc", "--resamples", "0", "-o", "report.json")
    assert done.status is ExitStatus.OK, done.err
    info = audiocnn("evaluate", "report.dataset", "-m", here, "--resamples", "0")
    assert info.status is ExitStatus.OK
    from audiocnn.data.dataset import Dataset

    assert Dataset.open("report.dataset").sample_rate == 16000  # the model hears 8000


def test_a_peer_named_twice_is_judged_once(here):
    done = audiocnn("evaluate", "tones.tsv", "-m", here, "--against", "webrtc, webrtc", "--resamples", "0")
    assert [json.loads(line)["model"] for line in done.out.splitlines()] == ["tone", "webrtc"]


def test_thresholds_are_for_models_and_lengths_for_all(here):
    rule = peers.load_peer("webrtc").rule
    lengths = {"min_duration": 0.5, "min_silence": 0.3, "pad": "0.2", "max_duration": 9.0}
    given = SegmentOptions(threshold=0.9, neg_threshold=0.8, **lengths)
    changed = peer_rule(rule, given)
    assert (changed.threshold, changed.closing_threshold) == (1.0, 1.0)
    assert (changed.min_speech_seconds, changed.min_silence_seconds) == (0.5, 0.3)
    assert (changed.pad_seconds, changed.max_speech_seconds) == (0.2, 9.0)
    assert peer_rule(rule, SegmentOptions()) == rule


def test_the_page_has_what_the_report_has(here):
    args = ("--resamples", "20", "-o", "report.json", "--html", "report.html")
    done = audiocnn("evaluate", "tones.tsv", "-m", here, "--against", "webrtc", *args)
    assert done.status is ExitStatus.OK, done.err
    page = Path("report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    for report in json.loads(Path("report.json").read_text()):
        figures = report["labels"]["tone"]["figures"]
        for name, figure in figures.items():
            if figure["value"] is not None:
                assert f"{figure['value']:.{1 if name.endswith('_ms') else 4}f}" in page, name
    for said in ("tones.tsv", "tone", "webrtc", "AUROC", "collar 0.5 s", "mode 3 of its authors", "paper", "<svg"):
        assert said in page
    assert "http" not in page


def test_the_page_alone_leaves_stdout_as_it_is(here):
    done = audiocnn("evaluate", "tones.tsv", "-m", here, "--resamples", "0", "--html", "report.html")
    assert json.loads(done.out)["model"] == "tone"
    assert Path("report.html").is_file()


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("--against", "webrtk"), '--against: there is no detector "webrtk"; did you mean "webrtc"?'),
        (("--against", ""), '--against: there is no detector ""; known: firered, silero, webrtc'),
        (("--html", "-"), "--html -: not a file name; give one, such as report.html"),
        (("--html", "."), "--html .: not a file name; give one, such as report.html"),
        (("--html", "tones.tsv"), "--html tones.tsv: already exists; overwrite it with --force or choose another"),
        (("--html", "a.html", "-o", "./a.html"), "--html a.html: -o writes to the same file; choose another name"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(here, args, line):
    done = audiocnn("evaluate", "gone.tsv" if "tones" not in line else "tones.tsv", "-m", here, *args)
    assert done.status is ExitStatus.USAGE
    assert done.err.startswith(f"audiocnn: error: {line}")


@pytest.mark.parametrize("option", ["--html", "-o"])
def test_a_place_that_is_no_folder_is_refused_before_any_work(here, option):
    Path("file").write_text("no folder")
    for name in ("file/report.html", "file/further/report.html"):
        done = audiocnn("evaluate", "gone.tsv", "-m", here, option, name)  # that there are no data would come later
        assert done.status is ExitStatus.USAGE
        assert done.err == f"audiocnn: error: {option} {name}: file is not a folder; choose another file\n"


def test_a_folder_that_cannot_be_written_to_is_refused_before_any_work(here, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    done = audiocnn("evaluate", "gone.tsv", "-m", here, "--html", "report.html")
    assert done.status is ExitStatus.USAGE
    assert done.err == "audiocnn: error: --html report.html: the folder . is not writable; choose another file\n"


def test_folders_of_a_page_are_made(here):
    done = audiocnn("evaluate", "tones.tsv", "-m", here, "--resamples", "0", "--html", "a/b/report.html")
    assert done.status is ExitStatus.OK, done.err
    assert Path("a/b/report.html").is_file()


def test_figures_are_out_before_a_page_that_cannot_be_written(here, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("audiocnn.files.write_whole", full)
    done = audiocnn("evaluate", "tones.tsv", "-m", here, "--resamples", "0", "--html", "report.html")
    assert done.status is ExitStatus.USAGE
    assert json.loads(done.out)["model"] == "tone"
    assert "--html report.html: cannot be written (No space left on device)" in done.err
