"""The progress of a workflow of the library, shown on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from audiocnn.errors import printable
from audiocnn.workflows.listener import FollowIngest, FollowStage, Listener
from audiocnn_cli.app.progress import Bar
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.ingest import IngestFollower


class TerminalListener(Listener):
    """Shows the progress of a workflow on stderr."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal

    def say(self, text: str) -> None:
        self.terminal.say(printable(text))

    def warn(self, text: str, kind: str = "warning") -> None:
        self.terminal.error(text, kind)

    def say_block(self, title: str, lines: Sequence[str]) -> None:
        self.terminal.say_block(title, [printable(line) for line in lines])

    @contextmanager
    def ingesting(self, what: str = "ingest") -> Iterator[FollowIngest]:
        with IngestFollower(self.terminal, what) as follower:
            yield follower

    @contextmanager
    def stage(self, what: str, title: str = "") -> Iterator[FollowStage]:
        with Bar(self.terminal, title or what) as bar:
            yield bar.update
