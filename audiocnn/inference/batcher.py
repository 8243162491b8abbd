"""Threads that run one network. Waiting chunks of equal shape are combined into a batch.

This module knows nothing of models, only of a function from samples to scores. The threads share the backend, and
therefore the weights. While one thread computes, another fetches its next batch and the caller continues reading:
numpy, ONNX Runtime and torch all release the interpreter lock while they compute.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple, Protocol
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from audiocnn.audio.pcm import Samples
from audiocnn.spec.geometry import NO_CROP, Crop

Scores = NDArray[np.float32]
_RUNNING: WeakSet[Batcher] = WeakSet()


class Backend(Protocol):
    """Runs the network on exactly the given samples, without extending them."""

    device: str

    def run(self, samples: Samples, crop: Crop = NO_CROP) -> Scores:
        """(batch, channels, samples) -> (batch, rows, outputs): the scores, followed by the edges if the model has any.
        crop: as in `Geometry.crop`."""
        ...


class Job(NamedTuple):
    """A job with samples calls run(samples, crop), possibly batched with similar jobs. A job without samples calls
    `call()`, always alone."""

    future: Future[Scores]
    samples: Samples | None = None
    crop: Crop = NO_CROP
    call: Callable[[], Scores] | None = None


class Batcher:
    """Runs `run`, (batch, channels, samples), crop -> (batch, rows, classes), in `count` threads, which are started on
    demand.

    A batch has at most `batch_samples` samples, counted over all channels, but always at least one job.
    """

    def __init__(self, run: Callable[[Samples, Crop], Scores], count: int, batch_samples: int) -> None:
        self.run, self.count, self.batch_samples = run, count, batch_samples
        self.closed = False
        self.renew()
        _RUNNING.add(self)

    def renew(self) -> None:
        """Reset to the initial state, without threads and jobs. Also called after a fork: they stay in the parent."""
        self.waiting: deque[Job] = deque()
        self.changed = threading.Condition()
        self.threads: list[threading.Thread] = []
        self.idle = 0

    def submit(self, samples: Samples, crop: Crop = NO_CROP) -> Future[Scores]:
        """(tracks, channels, samples) -> a future of the scores of all tracks, (tracks, rows, classes)."""
        return self.add(Job(Future(), samples, crop))

    def submit_call(self, call: Callable[[], Scores]) -> Future[Scores]:
        """A future of the result of `call`. `call` may wait for earlier submissions: jobs are taken in order."""
        return self.add(Job(Future(), call=call))

    def add(self, job: Job) -> Future[Scores]:
        with self.changed:
            if self.closed:
                raise RuntimeError("the threads have ended")
            self.waiting.append(job)
            if len(self.waiting) > self.idle and len(self.threads) < self.count:
                self.start()
            self.changed.notify()
        return job.future

    def start(self) -> None:
        """Start one more thread. If the system refuses, continue with the existing ones; there must be at least one."""
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
        """Tell the threads to end: running jobs are finished, waiting ones are cancelled."""
        with self.changed:
            self.closed = True
            for job in self.waiting:
                job.future.cancel()
            self.waiting.clear()
            self.changed.notify_all()

    def close(self) -> None:
        self.dismiss()
        for thread in self.threads:
            thread.join()

    def work(self) -> None:
        while jobs := self.take():
            try:
                scores = self.compute(jobs)
            except BaseException as problem:  # noqa: BLE001 - passed on to the caller that waits for the scores
                for job in jobs:
                    job.future.set_exception(problem)
                continue
            first = 0
            for job in jobs:
                tracks = len(scores) if job.samples is None else len(job.samples)
                job.future.set_result(scores[first : first + tracks])
                first += tracks
            del jobs, scores, job  # release everything before this thread waits

    def compute(self, jobs: list[Job]) -> Scores:
        if (call := jobs[0].call) is not None:
            return call()
        batch = [job.samples for job in jobs if job.samples is not None]
        return self.run(batch[0] if len(batch) == 1 else np.concatenate(batch), jobs[0].crop)

    def take(self) -> list[Job]:
        """The job that has waited longest, and others of its shape; none when the thread is to end."""
        with self.changed:
            while True:
                self.idle += 1
                while not self.waiting and not self.closed:
                    self.changed.wait()
                self.idle -= 1
                if self.closed:
                    return []
                if jobs := [job for job in self.choose() if job.future.set_running_or_notify_cancel()]:
                    return jobs

    def choose(self) -> list[Job]:
        """Take jobs for one batch from the queue, at most a fair share, so that other free threads get some too."""
        first = self.waiting.popleft()
        if first.samples is None:
            return [first]
        share = -(-(len(self.waiting) + 1) // self.count)
        chosen, shape, size = [first], first.samples.shape, first.samples.size
        room = self.batch_samples - size
        if share > 1 and room >= size:
            others: deque[Job] = deque()
            for job in self.waiting:
                alike = job.samples is not None and job.samples.shape == shape and job.crop == first.crop
                if alike and len(chosen) < share and room >= size:
                    chosen.append(job)
                    room -= size
                else:
                    others.append(job)
            self.waiting = others
        return chosen


@atexit.register
def _close_all() -> None:
    """A process that exits while ONNX Runtime computes is aborted. So wait for running jobs, some milliseconds."""
    for batcher in list(_RUNNING):
        batcher.close()


def _renew_all() -> None:
    for batcher in list(_RUNNING):
        batcher.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
