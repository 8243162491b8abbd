"""A look at a dataset, with a bar: every sample is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audiocnn_cli.progress import Bar
from audiocnn_cli.terminal import Terminal

if TYPE_CHECKING:
    from audiocnn.dataset import Dataset
    from audiocnn.survey import Survey


def surveyed(dataset: Dataset, terminal: Terminal) -> Survey:
    """What `survey` finds."""
    from audiocnn.survey import survey

    with Bar(terminal, "survey") as bar:
        return survey(dataset, lambda done, total: bar.update(done, total, f"{done} of {total}"))
