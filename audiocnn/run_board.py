"""A training in TensorBoard: the rows of `metrics.jsonl` as event files, in the folder `tensorboard` of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocnn.errors import UsageError

if TYPE_CHECKING:
    from audiocnn.run_reports import EpochReport

BOARD = "tensorboard"
TAGS = {
    "loss": "loss/training",
    "validation_loss": "loss/held_out",
    "learning_rate": "learning_rate",
    "audio_seconds_per_second": "speed/audio_seconds_per_second",
    "waiting": "speed/waiting",
    "seconds": "speed/seconds_per_epoch",
}


def check_board() -> None:
    """UsageError, with the remedy, where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise UsageError(
            "--tensorboard: TensorBoard is not installed; install it with `pip install 'audiocnn[tensorboard]'`"
        )


class Board:
    """Writes event files as epochs end. A run that goes on continues its curves: what older files have of epochs that
    are learned again is left out by TensorBoard."""

    def __init__(self, run: Path, epoch: int = 1) -> None:
        """epoch: the one that comes next."""
        from torch.utils.tensorboard import SummaryWriter

        # As TensorBoard has it, what was written earlier of steps from purge_step on does not count.
        self.writer: Any = SummaryWriter(str(run / BOARD), purge_step=epoch if epoch > 1 else None)

    def recipe(self, text: str) -> None:
        """Show the recipe under "Text"."""
        self.writer.add_text("recipe", "\n".join(f"    {line}" for line in text.splitlines()))

    def epoch(self, report: EpochReport) -> None:
        """An epoch has ended."""
        self.row(asdict(report))
        self.writer.flush()

    def row(self, row: Mapping[str, Any]) -> None:
        """What is known of an epoch, at its number."""
        figure = {"figure": f"figure/{row['figure_name']}"} if row["figure_name"] else {}
        for name, tag in (TAGS | figure).items():
            if row.get(name) is not None:
                self.writer.add_scalar(tag, row[name], row["epoch"])

    def close(self) -> None:
        """What was written is on the disk."""
        self.writer.close()
