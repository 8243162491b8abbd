"""benchmarks/stored_features.py: both ways train, one of them reads features, and the table says what they took."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli_w
from fixtures_models import BATCH, LOG_MEL, RATE, table_of, tone_of
from sounds import write

from audiocnn.errors import UsageError
from audiocnn.spec.spec import spec_from_table
from benchmarks import stored_features
from benchmarks.pages import around_table
from benchmarks.stored_features import main, options_of, row_of, to_markdown

SPEC = table_of(LOG_MEL, [{"conv": 8, "kernel": 3}], {"window_seconds": 0.15, "output": "softmax"}, defaults=BATCH)


@pytest.mark.long
def test_both_ways_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(12):
        label = ("low", "high")[number % 2]
        write(tmp_path / "corpus" / label / f"{number}.wav", tone_of(0.3, 0.0, 0.3, 300 + 900 * (number % 2)), RATE)
    (tmp_path / "small.toml").write_text(tomli_w.dumps(SPEC))
    page = tmp_path / "page.md"
    page.write_text("<!-- stored features table -->\n<!-- end of stored features table -->\n")
    given = ["--data", tmp_path / "corpus", "--spec", tmp_path / "small.toml", "--runs", "1", "--table", page]
    assert main(list(map(str, given))) == 0
    assert "small: samples" in capsys.readouterr().err
    assert "| `small` | log_mel, 8 bands |" in page.read_text()


def test_a_row_holds_medians() -> None:
    runs = [
        {"samples": 2.0, "features": 1.0, "front_end": 0.4, "samples_megabytes": 8.0, "features_megabytes": 4.0},
        {"samples": 3.0, "features": 2.0, "front_end": 0.5, "samples_megabytes": 8.0, "features_megabytes": 4.0},
        {"samples": 9.0, "features": 3.0, "front_end": 0.6, "samples_megabytes": 8.0, "features_megabytes": 4.0},
    ]
    row = row_of(spec_from_table(SPEC, "small"), runs)
    assert row == ["`small`", "log_mel, 8 bands", "3.00", "2.00", "2.00", "50%", "8", "4"]
    assert to_markdown([row], "tones", 12, 3).count("|") == 3 * 9


def test_nothing_to_measure_is_refused() -> None:
    for words in (["--runs", "0"], ["--clips", "0"]):
        with pytest.raises(UsageError, match="must be at least 1"):
            options_of(words)


def test_the_page_has_a_place_for_the_table() -> None:
    around_table(stored_features.ROOT / "docs/background/performance.md", "stored features")
