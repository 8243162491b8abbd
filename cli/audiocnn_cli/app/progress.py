"""A progress bar on stderr. Not shown in a pipe or for short work."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from audiocnn.units import clock
from audiocnn_cli.app.terminal import Terminal, spell

if TYPE_CHECKING:
    from rich.progress import Progress

_PATIENCE_SECONDS = 0.5  # shorter work shows no bar, which would only flicker
_WIDE = 70  # narrower terminals show percentage and remaining time without a bar
_MOST_NAME = 30


class Bar:
    """A progress bar that appears if the work takes long. `update` may be called as often as needed."""

    def __init__(self, terminal: Terminal, what: str, unit: str = "") -> None:
        self.terminal, self.what, self.unit = terminal, what, unit
        self.began = time.monotonic()
        self.progress: Progress | None = None
        self.shown = False

    def __enter__(self) -> Bar:
        if self.terminal.shows_progress:
            self.terminal.live = self
        return self

    def __exit__(self, *_: object) -> None:
        self.hide()
        self.terminal.live = None

    def update(self, done: float, total: float | None, note: str = "") -> None:
        """Show `done` of `total` (None if unknown), with a short note after the bar."""
        if self.terminal.live is not self:
            return
        elapsed = time.monotonic() - self.began
        if self.progress is None:
            if elapsed < _PATIENCE_SECONDS:
                return
            self.progress = self.make()
            self.progress.add_task(_shorten_name(self.name, self.room("")), total=total, note="", left="")
            self.show()
        known = total is not None and 0 < done <= total
        left = f"{clock(elapsed / done * (total - done))} left" if known and total is not None else ""
        task = self.progress.task_ids[0]
        what = _shorten_name(self.name, self.room(left))
        self.progress.update(task, description=what, completed=done, total=total, note=note, left=left)

    def restart(self) -> None:
        """Reuse the bar for the next piece of work."""
        self.hide()
        self.progress, self.began = None, time.monotonic() - _PATIENCE_SECONDS

    @property
    def name(self) -> str:
        """The name of the current item, in characters of the terminal's encoding. Escaped characters are longer."""
        return spell(self.what, self.terminal.stderr)

    def room(self, left: str) -> int:
        """Maximum length of the name, leaving room for percentage and remaining time."""
        width = self.terminal.err.width
        return _MOST_NAME if width >= _WIDE else width - len(" 100% ") - len(left)

    def make(self) -> Progress:
        from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn

        console = self.terminal.err
        wide = console.width >= _WIDE
        columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False)]
        columns += [BarColumn(bar_width=None)] if wide else []
        columns += [TaskProgressColumn()]
        columns += [TextColumn("{task.fields[note]}", style="cyan", markup=False)] if wide else []
        columns += [TextColumn("{task.fields[left]}", style="dim", markup=False)]
        return Progress(*columns, console=console, transient=True, expand=wide)

    def hide(self) -> None:
        if self.progress is not None and self.shown:
            self.progress.stop()
            self.shown = False

    def show(self) -> None:
        """Show the bar again, below any text written while it was hidden."""
        if self.progress is not None and not self.shown:
            self.progress.start()
            self.shown = True


def _shorten_name(name: str, room: int) -> str:
    """A name shortened to its end, which is more informative than its beginning."""
    if len(name) <= room:
        return name
    return "…" + name[len(name) - room + 1 :] if room > 1 else ""
