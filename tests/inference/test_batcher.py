"""Many threads, one network: what waits is packed by shape, every result comes to whoever asked, no thread outlives."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from concurrent.futures import CancelledError

import numpy as np
import pytest
from fixtures_models import network_of, noise, spec_named, torch_engine

from audiocnn.inference.batcher import Batcher


def chunk(number, samples=4, tracks=1):
    return np.full((tracks, 1, samples), number, dtype=np.float32)


class Gate:
    """A network that waits to be let through, and tells which batches it was given: scores are the samples' means."""

    def __init__(self):
        self.open, self.entered = threading.Event(), threading.Semaphore(0)
        self.batches = []

    def run(self, batch, crop):
        self.batches.append(batch)
        self.entered.release()
        assert self.open.wait(30)
        return batch.mean(axis=2, keepdims=True)


def held(gate, batcher):
    """All threads busy with a chunk of a length of its own, so that what is submitted next waits."""
    futures = [batcher.submit(chunk(-1, samples=1000 + n)) for n in range(batcher.count)]
    for _ in futures:
        assert gate.entered.acquire(timeout=30)
    return futures


def test_every_result_comes_to_whoever_asked():
    batcher = Batcher(lambda batch, crop: batch.mean(axis=2, keepdims=True), 3, 1000)
    futures = [batcher.submit(chunk(n, samples=1 + n % 7, tracks=1 + n % 2)) for n in range(300)]
    for n, future in enumerate(futures):
        scores = future.result(30)
        assert scores.shape == (1 + n % 2, 1, 1)
        assert (scores == n).all()
    batcher.close()
    assert len(batcher.threads) <= 3


def test_equal_shapes_that_wait_become_one_batch_and_others_keep_their_turn():
    gate = Gate()
    batcher = Batcher(gate.run, 1, 100)
    held(gate, batcher)
    futures = [batcher.submit(chunk(n, samples)) for n, samples in enumerate((4, 5, 4, 4, 5))]
    gate.open.set()
    assert [future.result(30).item() for future in futures] == [0, 1, 2, 3, 4]
    assert [batch.shape for batch in gate.batches[1:]] == [(3, 1, 4), (2, 1, 5)]
    assert gate.batches[1][:, 0, 0].tolist() == [0, 2, 3]


def test_a_batch_keeps_within_its_room_but_takes_one_job_of_any_size():
    gate = Gate()
    batcher = Batcher(gate.run, 1, 10)
    held(gate, batcher)
    futures = [batcher.submit(chunk(n)) for n in range(5)] + [batcher.submit(chunk(5, samples=64))]
    gate.open.set()
    assert [future.result(30).item() for future in futures] == [0, 1, 2, 3, 4, 5]
    assert [batch.shape for batch in gate.batches[1:]] == [(2, 1, 4), (2, 1, 4), (1, 1, 4), (1, 1, 64)]


def test_threads_share_what_waits():
    gate = Gate()
    batcher = Batcher(gate.run, 2, 1000)
    held(gate, batcher)
    futures = [batcher.submit(chunk(n)) for n in range(4)]
    gate.open.set()
    assert [future.result(30).item() for future in futures] == [0, 1, 2, 3]
    assert max(len(batch) for batch in gate.batches) == 2


def test_an_error_reaches_the_jobs_of_its_batch_alone():
    def run(batch, crop):
        if batch.shape[2] == 3:
            raise ValueError("three")
        return batch[:, :, :1]

    batcher = Batcher(run, 1, 100)
    bad, good = batcher.submit(chunk(1, samples=3)), batcher.submit(chunk(2))
    with pytest.raises(ValueError, match="three"):
        bad.result(30)
    assert good.result(30).item() == 2


def test_cancelled_jobs_are_left_out():
    gate = Gate()
    batcher = Batcher(gate.run, 1, 100)
    held(gate, batcher)
    unwanted, wanted = batcher.submit(chunk(1)), batcher.submit(chunk(2))
    assert unwanted.cancel()
    gate.open.set()
    assert wanted.result(30).item() == 2
    assert [len(batch) for batch in gate.batches] == [1, 1]


def test_closing_finishes_what_runs_and_cancels_what_waits():
    gate = Gate()
    batcher = Batcher(gate.run, 2, 100)
    running = held(gate, batcher)
    waiting = batcher.submit(chunk(1))
    closing = threading.Thread(target=batcher.close)
    closing.start()
    with pytest.raises(CancelledError):
        waiting.result(30)
    gate.open.set()
    closing.join(30)
    assert not closing.is_alive()
    assert all(future.result(30).item() == -1 for future in running)
    assert not any(thread.is_alive() for thread in batcher.threads)
    with pytest.raises(RuntimeError):
        batcher.submit(chunk(1))


def test_no_thread_is_started_before_there_is_work():
    assert Batcher(lambda batch, crop: batch, 4, 100).threads == []


def test_threads_end_when_nobody_has_the_engine_any_more():
    engine = torch_engine(network_of(spec_named("valid_2d")))
    engine.score(noise(engine.model.spec, 1, 5000)[0])
    (thread,) = engine.batcher.threads
    del engine
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()


def test_a_process_may_end_while_a_chunk_is_computed():
    """ONNX Runtime aborts a process that ends under it; some threads are sure to be at it here."""
    code = (
        "import numpy as np; from audiocnn.inference.engine import load_engine;"
        "from audiocnn.model.model import find_model;"
        "engine = load_engine(find_model('speech_2d'), jobs=4);"
        "given = engine.score_tracks(np.zeros((1, 16000 * 60), np.float32) for _ in range(100)); next(given)"
    )
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
        assert (ended.returncode, ended.stderr) == (0, "")


def test_a_burst_wakes_or_starts_as_many_threads_as_it_needs():
    """One thread is idle; four jobs of different shapes must run at the same time."""
    together = threading.Barrier(4, timeout=30)
    first = threading.Event()

    def run(batch, crop):
        if first.is_set():
            together.wait()
        return batch[:, :, :1]

    batcher = Batcher(run, 4, 100)
    batcher.submit(chunk(0)).result(30)
    first.set()
    futures = [batcher.submit(chunk(n, samples=1 + n)) for n in range(4)]
    assert [future.result(30).item() for future in futures] == [0, 1, 2, 3]


def test_where_the_system_gives_no_thread_those_that_there_are_go_on(monkeypatch):
    batcher = Batcher(lambda batch, crop: batch[:, :, :1], 4, 100)
    batcher.submit(chunk(0)).result(30)

    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    futures = [batcher.submit(chunk(n, samples=1 + n)) for n in range(4)]
    assert [future.result(30).item() for future in futures] == [0, 1, 2, 3]
    with pytest.raises(RuntimeError, match="can't start new thread"):
        Batcher(lambda batch, crop: batch, 1, 100).submit(chunk(0))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_call_may_wait_for_what_was_submitted_before_it(threads):
    """Jobs are taken in order, so that one thread is enough; calls make no batch with samples or with each other."""
    batches = []

    def run(batch, crop):
        batches.append(len(batch))
        return batch[:, :, :1]

    batcher = Batcher(run, threads, 100)
    calls = []
    for n in range(40):
        parts = [batcher.submit(chunk(10 * n + k)) for k in range(3)]
        calls.append(batcher.submit_call(lambda parts=parts: sum(part.result(30) for part in parts)))
    assert [call.result(30).item() for call in calls] == [30 * n + 3 for n in range(40)]
    assert sum(batches) == 120
    batcher.close()


def test_a_call_that_fails_tells_who_asked_and_the_next_goes_on():
    batcher = Batcher(lambda batch, crop: batch, 1, 100)
    bad = batcher.submit_call(lambda: 1 / 0)
    good = batcher.submit_call(lambda: chunk(3))
    with pytest.raises(ZeroDivisionError):
        bad.result(30)
    assert (good.result(30) == 3).all()
    batcher.close()
