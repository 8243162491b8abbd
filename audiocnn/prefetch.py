"""Prefetching: a thread prepares the next part while the current one is used."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from audiocnn.errors import check_not_forked

_T = TypeVar("_T")


class PrefetchingIterator(Generic[_T]):
    """An iterator over `parts` that a thread advances. At most `most` parts wait to be taken.

    An exception in the thread is raised in place of the part that failed. `close` waits until the thread has left
    `parts`. Until then, nothing else may use `parts` or what it reads from.
    """

    def __init__(self, parts: Iterator[_T], most: int) -> None:
        self.parts, self.most = parts, most
        self.made: deque[_T] = deque()
        self.changed = threading.Condition()
        self.problem: BaseException | None = None
        self.ended = self.closed = False
        self.pid = os.getpid()
        self.thread = threading.Thread(target=self.work, name="ahead", daemon=True)
        self.thread.start()

    def __iter__(self) -> Iterator[_T]:
        return self

    def __next__(self) -> _T:
        check_not_forked(self.pid, "reading ahead")
        with self.changed:
            while not self.made and not self.ended:
                self.changed.wait()
            if self.made:
                self.changed.notify()
                return self.made.popleft()
        if self.closed:
            raise RuntimeError("closed before its end; it cannot continue")
        problem, self.problem = self.problem, None
        raise problem or StopIteration

    def close(self) -> None:
        if self.pid != os.getpid():  # the thread exists in the parent process only
            return
        with self.changed:
            self.closed = True
            self.changed.notify()
        self.thread.join()

    def work(self) -> None:
        try:
            for part in self.parts:
                with self.changed:
                    self.made.append(part)
                    self.changed.notify()
                    while len(self.made) >= self.most and not self.closed:
                        self.changed.wait()
                    if self.closed:
                        return
        except BaseException as problem:  # noqa: BLE001 - raised again where it belongs
            self.problem = problem
        finally:
            with self.changed:
                self.ended = True
                self.changed.notify()
