"""What shows how a training went, besides its table: `curves.png`, and TensorBoard while it goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from audiocnn.errors import AudiocnnError
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.run_board import Board

Report = TypeVar("Report")


def boarded(reports: Iterable[Report], run: Path, wanted: bool) -> Iterator[Report]:
    """The reports as they are; where it is wanted, each epoch goes to TensorBoard, too."""
    if not wanted:
        yield from reports
        return
    from audiocnn.run_reports import EpochReport

    board = None
    try:
        for report in reports:
            if isinstance(report, EpochReport):
                board = board or begun(run, report.epoch)
                board.epoch(report)
            yield report
    finally:
        if board is not None:
            board.close()


def begun(run: Path, epoch: int) -> Board:
    """The event files of a run, from an epoch on; a new run shows its recipe, and one that was begun without
    TensorBoard the epochs before."""
    from audiocnn.run_board import BOARD, Board
    from audiocnn.run_log import read_log

    new = not (run / BOARD).is_dir()
    board = Board(run, 1 if new else epoch)
    if new:
        board.recipe((run / "recipe.toml").read_text(encoding="utf-8"))
        for row in read_log(run):
            if row["epoch"] < epoch:
                board.row(row)
    return board


def draw(run: Path, name: str, terminal: Terminal) -> list[str]:
    """Draw the curves of a run that has ended, and say where; that it cannot be drawn ends no training."""
    from audiocnn.run_log import read_log
    from audiocnn.run_pictures import CURVES, draw_curves

    try:
        draw_curves(read_log(run), run / CURVES, name)
    except AudiocnnError as problem:
        terminal.error(str(problem), "warning")
        return []
    return [f"curves: {run / CURVES}"]
