"""A few of the spoiled runs and datasets; more by `python -m tests.helpers.fuzz.run_folders`."""

from __future__ import annotations

from fuzz.run_folders import fuzz


def test_spoiled_runs_and_datasets_are_rows_or_refused_in_one_line(tmp_path):
    counts, wrong = fuzz(60, 1, tmp_path)
    assert wrong == []
    assert {"spoil_dataset: refused", "spoil_dataset: used", "spoil_run: damaged", "spoil_run: interrupted"} <= set(
        counts
    )
