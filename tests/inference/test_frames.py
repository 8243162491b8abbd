"""Results as tables, and what Python shows of the package."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from fixtures_cli import RATE, tone, tone_model  # noqa: F401

import audiocnn
from audiocnn.errors import UsageError

pytest.importorskip("pandas")
SOUND = tone((0.5, 1.0), (1.4, 1.8))


def test_a_detection_is_a_row_a_segment(tone_model):  # noqa: F811
    found = audiocnn.detect(
        np.stack([SOUND, SOUND]), tone_model, audiocnn.DetectSettings(channel="each"), sample_rate=RATE
    )
    frame = found.to_dataframe()
    assert list(frame.columns) == ["file", "channel", "start", "end", "label", "score"]
    assert frame["channel"].tolist() == [0, 0, 1, 1]
    assert frame["start"].tolist() == [round(one.start, 4) for one in found]
    assert set(frame["label"]) == {"tone"}


def test_scores_are_a_row_a_hop(tone_model):  # noqa: F811
    found = audiocnn.score(SOUND, tone_model, sample_rate=RATE, start_seconds=0.5)
    frame = found.to_dataframe()
    assert list(frame.columns) == ["file", "channel", "start", "tone"]
    assert len(frame) == found.scores.shape[1]
    assert frame["start"].iloc[0] == 0.5
    np.testing.assert_array_equal(frame["tone"], found.scores[0, :, 0])


def test_answers_are_rows(tone_model):  # noqa: F811
    frame = audiocnn.classify(SOUND, tone_model, sample_rate=RATE).to_dataframe()
    assert (frame["start"].iloc[0], frame["end"].iloc[0]) == (0.0, 2.0)


def test_nothing_found_is_a_table_without_rows(tone_model):  # noqa: F811
    frame = audiocnn.detect(np.zeros(RATE, np.float32), tone_model, sample_rate=RATE).to_dataframe()
    assert (len(frame), list(frame.columns)[-1]) == (0, "score")


def test_without_pandas_the_remedy_is_said(tone_model, monkeypatch):  # noqa: F811
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="needs pandas, which is not installed: pip install pandas"):
        audiocnn.detect(SOUND, tone_model, sample_rate=RATE).to_dataframe()


def test_dir_shows_the_public_names():
    assert dir(audiocnn) == sorted(audiocnn.__all__)
    assert all(getattr(audiocnn, name) is not None for name in dir(audiocnn))
