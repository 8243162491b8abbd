"""Options with one value per label, or one for each end: `--threshold dog=0.6,cat=0.4`, `--pad 0.1,0.3`."""

from __future__ import annotations

import csv
import json

import pytest
from fixtures_cli import RATE, audiocnn, tone, tone_model  # noqa: F401
from sounds import write

from audiocnn.errors import UsageError
from audiocnn.inference.classify import ClassifySettings
from audiocnn.inference.detect import DetectSettings
from audiocnn.model.model import find_model
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import SegmentOptions, detect_settings, read_pads, read_thresholds
from audiocnn_cli.commands.detect import detect_provenance

THREE = "speech_music_noise"
SPANS = ((0.5, 1.0), (1.1, 1.6))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.wav", tone(*SPANS), RATE)
    return tmp_path


def thresholds_of(*options):
    done = audiocnn("detect", "a.wav", "-m", THREE, "-f", "jsonl", *options)
    assert done.status is ExitStatus.OK, done.err
    return json.loads(done.out.splitlines()[-1])["thresholds"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, None),
        ("0.5", 0.5),
        (".5", 0.5),
        ("dog=0.6", {"dog": 0.6}),
        ("dog=0.6,cat=0.4", {"dog": 0.6, "cat": 0.4}),
        ("0.5,dog=0.6", {None: 0.5, "dog": 0.6}),
        ("dog=0.6,0.5", {None: 0.5, "dog": 0.6}),
        ("a,b=0.6,c=d=0.5", {"a,b": 0.6, "c=d": 0.5}),
    ],
)
def test_a_threshold_is_a_number_or_one_a_label(text, wanted):
    assert read_thresholds(text) == wanted


@pytest.mark.parametrize("text", ["", "x", "dog", "dog=", "dog=x", "=0.5", "0.5,0.6", "dog=0.5,dog=0.6", "dog=0.5,cat"])
@pytest.mark.parametrize("command", ["detect", "classify", "split --output-dir cuts", "plot -o a.html", "tune"])
def test_a_threshold_that_cannot_be_is_an_error(here, tone_model, command, text):  # noqa: F811
    done = audiocnn(*command.split(), "a.wav", "-m", tone_model, f"--threshold={text}")
    assert (done.status, done.err.count("\n")) == (ExitStatus.USAGE, 1)
    assert "--threshold" in done.err or command == "tune"


def test_labels_that_are_not_named_keep_the_threshold_of_the_model_or_take_the_bare_number(here):
    own = thresholds_of()
    assert len(own) == 3
    assert thresholds_of("--threshold", "music=0.9,speech=0.2") == own | {"music": 0.9, "speech": 0.2}
    assert thresholds_of("--threshold", "0.3,music=0.9") == dict.fromkeys(own, 0.3) | {"music": 0.9}
    assert thresholds_of("--threshold", "0.3") == dict.fromkeys(own, 0.3)


@pytest.mark.parametrize("command", ["detect", "classify", "split --output-dir cuts", "plot -o a.html"])
def test_an_unknown_label_is_an_error_with_the_nearest_one(here, command):
    done = audiocnn(*command.split(), "a.wav", "-m", THREE, "--threshold", "musik=0.5")
    assert (done.status, done.err.count("\n")) == (ExitStatus.USAGE, 1)
    assert '"musik"' in done.err and 'did you mean "music"' in done.err


@pytest.mark.parametrize("settings", [DetectSettings(threshold={"speech": 1.5}), DetectSettings(threshold={None: -1})])
def test_a_threshold_of_a_label_is_a_probability(settings):
    with pytest.raises(UsageError, match="not between 0 and 1"):
        settings.rules(find_model(THREE))
    with pytest.raises(UsageError, match="not between 0 and 1"):
        ClassifySettings(threshold=settings.threshold)


def test_classify_answers_by_the_threshold_of_each_label(here):
    def answer(*options):
        return json.loads(audiocnn("classify", "a.wav", "-m", THREE, *options).out)

    best = max(answer("--threshold", 0)["labels"], key=lambda one: one["score"])["label"]
    assert answer("--threshold", f"0,{best}=1")["label"] != best
    assert answer("--threshold", f"1,{best}=0")["label"] == best


def spans(*options):
    done = audiocnn("detect", "a.wav", "-f", "csv", *options)
    assert done.status is ExitStatus.OK, done.err
    return [(float(row["start"]), float(row["end"])) for row in csv.DictReader(done.out.splitlines())]


@pytest.mark.parametrize("pads", [(0.0, 0.3), (0.3, 0.0), (0.1, 0.02), (0.2, 0.2), (0.4, 0.9)])
def test_a_segment_is_widened_by_one_pad_at_its_start_and_another_at_its_end(here, tone_model, pads):  # noqa: F811
    task = ("-m", tone_model, "--min-silence", 0.02)
    bare = spans(*task, "--pad", 0)
    assert len(bare) == 2
    middle = (bare[0][1] + bare[1][0]) / 2
    (first, second) = spans(*task, "--pad", f"{pads[0]},{pads[1]}")
    assert first == pytest.approx((max(bare[0][0] - pads[0], 0), min(bare[0][1] + pads[1], middle)))
    assert second == pytest.approx((max(bare[1][0] - pads[0], middle), min(bare[1][1] + pads[1], 2.0)))


@pytest.mark.parametrize("pad", [0.0, 0.03, 0.25])
def test_two_equal_pads_are_one(here, tone_model, pad):  # noqa: F811
    assert spans("-m", tone_model, "--pad", f"{pad},{pad}") == spans("-m", tone_model, "--pad", pad)


def test_a_stream_gives_the_segments_of_the_file(here, tone_model):  # noqa: F811
    options = ("-m", tone_model, "--pad", "0.02,0.4", "--min-silence", 0.02)
    done = audiocnn("detect", "--follow", "-", "-f", "csv", *options, stdin=(here / "a.wav").read_bytes())
    rows = csv.DictReader(done.out.splitlines())
    assert [(float(row["start"]), float(row["end"])) for row in rows] == spans(*options)


@pytest.mark.parametrize("text", ["", "x", "0.1,", "0.1,0.2,0.3", "0.1,x", "-1", "0.1,-0.1", "nan", "0.1,inf"])
@pytest.mark.parametrize("command", ["detect", "split --output-dir cuts", "plot -o a.html"])
def test_a_pad_that_cannot_be_is_an_error(here, tone_model, command, text):  # noqa: F811
    done = audiocnn(*command.split(), "a.wav", "-m", tone_model, f"--pad={text}")
    assert (done.status, done.err.count("\n")) == (ExitStatus.USAGE, 1)
    assert "--pad" in done.err and "seconds" in done.err


def test_the_digest_of_the_settings_knows_both_pads_and_all_thresholds(tone_model):  # noqa: F811
    model = find_model(tone_model)

    def digest(**options):
        return detect_provenance(model, detect_settings(SegmentOptions(**options)), None, None).settings

    told = [digest(**{name: text}) for name in ("pad",) for text in ("0.1", "0.1,0.3", "0.3,0.1")]
    told += [digest(threshold=text) for text in ("0.4", "0.6", "tone=0.7")]
    assert len({*told, digest()}) == len(told) + 1
    assert digest(threshold="tone=0.4") == digest(threshold="0.4")
    assert read_pads("0.1") == {"pad_seconds": 0.1}


def test_evaluate_judges_with_both_pads(here, tone_model):  # noqa: F811
    (here / "a.rttm").write_text("SPEAKER a 1 0.5 0.5 <NA> <NA> tone <NA> <NA>\n")

    def judged(*options):
        done = audiocnn("evaluate", ".", "-m", tone_model, "--label-column", "name", *options)
        assert done.status is ExitStatus.OK, done.err
        return json.loads(done.out)["labels"]["tone"]

    assert "end_pad" not in judged("--pad", "0.1")
    both = judged("--pad", "0.1,0.3")
    assert (both["pad"], both["end_pad"]) == (0.1, 0.3)
    done = audiocnn("evaluate", ".", "-m", tone_model, "--pad", "0.1,0.3", "--against", "webrtc")
    assert done.status is ExitStatus.USAGE and "--against needs the same pad at both ends" in done.err
