"""`audiocnn.evaluate`: files as the command judges them, and samples in memory as the same files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fixtures_cli import RATE, tone, tone_model  # noqa: F401
from fixtures_cli import audiocnn as command
from sounds import noise, write

import audiocnn
from audiocnn.errors import AudiocnnError
from audiocnn_cli.app.exits import ExitStatus

SPANS = [((0.5, 1.0),), ((0.2, 0.6), (1.2, 1.9)), (), ((0.0, 2.0),)]
FAST = audiocnn.EvaluationSettings(resamples=50)


def sound(number):
    """Tones in a little noise."""
    return (tone(*SPANS[number]) + noise(2.0, RATE, number) / 3_000_000).astype(np.float32)


@pytest.fixture
def meetings(tmp_path):
    """Recordings with a table of their segments."""
    rows = ["filename\tonset\toffset\tevent_label"]
    for number, spans in enumerate(SPANS):
        write(tmp_path / "meetings" / f"{number}.wav", sound(number), RATE, "FLOAT")
        rows += [f"{number}.wav\t{start}\t{end}\ttone" for start, end in spans] or [f"{number}.wav\t\t\t"]
    (tmp_path / "meetings" / "segments.tsv").write_text("\n".join(rows) + "\n")
    return tmp_path / "meetings" / "segments.tsv"


def arrays(form=tuple):
    made = {
        tuple: lambda start, end: (start, end, "tone"),
        list: lambda start, end: [start, end, "tone"],
        audiocnn.Annotation: lambda start, end: audiocnn.Annotation(start, end, "tone"),
        audiocnn.Segment: lambda start, end: audiocnn.Segment(start, end, "tone", 1.0),
    }[form]
    return [(sound(number), RATE, [made(*span) for span in spans]) for number, spans in enumerate(SPANS)]


def test_the_function_says_what_the_command_says(meetings, tone_model):  # noqa: F811
    done = command("evaluate", meetings, "-m", tone_model, "--resamples", "50", "--format", "json")
    assert done.status is ExitStatus.OK, done.err
    said, found = json.loads(done.out), audiocnn.evaluate(meetings, tone_model, evaluation=FAST).to_dict()
    for timed in ("times_real_time",):
        said.pop(timed), found.pop(timed)
    assert json.loads(json.dumps(found)) == said


@pytest.mark.parametrize("form", [tuple, list, audiocnn.Annotation, audiocnn.Segment])
def test_segments_in_memory_are_judged_as_those_of_files(meetings, tone_model, form):  # noqa: F811
    by_file = audiocnn.evaluate(meetings, tone_model, evaluation=FAST)
    by_array = audiocnn.evaluate(arrays(form), tone_model, evaluation=FAST)
    values = [{name: one.value for name, one in found.figures.items()} for found in (by_file, by_array)]
    assert values[0] == values[1]
    assert values[0]["f1"] > 0.9
    assert by_array.sound_seconds == by_file.sound_seconds == 8.0


@pytest.mark.parametrize("labels", [("tone", "other"), (["tone"], ["other"])], ids=["one", "list"])
def test_clips_in_memory_are_judged_as_those_of_folders(tmp_path, tone_model, labels):  # noqa: F811
    clips = [(tone((0.0, 2.0)), labels[0]), (tone(), labels[1]), (tone((0.0, 0.1)), labels[0])]
    for number, (samples, label) in enumerate(clips):
        write(tmp_path / (label if isinstance(label, str) else label[0]) / f"{number}.wav", samples, RATE, "FLOAT")
    by_file = audiocnn.evaluate(tmp_path, tone_model)
    by_array = audiocnn.evaluate([(samples, RATE, label) for samples, label in clips], tone_model)
    assert by_array.figures["accuracy"].value == by_file.figures["accuracy"].value == pytest.approx(2 / 3)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [RATE, 2 * RATE])
def test_any_samples_that_detect_takes(tone_model, dtype, channels, rate):  # noqa: F811
    samples = np.stack([tone((0.5, 1.0), sample_rate=rate)] * channels)
    samples = (samples * 32767).astype(np.int16) if dtype == "int16" else samples.astype(dtype)
    known = [(0.5, 1.0, "tone")]
    found = audiocnn.evaluate([(samples, rate, known), (samples[0], rate, known)], tone_model, evaluation=FAST)
    assert found.figures["f1"].value > 0.9
    assert found.warnings == ()


def test_long_samples_are_stored_at_their_scale(tone_model):  # noqa: F811
    """Longer than what is read ahead, with the loudest sound at the end."""
    samples = np.concatenate([tone((0.5, 1.0), seconds=300.0, amplitude=0.001), 8.0 * tone((0.5, 1.0))])
    found = audiocnn.evaluate([(samples, RATE, [(300.5, 301.0, "tone")])], tone_model, evaluation=FAST)
    assert found.sound_seconds == 302.0
    assert found.figures["miss_rate"].value < 0.1


def test_settings_are_those_of_detect(tone_model):  # noqa: F811
    never = audiocnn.evaluate(arrays(), tone_model, audiocnn.DetectSettings(threshold=1.0), evaluation=FAST)
    assert never.figures["miss_rate"].value == 1.0
    assert never.evaluation.labels["tone"].rule.threshold == 1.0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no recordings"),
        ([(tone(), RATE)], "array 1: give (samples, sample_rate, label or segments)"),
        ([tone()], "array 1: give (samples"),
        ([(tone(), RATE, "tone"), (tone(), None, "tone")], "array 2: sample_rate is missing"),
        ([(tone(), 0, "tone")], "array 1: sample_rate 0"),
        ([(np.zeros(0, np.float32), RATE, "tone")], "array 1: samples: the array is empty"),
        ([([0.1, 0.2], RATE, "tone")], "array 1: list is not a recording"),
        ([(tone().astype(np.int32), RATE, "tone")], "array 1: samples: unsupported type int32"),
        ([(tone(), RATE, 7)], "array 1: 7 is neither a label nor a list of segments"),
        ([(tone(), RATE, [7])], "array 1: 7 is not a segment"),
        ([(tone(), RATE, [("a", "b", "tone")])], "array 1: ('a', 'b', 'tone') is not a segment"),
        ([(tone(), RATE, [(0.5, 1.0, "tune")])], 'did you mean "tone"'),
        ([(np.zeros((5, RATE), np.float32), RATE, "tune")], "no label that tone knows"),
    ],
)
def test_what_cannot_be_judged_is_one_line(tone_model, given, said):  # noqa: F811
    with pytest.raises(AudiocnnError) as caught:
        audiocnn.evaluate(given, tone_model)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "audiocnn-" not in str(caught.value)  # the temporary folder


def test_what_belongs_to_files_is_refused_for_arrays(tone_model):  # noqa: F811
    with pytest.raises(AudiocnnError, match="omit them for arrays"):
        audiocnn.evaluate(arrays(), tone_model, split="test")


def test_what_is_wrong_with_one_recording_is_told_and_the_others_judged(tone_model):  # noqa: F811
    given = [*arrays(), (tone((0.5, 1.0)), RATE, [(0.5, 1.0, "tone"), (7.0, 8.0, "tone"), (0.5, 1.0, "dog")])]
    found = audiocnn.evaluate(given, tone_model, evaluation=FAST)
    assert any("array 5" in line and "after the end of the recording" in line for line in found.warnings)
    assert found.evaluation.unknown == {"dog": 1}
    assert found.evaluation.labels["tone"].recordings == 5


def test_a_file_that_is_no_sound_is_told(meetings, tone_model):  # noqa: F811
    (meetings.parent / "3.wav").write_bytes(b"RIFF")
    found = audiocnn.evaluate(meetings, tone_model, evaluation=FAST)
    assert any("3.wav" in line for line in found.warnings)
    assert found.evaluation.labels["tone"].recordings == 3


def test_progress_is_told_and_what_it_raises_comes_out(meetings, tone_model):  # noqa: F811
    for data in (meetings, arrays()):
        told: list[audiocnn.Progress] = []
        audiocnn.evaluate(data, tone_model, evaluation=FAST, progress=told.append)
        assert [(one.stage, one.done, one.total) for one in told] == [
            (stage, done, 4) for stage in ("ingest", "evaluate") for done in (1, 2, 3, 4)
        ]
        for stage in ("ingest", "evaluate"):

            def stop(moment, stage=stage):
                if moment.stage == stage:
                    raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                audiocnn.evaluate(data, tone_model, evaluation=FAST, progress=stop)


def test_it_prints_nothing(tone_model, capfd):  # noqa: F811
    audiocnn.evaluate(arrays(), tone_model, evaluation=FAST)
    assert capfd.readouterr() == ("", "")


def test_results_are_tables(tone_model):  # noqa: F811
    pytest.importorskip("pandas")
    segments = audiocnn.evaluate(arrays(), tone_model, evaluation=FAST)
    frame = segments.to_dataframe()
    assert list(frame.columns) == ["of", "label", "figure", "value", "low", "high"]
    assert set(frame["of"]) == {"segments"}
    assert dict(zip(frame["figure"], frame["value"], strict=True))["f1"] == segments.figures["f1"].to_dict()["value"]
    clips = audiocnn.evaluate([(tone((0.0, 2.0)), RATE, "tone"), (tone(), RATE, "other")], tone_model).evaluation.clip
    rows = clips.to_dataframe()
    assert list(rows.columns) == ["file", "labels", "answers", "score", "right", "tone"]
    assert rows["right"].all()
    matrix = clips.confusion.to_dataframe()
    assert matrix.loc["tone", "tone"] == 1
    assert matrix.to_numpy().sum() == 2


def test_several_labels_stand_before_their_figures(tone_model, tmp_path):  # noqa: F811
    model = audiocnn.find_model("speech_music_noise")
    noisy = (noise(2.0, 16000) / 60_000).astype(np.float32)
    found = audiocnn.evaluate([(noisy, 16000, [(0.0, 2.0, one)]) for one in ("noise", "music")], model, evaluation=FAST)
    assert {"noise f1", "music f1"} <= set(found.figures)
