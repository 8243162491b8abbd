"""Threads that run one network: chunks of equal shape that wait at the same time become one batch.

They know nothing of models, only of a function from samples to scores.
They share the backend, and so the weights. While one computes, another fetches its next batch and the caller goes on
reading; numpy, ONNX Runtime and torch all let go of the interpreter while they work.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.pcm import Samples
from audiocnn.spec.geometry import NO_CROP, Crop

Scores = NDArray[np.float32]
_Job = tuple[Samples, "Future[Scores]", Crop]
_RUNNING: WeakSet[Batcher] = WeakSet()


class Backend(Protocol):
    """Runs the network on the samples given, without extending them."""

    device: str

    def run(self, samples: Samples, crop: Crop = NO_CROP) -> Scores:
        """(batch, channels, samples) -> (batch, rows, outputs): scores, and behind them edges where there are any.
        crop: as of `Geometry.crop`."""
        ...


class Batcher:
    """Runs `run`, (batch, channels, samples), crop -> (batch, rows, classes), in `count` threads, started when first
    needed.

    A batch holds at most `batch_samples`, all channels counted, but always one job.
    """

    def __init__(self, run: Callable[[Samples, Crop], Scores], count: int, batch_samples: int) -> None:
        self.run, self.count, self.batch_samples = run, count, batch_samples
        self.closed = False
        self.renew()
        _RUNNING.add(self)

    def renew(self) -> None:
        """Without threads and jobs, as at the start and after a fork, in which they stay with the parent."""
        self.waiting: deque[_Job] = deque()
        self.changed = threading.Condition()
        self.threads: list[threading.Thread] = []
        self.idle = 0

    def submit(self, samples: Samples, crop: Crop = NO_CROP) -> Future[Scores]:
        """(tracks, channels, samples) -> the scores of all tracks, (tracks, rows, classes), later."""
        future: Future[Scores] = Future()
        with self.changed:
            if self.closed:
                raise RuntimeError("the threads have ended")
            self.waiting.append((samples, future, crop))
            if len(self.waiting) > self.idle and len(self.threads) < self.count:
                self.start()
            self.changed.notify()
        return future

    def start(self) -> None:
        """One more thread. Where the system gives none, those that there are go on; there must be one."""
        thread = threading.Thread(target=self.work, name=f"scores-{len(self.threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self.threads:
                self.waiting.clear()
                raise
        else:
            self.threads.append(thread)

    def dismiss(self) -> None:
        """Tell the threads to end: what runs is finished, what waits is cancelled."""
        with self.changed:
            self.closed = True
            for _, future, _ in self.waiting:
                future.cancel()
            self.waiting.clear()
            self.changed.notify_all()

    def close(self) -> None:
        self.dismiss()
        for thread in self.threads:
            thread.join()

    def work(self) -> None:
        while jobs := self.take():
            batch = jobs[0][0] if len(jobs) == 1 else np.concatenate([samples for samples, _, _ in jobs])
            try:
                scores = self.run(batch, jobs[0][2])
            except BaseException as problem:  # noqa: BLE001 - whoever waits for the scores gets to know
                for _, future, _ in jobs:
                    future.set_exception(problem)
                continue
            first = 0
            for samples, future, _ in jobs:
                future.set_result(scores[first : first + len(samples)])
                first += len(samples)
            del jobs, batch, scores, samples, future  # while this thread waits, nothing of them is held

    def take(self) -> list[_Job]:
        """The job that has waited longest, and others of its shape; none when it is time to go."""
        with self.changed:
            while True:
                self.idle += 1
                while not self.waiting and not self.closed:
                    self.changed.wait()
                self.idle -= 1
                if self.closed:
                    return []
                if jobs := [job for job in self.choose() if job[1].set_running_or_notify_cancel()]:
                    return jobs

    def choose(self) -> list[_Job]:
        """Takes jobs for one batch off those that wait: no more than a fair share, for others are free as well."""
        first = self.waiting.popleft()
        share = -(-(len(self.waiting) + 1) // self.count)
        chosen, room = [first], self.batch_samples - first[0].size
        if share > 1 and room >= first[0].size:
            others: deque[_Job] = deque()
            for job in self.waiting:
                alike = job[0].shape == first[0].shape and job[2] == first[2]
                if len(chosen) < share and alike and job[0].size <= room:
                    chosen.append(job)
                    room -= job[0].size
                else:
                    others.append(job)
            self.waiting = others
        return chosen


@atexit.register
def _close_all() -> None:
    """A process that ends while ONNX Runtime computes is aborted: wait for what runs, some milliseconds."""
    for batcher in list(_RUNNING):
        batcher.close()


def _renew_all() -> None:
    for batcher in list(_RUNNING):
        batcher.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
