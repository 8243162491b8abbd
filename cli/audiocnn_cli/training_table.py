"""Training, followed on stderr: a row an epoch, a bar for the one in hand, and at the end what came out.

Rows are printed, not redrawn: they stay when the window is small, and off a terminal they are a log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audiocnn.units import clock
from audiocnn_cli.progress import Bar
from audiocnn_cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from audiocnn.training import EpochReport, StepReport, TrainReport
    from audiocnn.transfer import Origin


@dataclass(frozen=True)
class Column:
    """A column, and how it is left out where the window is narrow: the highest rank goes first."""

    title: str
    width: int
    rank: int


COLUMNS = (
    Column("epoch", 7, 0),
    Column("loss", 7, 1),
    Column("val loss", 8, 2),
    Column("FIGURE", 8, 0),
    Column("rate", 8, 4),
    Column("x real", 7, 3),
    Column("waiting", 7, 5),
    Column("left", 8, 2),
)


def follow(
    reports: Iterable[Origin | StepReport | EpochReport | TrainReport], terminal: Terminal, run: Path, device: str
) -> TrainReport:
    """Show each report as it comes; the last, of the training, is returned."""
    from audiocnn.training import EpochReport, StepReport
    from audiocnn.transfer import Origin

    terminal.say(f"training on {device} into {printable(str(run))}")
    table = EpochTable(terminal)
    with Bar(terminal, "epoch") as bar:
        for report in reports:
            if isinstance(report, StepReport):
                bar.what = f"epoch {report.epoch}"
                last = report.step == report.steps
                bar.update(report.step, report.steps, "judging" if last else f"loss {report.loss:.4f}")
            elif isinstance(report, EpochReport):
                table.row(report)
                bar.restart()
            elif isinstance(report, Origin):
                terminal.say(origin_line(report))
            else:
                return report
    raise AssertionError("a training ends with its report")


def origin_line(origin: Origin) -> str:
    """What the training began from: what was taken, what stays as it is, what is new."""
    parts = [f"groups {', '.join(origin.groups)}"]
    parts += [f"frozen {', '.join(origin.frozen)}"] if origin.frozen else []
    parts += [f"new {', '.join(origin.new)}"] if origin.new else []
    head = "F as there: the labels are the same" if origin.f == "kept" else "F new"
    return f"began from {origin.model}: {'; '.join([*parts, head])}"


def number(value: float | None) -> str:
    """-, where nothing is held out."""
    return "-" if value is None else f"{value:.4f}"


class EpochTable:
    """One row an epoch, of the columns that fit; the best so far are marked."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.begun = False
        room = terminal.width(terminal.stderr) - 2
        chosen = sorted(range(len(COLUMNS)), key=lambda i: COLUMNS[i].rank)
        while chosen and sum(COLUMNS[i].width + 2 for i in chosen) > room:
            chosen.pop()
        self.columns = sorted(chosen)

    def row(self, report: EpochReport) -> None:
        """An epoch has ended."""
        if self.terminal.quiet:
            return
        if not self.begun:
            titles = [column.title.replace("FIGURE", report.figure_name) for column in COLUMNS]
            self.show(titles, "dim")
            self.begun = True
        cells = [
            f"{report.epoch}/{report.epochs}",
            f"{report.loss:.4f}",
            number(report.validation_loss),
            number(report.figure),
            f"{report.learning_rate:.1e}",
            f"{report.audio_seconds_per_second:.0f}",
            f"{100 * report.waiting:.0f} %",
            clock(report.seconds_left),
        ]
        self.show(cells, "bold green" if report.best else "", " *" if report.best else "")

    def show(self, cells: list[str], style: str, mark: str = "") -> None:
        """A row on stderr."""
        from rich.text import Text

        line = "  ".join(f"{cells[i]:>{COLUMNS[i].width}}" for i in self.columns) + mark
        if self.terminal.watched:
            with self.terminal.paused():
                self.terminal.err.print(Text(line.rstrip(), style=style), soft_wrap=True)
        else:
            self.terminal.line(line.rstrip())
