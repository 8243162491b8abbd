"""`Stream`: the answers of the file, from pieces of any size, at any rate; and what it says to input that is none."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import pickle
import resource
import shutil
import threading
import tracemalloc
import weakref
from pathlib import Path

import numpy as np
import pytest
import soxr
from fixtures_cli import RATE, tone, tone_model, tone_network  # noqa: F401
from sounds import noise

import audiocnn
from audiocnn import DetectSettings, Ending, Onset, Stream, Streams
from audiocnn.audio.recording import read_samples
from audiocnn.errors import ModelError, UsageError
from audiocnn.model.export import export_stream
from audiocnn.model.model import STREAM_ONNX, find_model
from audiocnn.model.onnx import OnnxFile

SPANS = (0.4, 0.9), (1.3, 1.45), (2.0, 3.1), (3.15, 3.9), (4.5, 5.99)
SOUND = tone(*SPANS, seconds=6.0)


@pytest.fixture(scope="module")
def live_model(tone_model, tmp_path_factory):  # noqa: F811
    """The model of tones with its `stream.onnx`."""
    folder = tmp_path_factory.mktemp("live") / "tone"
    shutil.copytree(tone_model, folder)
    export_stream(find_model(folder), tone_network())
    return folder


@pytest.fixture(params=["tails", "windows"])
def model(request, live_model, tone_model):  # noqa: F811
    """One that goes on from its tails, and one that computes windows anew."""
    return live_model if request.param == "tails" else tone_model


def listen(stream, sound, size, close=True):
    """All events, and all scores."""
    events, scores = [], []
    for begin in range(0, sound.shape[-1], size):
        events += stream.push(sound[..., begin : begin + size])
        scores.append(stream.scores)
    if close:
        events += stream.close()
        scores.append(stream.scores)
    return events, np.concatenate(scores)


def segments_of(events):
    return [event.segment for event in events if isinstance(event, Ending)]


def assert_same(segments, wanted):
    assert [(s.start, s.end, s.label) for s in segments] == [(s.start, s.end, s.label) for s in wanted] != []
    assert [s.score for s in segments] == pytest.approx([s.score for s in wanted], abs=1e-4)


@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.long), 7, 80, 163, 4000, 48000])
def test_pieces_of_any_size_give_the_answers_of_the_file(model, size):
    sound = SOUND[: 2 * RATE] if size == 1 else SOUND
    wanted = audiocnn.detect(sound, model, sample_rate=RATE)
    events, scores = listen(Stream(model), sound, size)
    assert_same(segments_of(events), wanted)
    np.testing.assert_allclose(scores, audiocnn.score(sound, model, sample_rate=RATE).scores[0], atol=1e-4)
    onsets = [event.start for event in events if isinstance(event, Onset)]
    assert onsets == [segment.start for segment in wanted]


def test_the_shipped_model_in_a_real_voice():
    path = Path(__file__).parents[2] / "data" / "samples" / "greeting.flac"
    samples, rate = read_samples(path)
    events, scores = listen(Stream(sample_rate=rate), samples[0], rate // 50)
    wanted = audiocnn.score(path, "speech_live").scores[0]
    np.testing.assert_allclose(scores, wanted, atol=1e-4)
    assert_same(segments_of(events), audiocnn.detect(path, "speech_live"))


def test_int16_and_float64_are_the_same_sound(live_model):
    whole = np.round(SOUND * 32767).astype(np.int16)
    found = [listen(Stream(live_model), one, 333)[1] for one in (whole, whole / 32768.0)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


@pytest.mark.parametrize("rate", [4000, 16000, 44100, 48000])
def test_other_rates_give_the_answers_of_the_file_a_few_milliseconds_late(live_model, rate):
    sound = soxr.resample(SOUND, RATE, rate)
    wanted = audiocnn.detect(sound, live_model, sample_rate=rate)
    stream = Stream(live_model, sample_rate=rate)
    at_own_rate = listen(Stream(live_model), SOUND, RATE // 100, close=False)[0]
    events, _ = listen(stream, sound, rate // 100, close=False)
    late = [ours.known - own.known for ours, own in zip(events, at_own_rate, strict=False)]
    assert max(late) <= 0.03
    assert_same(segments_of(events + stream.close()), wanted)
    for event in events:
        if isinstance(event, Onset):
            assert event.start_sample == round(event.start * rate)


def test_events_say_when_they_were_known_and_where_in_samples(live_model):
    stream = Stream(live_model)
    events, _ = listen(stream, tone((0.5, 1.1), seconds=2.0), 80)
    onset, ending = events
    assert (onset.start_sample, ending.start_sample) == (round(onset.start * RATE),) * 2
    assert ending.end_sample == round(ending.segment.end * RATE)
    assert 0.5 + 0.25 < onset.known < 0.5 + 0.25 + 0.09
    assert ending.segment.end < ending.known < 1.5
    assert (stream.samples, stream.seconds) == (2 * RATE, 2.0)


def test_a_pre_roll_is_what_was_heard_from_the_start_on(model):
    stream, size = Stream(model, pre_roll=True, settings=DetectSettings(pad_seconds=0.2)), 80
    for begin in range(0, len(SOUND), size):
        for event in stream.push(SOUND[begin : begin + size]):
            if isinstance(event, Onset):
                np.testing.assert_array_equal(event.samples, SOUND[event.start_sample : begin + size])
                assert len(event.samples) > 0.4 * RATE
    assert sum(map(len, stream._kept)) < RATE


def test_end_of_turn_and_longest_segment_are_the_settings(live_model):
    patient = segments_of(listen(Stream(live_model, settings=DetectSettings(min_silence_seconds=0.6)), SOUND, 100)[0])
    assert len(patient) < len(segments_of(listen(Stream(live_model), SOUND, 100)[0]))
    short = segments_of(listen(Stream(live_model, settings=DetectSettings(max_speech_seconds=0.5)), SOUND, 100)[0])
    assert max(segment.end - segment.start for segment in short) <= 0.5 + 1e-9


def test_reset_begins_anew(model):
    stream = Stream(model)
    first = listen(stream, SOUND, 400)
    stream.reset()
    assert (stream.samples, len(stream.scores)) == (0, 0)
    second = listen(stream, SOUND, 400)
    assert first[0] == second[0]
    np.testing.assert_array_equal(first[1], second[1])


def test_closing_twice_and_closing_nothing(model):
    stream = Stream(model)
    assert stream.close() == stream.close() == []
    with pytest.raises(UsageError, match=r"^the stream is closed; open another, or call reset\(\)$"):
        stream.push(SOUND)
    with Stream(model) as inside:
        inside.push(SOUND[:100])
    with pytest.raises(UsageError, match="closed"):
        inside.push(SOUND)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.array([0.1, np.nan], np.float32), r"invalid value at 0\.100 s .*; the block was not used"),
        (np.array([np.inf, 0.1]), r"invalid value at 0\.100 s"),
        (np.zeros(5, np.int32), r"type int32; .* by 2\*\*31"),
        (np.zeros(5, np.uint8), r"type uint8; .* by 2\*\*7 and subtract 1"),
        (np.zeros(5, bool), "type bool"),
        (np.zeros((2, 5), np.float32), "2 channels; give their mean, or open one Stream each"),
        (np.zeros((2, 5, 3), np.float32), r"shape \(2, 5, 3\)"),
        (np.float32(0.5), "float32 is not a recording"),
        ([0.1, 0.2], "list is not a recording"),
        (b"ab", "bytes is not a recording"),
        (None, "NoneType is not a recording"),
    ],
)
def test_what_is_no_sound_is_refused_and_nothing_is_taken(model, samples, message):
    stream, whole = Stream(model), Stream(model)
    before = stream.push(SOUND[: RATE // 10])
    with pytest.raises(UsageError, match=message) as problem:
        stream.push(samples)
    assert "\n" not in str(problem.value)
    events = before + listen(stream, SOUND[RATE // 10 :], 800)[0]
    assert events == listen(whole, SOUND, 800)[0]


def test_a_rate_that_changes_is_refused(model):
    stream = Stream(model, sample_rate=48000)
    stream.push(np.zeros(480, np.float32), sample_rate=48000)
    with pytest.raises(UsageError, match=r"^sample_rate 16000: the stream runs at 48000 Hz; open another"):
        stream.push(np.zeros(480, np.float32), sample_rate=16000)


@pytest.mark.parametrize("rate", [0, -1, 1.5, "16000", float("nan"), True])
def test_rates_that_are_none(model, rate):
    with pytest.raises(UsageError, match="sample_rate"):
        Stream(model, sample_rate=rate)


def test_pieces_of_no_samples_are_nothing(model):
    stream = Stream(model)
    for _ in range(3):
        assert stream.push(np.zeros(0, np.float32)) == []
        assert stream.push(np.zeros((1, 0), np.int16)) == []
    assert stream.scores.shape == (0, 1)
    assert_same(segments_of(listen(stream, SOUND, 500)[0]), audiocnn.detect(SOUND, model, sample_rate=RATE))


def test_an_hour_in_one_push_needs_little_memory(live_model):
    hour = np.tile(SOUND, 600)
    stream = Stream(live_model)
    tracemalloc.start()
    events = stream.push(hour)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(segments_of(events)) >= 1200
    assert peak < 12e6, "the hour is 115 MB"


def test_a_stream_that_is_never_closed_leaves_nothing(live_model):
    threads = threading.active_count()
    stream = Stream(live_model)
    stream.push(SOUND)
    gone = weakref.ref(stream)
    del stream
    gc.collect()
    assert gone() is None
    assert threading.active_count() == threads


def test_memory_is_flat(live_model):
    stream, piece = Stream(live_model, pre_roll=True), noise(1.0, RATE).astype(np.float32) / 32768
    tracemalloc.start()
    for _ in range(3):
        stream.push(piece)
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(300):
        stream.push(piece)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 20_000


def test_a_stream_cannot_be_copied_or_pickled(model):
    for way in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"^a Stream holds the state of its sound and cannot be copied or pickled"):
            way(Stream(model))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_stream_goes_on_in_a_process_that_was_forked_off(live_model):
    stream = Stream(live_model)
    stream.push(SOUND[: 3 * RATE])
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        events = stream.push(SOUND[3 * RATE :]) + stream.close()
        os.write(write_end, str(len(segments_of(events))).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as result:
        said = int(result.read())
    assert said == len(segments_of(stream.push(SOUND[3 * RATE :]) + stream.close()))


def test_two_threads_in_one_stream_are_refused(live_model):
    stream = Stream(live_model)
    refused = "another thread is pushing to this stream"
    with stream._lock, pytest.raises(UsageError, match=refused):
        stream.push(SOUND)


def test_two_threads_in_one_batch_are_refused(live_model):
    many = Streams(live_model)
    with many._lock, pytest.raises(UsageError, match="another thread is pushing"):
        many.push({many.open(): SOUND})


def test_a_stream_of_a_batch_is_refused_while_another_thread_pushes_it(live_model):
    many = Streams(live_model)
    first, second = many.open(), many.open()
    with second._lock, pytest.raises(UsageError, match="another thread is pushing"):
        many.push({first: SOUND, second: SOUND})
    assert segments_of(many.push({first: SOUND})[first] + first.close()) == segments_of(listen(second, SOUND, 160)[0])


def test_threads_and_tasks_share_one_model(model):
    wanted = segments_of(listen(Stream(model), SOUND, 160)[0])
    streams = [Stream(model) for _ in range(8)]
    assert len({id(stream._live._source) for stream in streams}) == 1
    found = [None] * 8

    def work(number):
        found[number] = segments_of(listen(streams[number], SOUND, 160)[0])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one == wanted for one in found)

    async def call():
        stream, events = Stream(model), []
        for begin in range(0, len(SOUND), 160):
            events += stream.push(SOUND[begin : begin + 160])
            await asyncio.sleep(0)
        return segments_of(events + stream.close())

    async def calls():
        return await asyncio.gather(*(call() for _ in range(5)))

    assert asyncio.run(calls()) == [wanted] * 5


def test_streams_in_a_batch_give_what_each_gives_alone(model):
    """Different sounds, rates and sizes of pieces; some pause, and one is pushed by itself in between."""
    many, random = Streams(model), np.random.default_rng(0)
    sounds = [np.roll(SOUND, 1000 * k) for k in range(40)]
    rates = [RATE if k % 5 else 16000 for k in range(40)]
    sounds = [one if rate == RATE else soxr.resample(one, RATE, rate) for one, rate in zip(sounds, rates, strict=True)]
    streams = [many.open(rate) for rate in rates]
    at, events = [0] * 40, [[] for _ in range(40)]
    while any(place < len(sound) for place, sound in zip(at, sounds, strict=True)):
        pieces = {}
        for k in range(40):
            if at[k] >= len(sounds[k]) or (k % 7 == 3 and random.random() < 0.3):
                continue
            size = (0, 160, 160, 320, 800)[int(random.integers(0, 5))] if k % 3 == 0 else 160
            piece, at[k] = sounds[k][at[k] : at[k] + size], at[k] + size
            if k == 11:
                events[k] += streams[k].push(piece)
            else:
                pieces[k] = piece
        found = many.push({streams[k]: piece for k, piece in pieces.items()})
        for k in pieces:
            events[k] += found[streams[k]]
    for k in range(40):
        alone = Stream(model, rates[k])
        wanted, _ = listen(alone, sounds[k], 160)
        assert_same(segments_of(events[k] + streams[k].close()), segments_of(wanted))


def test_a_batch_refuses_before_it_takes_anything(live_model):
    many = Streams(live_model)
    one, other = many.open(), many.open()
    with pytest.raises(UsageError, match="invalid value"):
        many.push({one: SOUND, other: np.array([np.nan])})
    assert one.samples == other.samples == 0
    with pytest.raises(UsageError, match="the batch contains a stream of another model"):
        many.push({one: SOUND, Stream(live_model): SOUND})
    assert many.push({}) == {}


@pytest.mark.parametrize("damage", ["cut", "other", "unsaid"])
def test_a_damaged_stream_file_says_what_to_do(live_model, tmp_path, damage):
    folder = tmp_path / "tone"
    shutil.copytree(live_model, folder)
    path = folder / STREAM_ONNX
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-500])
    else:
        import onnx

        graph = onnx.load(path)
        for entry in graph.metadata_props:
            if entry.key == ("hop_samples" if damage == "other" else "lead_rows"):
                entry.value = "7" if damage == "other" else "x"
        onnx.save(graph, path)
    with pytest.raises(ModelError, match=r"stream\.onnx: .*make it again with `audiocnn export .*") as problem:
        Stream(folder)
    assert "\n" not in str(problem.value)


def test_scores_that_are_no_numbers_are_told(live_model, monkeypatch):
    stream = Stream(live_model)
    tails = stream._stepper.tails
    monkeypatch.setattr(OnnxFile, "run", lambda self, outputs, feeds: [np.full((1, 1, 1), np.nan), *tails])
    with pytest.raises(ModelError, match=r"returned scores that are not finite; make it again with `.* --stream`"):
        stream.push(SOUND)


def test_an_unknown_model_is_named():
    with pytest.raises(ModelError, match="nowhere"):
        Stream("nowhere/at/all")


@pytest.mark.long
def test_an_hour_in_pieces_of_ten_milliseconds_is_the_hour_of_the_file(live_model):
    hour = np.tile(SOUND, 600)
    wanted = audiocnn.score(hour, live_model, sample_rate=RATE).scores[0]
    stream, size, row, peaks = Stream(live_model), RATE // 100, 0, []
    for begin in range(0, len(hour), size):
        stream.push(hour[begin : begin + size])
        np.testing.assert_allclose(stream.scores, wanted[row : row + len(stream.scores)], atol=1e-4)
        row += len(stream.scores)
        if begin % (600 * RATE) == 0:
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert row >= len(wanted) - 10
    assert peaks[-1] - peaks[3] < 2000, "the second half hour needs no more memory than the first, in kB"
