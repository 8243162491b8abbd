"""Many recordings at once: the results are those of one at a time, in order; what is read ahead is bounded."""

from __future__ import annotations

import gc
import itertools
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures_cli import RATE, tone, tone_network
from fixtures_models import network_of, noise, spec_named, torch_engine
from sounds import write

from audiocnn.audio.recording import Recording, open_recording
from audiocnn.errors import RecordingError, UsageError
from audiocnn.inference.detect import Detection, DetectSettings, detect_many, detect_recording
from audiocnn.inference.engine import Engine, TorchBackend, load_engine
from audiocnn.inference.scores import RECORDINGS_AHEAD, ReaderPool, RecordingSource, score_many, scoring
from audiocnn.model.model import find_model, shipped_models
from audiocnn.model.weights import load_networks

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # for what is going to happen
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def engine():
    """A detector of 1 kHz with two workers and short chunks."""
    return torch_engine(tone_network(), chunk_seconds=1.0, jobs=2)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Clips of many lengths, from one sample on."""
    folder = tmp_path_factory.mktemp("clips")
    lengths = [1, 2, 79, 80, 81, 799, 800, 801, 4000, 8000, 8000, 8000, 8001, 30_000, 123_457]
    sounds = [tone((0.1, 0.4), (1.0, 1.5), seconds=16.0)[:n] for n in lengths]
    return [write(folder / f"{k:02d}.wav", sound, RATE) for k, sound in enumerate(sounds)]


class Watch:
    """Opens files and remembers it; may keep one back until it is told to go on."""

    def __init__(self):
        self.named, self.opened, self.gone, self.threads = [], [], [], set()
        self.go, self.began = threading.Event(), threading.Event()

    def sources(self, files, slow=()):
        for number, file in enumerate(files):
            self.named.append(file)
            yield RecordingSource(str(file), lambda file=file, number=number: self.open(file, number in slow))

    def open(self, file, slow):
        self.threads.add(threading.current_thread())
        if slow:
            self.began.set()
            assert self.go.wait(PATIENCE)
        recording = open_recording(file)
        self.opened.append(recording)
        close = recording.close
        recording.close = lambda: (close(), self.gone.append(recording))
        return recording

    @property
    def closed(self):
        return self.gone and {id(each) for each in self.gone} == {id(each) for each in self.opened}


class Endless:
    """A recording of silence that does not end, and whose blocks are counted."""

    is_stream = False

    def __init__(self):
        self.start_seconds = 0.0
        self.read, self.note, self.closed = 0, None, False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True

    def blocks(self, sample_rate, channel):
        while True:
            self.read += 1
            yield np.zeros((1, RATE), np.float32)

    def stop(self):
        """It never waits."""


def same(found, wanted):
    assert isinstance(found, Detection), found
    assert list(found.tracks) == list(wanted.tracks)
    spans = [[(s.start, s.end, s.label) for s in detection] for detection in (found, wanted)]
    assert spans[0] == spans[1]
    assert [s.score for s in found] == pytest.approx([s.score for s in wanted], abs=TOLERANCE)
    facts = ("file", "duration_seconds", "sample_rate", "channels", "model", "device", "thresholds", "note")
    assert [getattr(found, fact) for fact in facts] == [getattr(wanted, fact) for fact in facts]


def scores_of(blocks):
    found = {}
    for block in blocks:
        assert block.first_row == sum(map(len, found.setdefault(block.channel, [])))
        found[block.channel].append(block.scores)
    return {channel: np.concatenate(parts) for channel, parts in found.items()}


# The same results, in the same order


def test_clips_of_all_lengths_in_order(engine, clips):
    files = [*clips, *reversed(clips), *clips]
    for found, file in zip(detect_many(files, engine), files, strict=True):
        same(found, detect_recording(file, engine))


@pytest.mark.parametrize("name", ["valid_2d", "lstm_hops", "residual_padded"])
def test_scores_are_those_of_one_at_a_time(name, tmp_path):
    network = network_of(spec_named(name))
    engine = torch_engine(network, chunk_seconds=0.5, jobs=3)
    window, rate = network.geometry.window_samples, network.geometry.sample_rate
    lengths = [1, 100, 100, 101, window - 1, window, 2 * window, 2 * window + 1, 5 * window + 77]
    sounds = [noise(network.spec, 1, n, n)[0, 0].clip(-1, 1) for n in lengths]
    files = [write(tmp_path / f"{k}.wav", sound, rate, "FLOAT") for k, sound in enumerate(sounds)]
    for reading, file, n in zip(score_many(files, engine), files, lengths, strict=True):
        got = scores_of(reading.blocks())
        with scoring(file, engine) as scored:
            wanted = scores_of(scored.blocks())
        assert list(got) == list(wanted) == [0]
        assert len(got[0]) == network.geometry.rows(n)
        assert np.max(np.abs(got[0] - wanted[0])) <= TOLERANCE
        assert reading.duration_seconds == n / rate


def test_each_channel_of_stereo(engine, tmp_path):
    left_right = np.stack([tone((0.3, 0.8)), tone((1.2, 1.7))], axis=1)
    files = [write(tmp_path / f"{k}.wav", left_right[: RATE + k], RATE) for k in range(4)]
    settings = DetectSettings(channel="each")
    for found, file in zip(detect_many(files, engine, settings), files, strict=True):
        same(found, detect_recording(file, engine, settings))
        assert list(found.tracks) == [0, 1]


@pytest.mark.parametrize("name", [folder.name for folder in shipped_models()])
def test_released_models(name, tmp_path):
    model = find_model(name)
    one, several = load_engine(model, jobs=1), load_engine(model, jobs=3)
    rate = model.geometry.sample_rate
    sound = np.random.default_rng(0).normal(0, 0.1, 4 * rate).clip(-1, 1)
    lengths = [1, 100, rate // 2, rate, rate, rate, rate + 1, 4 * rate]
    files = [write(tmp_path / f"{k}.wav", sound[:n], rate) for k, n in enumerate(lengths)]
    for reading, file in zip(score_many(files, several), files, strict=True):
        with scoring(file, one) as scored:
            wanted = scores_of(scored.blocks())[0]
        assert np.max(np.abs(scores_of(reading.blocks())[0] - wanted)) <= TOLERANCE
    several.close()
    one.close()


def test_a_bad_file_among_good_ones(engine, clips, tmp_path):
    empty = write(tmp_path / "empty.wav", np.zeros(0), RATE)
    (tmp_path / "bad.wav").write_bytes(b"no sound in here")
    nan = write(tmp_path / "nan.wav", np.append(tone(), np.nan), RATE, "FLOAT")
    bad = [empty, tmp_path / "bad.wav", nan, tmp_path / "none.wav", tmp_path]
    files = list(itertools.chain.from_iterable(zip(clips, bad, strict=False)))
    for found, file in zip(detect_many(files, engine), files, strict=True):
        if file in bad:
            with pytest.raises(RecordingError) as wanted:
                detect_recording(file, engine)
            assert isinstance(found, RecordingError)
            assert str(found) == str(wanted.value)
        else:
            same(found, detect_recording(file, engine))


def test_nothing_gives_nothing(engine):
    assert list(detect_many([], engine)) == []


def test_settings_that_cannot_be_are_refused_before_a_file_is_named(engine, clips):
    watch = Watch()
    with pytest.raises(UsageError, match=r"^--threshold "):
        next(detect_many(watch.sources(clips), engine, DetectSettings(threshold=1.5)))
    assert not watch.named


# A bug of ours or of a caller is no bad file


def test_what_is_no_bad_file_is_raised_in_its_turn(engine, clips):
    def fail():
        raise ZeroDivisionError("a bug")

    found = detect_many([clips[3], RecordingSource("bug", fail), clips[4]], engine)
    same(next(found), detect_recording(clips[3], engine))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        next(found)


def test_what_the_list_of_names_raises_comes_after_the_recordings_before_it(engine, clips):
    def names():
        yield from clips[:3]
        raise UsageError("the list is damaged")

    found = []
    with pytest.raises(UsageError, match="the list is damaged"):
        found.extend(detect_many(names(), engine))
    assert [each.file for each in found] == [str(clip) for clip in clips[:3]]


def test_what_the_network_raises_is_raised_in_its_turn(engine, clips, monkeypatch):
    def run(samples, crop):
        raise MemoryError("no room")

    monkeypatch.setattr(engine.batcher, "run", run)
    found = detect_many([RecordingSource("endless", Endless), *clips], engine)
    with pytest.raises(MemoryError, match="no room"):
        next(found)


# How far ahead


def test_a_slow_file_holds_up_the_others_only_at_the_bound(engine, clips, monkeypatch):
    monkeypatch.setattr("audiocnn.inference.scores.RECORDINGS_AHEAD", 7)
    full, has_room = threading.Event(), ReaderPool.has_room

    def watched(self):
        room = has_room(self)
        if not room and sum(reading.ended for reading in self.ahead) == 6:
            full.set()
        return room

    monkeypatch.setattr(ReaderPool, "has_room", watched)
    watch = Watch()
    found = detect_many(watch.sources([clips[-1]] + clips[:-1] * 3, slow={0}), engine)
    waiting = threading.Thread(target=lambda: (full.wait(PATIENCE), watch.go.set()))
    waiting.start()
    first = next(found)
    waiting.join()
    assert full.is_set()
    same(first, detect_recording(clips[-1], engine))
    for number, each in enumerate(found, 1):
        assert len(watch.named) - number <= 7
        same(each, detect_recording(clips[(number - 1) % (len(clips) - 1)], engine))
    assert number == 3 * (len(clips) - 1)
    assert watch.closed


def test_what_is_scored_ahead_is_bounded(engine, clips, monkeypatch):
    monkeypatch.setattr("audiocnn.inference.scores.SCORES_AHEAD", 500)  # five blocks of one second
    monkeypatch.setattr("audiocnn.inference.scores.SAMPLES_AHEAD", 0)
    most = 5 + 2 * engine.chunks_ahead + 2  # scored, on the way to the network, being read
    full, may_read = threading.Event(), ReaderPool.may_read

    def watched(self, reading):
        may = may_read(self, reading)
        if not may and reading.name == "endless" and self.scores >= 500:
            full.set()
        return may

    monkeypatch.setattr(ReaderPool, "may_read", watched)
    endless, watch = Endless(), Watch()

    def slow():
        assert full.wait(PATIENCE)
        return open_recording(clips[-1])

    sources = [RecordingSource("slow", slow), RecordingSource("endless", lambda: endless), *watch.sources(clips)]
    with closing(score_many(sources, engine)) as readings:
        first = next(readings)
        got = scores_of(first.blocks())
        assert full.is_set()
        assert endless.read <= most
        with scoring(clips[-1], engine) as scored:
            assert np.max(np.abs(got[0] - scores_of(scored.blocks())[0])) <= TOLERANCE
        # In its turn it goes on, for ever, and no further ahead of who takes it.
        second = next(readings)
        for taken, block in enumerate(second.blocks(), 1):
            assert len(block.scores) == 100
            assert endless.read <= taken + most
            if taken == 50:
                break
        # Left in the middle, it makes room for the next.
        third = next(readings)
        assert len(scores_of(third.blocks())[0]) == 1
    assert endless.closed
    assert watch.closed


def test_sound_that_waits_for_the_network_is_bounded(clips, monkeypatch):
    engine = torch_engine(tone_network(), chunk_seconds=1.0, jobs=2)
    monkeypatch.setattr("audiocnn.inference.scores.SAMPLES_AHEAD", 20 * RATE)
    go, full, may_read, run = threading.Event(), threading.Event(), ReaderPool.may_read, engine.batcher.run

    def slow_run(samples, crop):
        assert go.wait(PATIENCE)
        return run(samples, crop)

    def watched(self, reading):
        may = may_read(self, reading)
        if not may and self.samples >= 20 * RATE:
            full.set()
        return may

    monkeypatch.setattr(engine.batcher, "run", slow_run)
    monkeypatch.setattr(ReaderPool, "may_read", watched)
    endless = [Endless() for _ in range(3)]
    sources = [RecordingSource("first", lambda: open_recording(clips[0]))]
    sources += [RecordingSource(str(k), lambda one=one: one) for k, one in enumerate(endless)]
    with closing(score_many(sources, engine)) as readings:
        read = []
        waiting = threading.Thread(
            target=lambda: (full.wait(PATIENCE), read.append(sum(one.read for one in endless)), go.set())
        )
        waiting.start()
        assert len(scores_of(next(readings).blocks())[0]) == 1
        waiting.join()
        assert full.is_set()
        assert 20 <= read[0] <= 20 + 3 * engine.jobs  # each reader has a chunk and its window more in hand
    assert all(one.closed for one in endless if one.read)
    engine.close()


def test_a_list_of_names_without_end(engine, clips):
    watch = Watch()
    with closing(detect_many(watch.sources(itertools.cycle(clips)), engine)) as found:
        for number, (each, clip) in enumerate(zip(found, itertools.cycle(clips), strict=False), 1):
            same(each, detect_recording(clip, engine))
            assert len(watch.named) - number <= RECORDINGS_AHEAD
            if number == 40:
                break
    assert watch.closed
    assert not any(thread.is_alive() for thread in watch.threads)


def test_results_come_while_the_next_name_does_not(engine, clips):
    more, taken = threading.Event(), []

    def names():
        yield from clips[-2:]
        assert more.wait(PATIENCE)
        yield clips[0]

    def idle():
        if len(taken) == 2:  # nothing is left to do but to wait for the name
            more.set()

    for found, clip in zip(detect_many(names(), engine, idle=idle), [*clips[-2:], clips[0]], strict=True):
        assert more.is_set() == (len(taken) == 2)
        same(found, detect_recording(clip, engine))
        taken.append(found)


# Leaving early


def test_who_leaves_while_the_next_name_does_not_come_need_not_wait_for_it(engine, clips):
    more, readers = threading.Event(), set()

    def names():
        readers.add(threading.current_thread())
        yield clips[0]
        readers.add(threading.current_thread())
        more.wait(PATIENCE)
        yield clips[1]

    with closing(detect_many(names(), engine)) as found:
        same(next(found), detect_recording(clips[0], engine))
    assert not more.is_set()
    more.set()
    for reader in readers:
        reader.join(PATIENCE)
        assert not reader.is_alive()


def test_leaving_closes_all_files_and_ends_all_threads(engine, clips):
    watch = Watch()
    found = detect_many(watch.sources(clips * 5, slow={6}), engine)
    waiting = threading.Thread(target=lambda: (watch.began.wait(PATIENCE), watch.go.set()))
    waiting.start()
    for _ in range(3):
        next(found)
    waiting.join()
    found.close()
    assert watch.opened
    assert watch.closed
    assert not any(thread.is_alive() for thread in watch.threads)


class Silent(Endless):
    """A stream that keeps its reader waiting until it is stopped."""

    def __init__(self):
        super().__init__()
        self.began, self.stopped = threading.Event(), threading.Event()

    def blocks(self, sample_rate, channel):
        self.began.set()
        assert self.stopped.wait(PATIENCE)
        yield from ()

    def stop(self):
        self.stopped.set()


def test_streams_that_say_nothing_are_stopped(engine, clips, monkeypatch):
    monkeypatch.setattr("audiocnn.inference.scores.FAREWELL_SECONDS", PATIENCE)
    left, ahead = Silent(), Silent()
    sources = [RecordingSource("left", lambda: left), RecordingSource("ahead", lambda: ahead)]
    with closing(score_many(sources, engine)) as readings:
        next(readings)
        assert left.began.wait(PATIENCE)
        assert ahead.began.wait(PATIENCE)
        next(readings)
        assert left.stopped.is_set()
        assert not ahead.stopped.is_set()
    assert left.closed
    assert ahead.closed


def test_an_interrupt_ends_the_threads(engine, clips):
    watch = Watch()

    def interrupt():
        watch.go.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(detect_many(watch.sources(clips, slow={0}), engine, idle=interrupt))
    assert watch.closed
    assert not any(thread.is_alive() for thread in watch.threads)


def test_torch_in_half_precision_and_large_batches_finds_the_same():
    """What runs on a GPU, here on the CPU: edges within a hop."""
    model = find_model("speech_1d")
    backend = TorchBackend(load_networks(model), torch.device("cpu"), half=True)
    halved = Engine(model, backend, jobs=2, batch_chunks=32)
    files = sorted((ROOT / "data" / "samples").glob("*.flac"))
    pairs = list(zip(detect_many(files, load_engine(model)), detect_many(files, halved), strict=True))
    assert len(pairs) == len(files) > 3
    for wanted, got in pairs:
        assert (got.file, got.device) == (wanted.file, "cpu")
        assert len(got.segments) == len(wanted.segments)
        for one, other in zip(wanted, got, strict=True):
            assert max(abs(one.start - other.start), abs(one.end - other.end)) <= halved.hop_seconds + 1e-9
    assert sum(len(wanted.segments) for wanted, _ in pairs) > 3


def test_what_is_no_name_ends_with_an_error_that_says_so(engine, clips):
    found = detect_many([clips[0], None, clips[1]], engine)
    assert isinstance(next(found), Detection)
    with pytest.raises(TypeError, match="None is neither a file name nor an open stream"):
        next(found)
    with pytest.raises(TypeError, match="give a list of names"):
        next(detect_many("one.wav", engine))


def test_bad_recordings_hold_nothing(engine, tmp_path):
    """Neither they nor their errors: memory would grow with every bad file."""
    bad = tone(seconds=3.0)
    bad[-5] = np.nan
    path = write(tmp_path / "bad.wav", bad, RATE // 2, subtype="FLOAT")
    gc.collect()
    others = {id(held) for held in gc.get_objects() if type(held) is Recording}  # of tests before, that failed
    gc.disable()  # so that what only a search for circles would find stays
    try:
        problems = list(detect_many([path] * 30, engine))
        assert all("not finite" in str(problem) for problem in problems)
        alive = [held for held in gc.get_objects() if type(held) is Recording and id(held) not in others]
    finally:
        gc.enable()
    assert len(alive) <= 2
