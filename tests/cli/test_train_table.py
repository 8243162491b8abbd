"""The table of epochs of `train`: on a terminal, every column shown is explained."""

from __future__ import annotations

import io
import re

import pytest
from fixtures_cli import Stream

from audiocnn.training.events import EpochReport
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.commands.train.run import _COLUMNS, EpochTable

REPORT = EpochReport(
    epoch=1, epochs=3, loss=0.5, validation_loss=0.6, figure_name="auroc", figure=0.9, best=True, learning_rate=0.001,
    seconds=1.0, waiting=0.1, audio_seconds_per_second=100.0, seconds_left=2.0,
)  # fmt: skip


def shown(columns, terminal=True):
    streams = Terminal(
        io.BytesIO(), Stream(terminal), Stream(terminal), {"COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "xterm"}
    )
    EpochTable(streams).row(REPORT)
    return re.sub(r"\x1b\[[0-9;]*m", "", streams.stderr.getvalue()).splitlines()


@pytest.mark.parametrize("columns", [44, 60, 80, 200])
def test_the_columns_that_are_shown_are_explained(columns):
    *legend, heads, row = shown(columns)
    said = " ".join(line.strip() for line in legend)
    titles = re.split(r"\s{2,}", heads.strip())
    assert [part.partition(":")[0] for part in said.split("; ")] == titles and "auroc" in titles
    assert all(column.text in said for column in _COLUMNS if column.title in titles)
    assert max(map(len, legend)) <= columns and "1/3" in row
    assert len(titles) == len(_COLUMNS) or columns < 80


def test_a_log_has_the_rows_alone():
    assert len(shown(80, terminal=False)) == 2
