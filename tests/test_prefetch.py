"""A thread that runs ahead: the same parts in the same order, never too many, and gone when nobody wants more."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
import soundfile

from audiocnn.audio import recording
from audiocnn.audio.recording import read_samples
from audiocnn.prefetch import PrefetchingIterator


@pytest.mark.parametrize("most", [1, 2, 7, 1000])
def test_the_parts_are_the_same_in_the_same_order(most):
    assert list(PrefetchingIterator(iter(range(500)), most)) == list(range(500))
    assert list(PrefetchingIterator(iter([]), most)) == []


def test_it_makes_so_many_and_waits():
    made = threading.Semaphore(0)

    def parts():
        for number in range(100):
            made.release()
            yield number

    ahead = PrefetchingIterator(parts(), 3)
    for _ in range(3):
        assert made.acquire(timeout=30)
    # The fourth is asked for only when one of the three is taken.
    assert not made.acquire(timeout=0.05)
    assert next(ahead) == 0
    assert made.acquire(timeout=30)
    assert not made.acquire(timeout=0.05)
    ahead.close()


def test_a_problem_comes_after_what_was_made_before_it():
    def parts():
        yield 1
        yield 2
        raise ValueError("no third")

    ahead = PrefetchingIterator(parts(), 10)
    assert next(ahead) == 1
    assert next(ahead) == 2
    with pytest.raises(ValueError, match="no third"):
        next(ahead)
    with pytest.raises(StopIteration):
        next(ahead)


def test_closing_early_ends_the_thread():
    ahead = PrefetchingIterator(iter(range(10**9)), 2)
    assert next(ahead) == 0
    ahead.close()
    assert not ahead.thread.is_alive()
    ahead.close()


@pytest.mark.parametrize("rate", [16_000, 22_050])
@pytest.mark.parametrize("container", ["FLAC", "MP3", "OGG"])
def test_a_long_compressed_recording_is_the_same_whoever_decodes_it(tmp_path, monkeypatch, container, rate):
    path, random = tmp_path / f"long.{container.lower()}", np.random.default_rng(4)
    soundfile.write(path, random.normal(0, 0.1, (40 * 16_000 + 7, 2)), 16_000, format=container)
    ahead, _ = read_samples(path, rate)
    monkeypatch.setattr(recording, "_AHEAD_SECONDS", float("inf"))
    alone, _ = read_samples(path, rate)
    assert np.array_equal(ahead, alone)


def test_a_recording_that_is_closed_early_leaves_no_thread(tmp_path):
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros(40 * 16_000), 16_000)
    with recording.open_recording(path) as opened:
        blocks = opened.blocks(block_seconds=1.0)
        next(blocks)
        thread = opened._ahead.thread
        assert thread.is_alive()
    assert not thread.is_alive()


def test_a_recording_may_be_read_twice_before_it_ends(tmp_path):
    path = tmp_path / "long.flac"
    soundfile.write(path, np.random.default_rng(5).normal(0, 0.1, 40 * 16_000), 16_000)
    with recording.open_recording(path) as opened:
        first = next(opened.blocks(block_seconds=1.0))
        again = list(opened.blocks(block_seconds=1.0))
    assert np.array_equal(first, again[0])
    assert sum(block.shape[1] for block in again) == 40 * 16_000


def test_an_iterator_that_is_left_alone_ends_its_thread(tmp_path):
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros(40 * 16_000), 16_000)
    for rate in (16_000, 8000):
        opened = recording.open_recording(path)
        blocks = opened.blocks(rate, block_seconds=1.0)
        next(blocks)
        thread = opened._ahead.thread
        del blocks, opened
        gc.collect()
        thread.join(30)
        assert not thread.is_alive()


def test_the_first_of_two_iterators_does_not_end_in_silence(tmp_path):
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros(60 * 16_000), 16_000)
    with recording.open_recording(path) as opened:
        one = opened.blocks(block_seconds=1.0)
        next(one)
        next(opened.blocks(block_seconds=1.0))
        with pytest.raises(RuntimeError, match="closed before its end"):
            list(one)
