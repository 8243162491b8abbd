"""Many recordings, told to a callback; models by name; times as they are written."""

from __future__ import annotations

import threading

import pytest
from fixtures_cli import RATE, tone, tone_model  # noqa: F401
from sounds import write

import audiocnn
from audiocnn.units import round_seconds

MANY = {"detect": audiocnn.detect_many, "classify": audiocnn.classify_many}


@pytest.fixture
def files(tmp_path):
    """Three recordings, and one that is none."""
    names = [write(tmp_path / f"{number}.wav", tone((0.5, 1.0)), RATE) for number in range(3)]
    return [*map(str, names), str(tmp_path / "missing.wav")]


@pytest.mark.parametrize("stage", MANY)
def test_each_recording_is_told_in_order(files, tone_model, stage):  # noqa: F811
    told: list[audiocnn.Progress] = []
    results = list(MANY[stage](files, tone_model, progress=told.append))
    assert [(one.stage, one.done, one.total) for one in told] == [(stage, done, 4) for done in (1, 2, 3, 4)]
    assert [one.text for one in told[:3]] == files[:3] == [one.file for one in results[:3]]
    assert told[3].text == str(results[3])
    assert isinstance(results[3], audiocnn.AudiocnnError)


@pytest.mark.parametrize("stage", MANY)
def test_nobody_knows_how_many_an_iterator_has(files, tone_model, stage):  # noqa: F811
    told: list[audiocnn.Progress] = []
    list(MANY[stage](iter(files), audiocnn.find_model(tone_model), progress=told.append))
    assert [one.total for one in told] == [None] * 4


@pytest.mark.parametrize("stage", MANY)
def test_what_the_callback_raises_ends_the_reading(files, tone_model, stage):  # noqa: F811
    def stop(moment):
        if moment.done == 2:
            raise ZeroDivisionError

    engine, results = audiocnn.load_engine(audiocnn.find_model(tone_model)), []
    with pytest.raises(ZeroDivisionError):
        results.extend(MANY[stage](files * 50, engine, progress=stop))
    engine.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader-")]


@pytest.mark.parametrize("model", ["name", "folder", "model"])
def test_a_model_is_named_in_any_way(files, tone_model, model):  # noqa: F811
    given = {"name": str(tone_model), "folder": tone_model, "model": audiocnn.find_model(tone_model)}[model]
    wanted = audiocnn.detect(files[0], tone_model).segments
    assert audiocnn.detect(files[0], given).segments == wanted
    assert next(audiocnn.detect_many(files, given)).segments == wanted
    assert audiocnn.score(files[0], given).labels == audiocnn.classify(files[0], given).rule.labels == ("tone",)


@pytest.mark.parametrize("start", [0.0, 0.123456, 0.3])
def test_times_are_rounded_as_they_are_written(tone_model, tmp_path, start):  # noqa: F811
    path = write(tmp_path / "a.wav", tone((0.5, 1.0), (1.3, 1.7)), RATE)
    found = audiocnn.detect(path, tone_model, start_seconds=start)
    times = [time for one in found for time in (one.start, one.end)]
    answers = audiocnn.classify(path, tone_model, audiocnn.ClassifySettings(every_seconds=0.3), start_seconds=start)
    times += [time for one in answers for time in (one.start, one.end)]
    assert times == [round_seconds(time) for time in times]
    assert len(times) > 8
