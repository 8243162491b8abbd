"""The three folders that `own_times` measures a training of."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import soundfile

from benchmarks import own_times
from benchmarks.measuring import ROOT, BenchmarkError

SHARED = ROOT.parent / "shared"
needs_recordings = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared recordings are not there")


@needs_recordings
@pytest.mark.parametrize(("name", "labels", "clips"), [("words", 6, 240), ("digits", 10, 2700)])
def test_a_folder_a_label(name: str, labels: int, clips: int, tmp_path: Path) -> None:
    own_times.make_folder(name, SHARED, tmp_path / name)
    counts = Counter(path.parent.name for path in (tmp_path / name).glob("*/*"))
    assert (len(counts), sum(counts.values())) == (labels, clips)
    assert set(counts.values()) == {clips // labels}
    assert all(path.exists() for path in (tmp_path / name).glob("*/*"))


@needs_recordings
def test_clips_of_five_seconds_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_times, "PLACE_CLIPS", 3)
    own_times.make_folder("places", SHARED, tmp_path / "places")
    paths = list((tmp_path / "places").glob("*/*.wav"))
    assert Counter(path.parent.name for path in paths) == dict.fromkeys(own_times.PLACES, 3)
    assert {soundfile.info(path).duration for path in paths} == {5.0}


def test_too_few_recordings_are_said(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="piano: 0 clips of 5 s, 50 are wanted"):
        own_times.cut([{"filename": "a.wav", "duration": "4.9"}], tmp_path, tmp_path / "piano")


def test_the_clock_and_the_cores_are_in_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def trained(folder: Path, run: Path) -> own_times.Figure:
        assert (folder.name, run.name) == ("words", "words.run")
        return {"seconds": 80.4, "cpu_seconds": 70.0, "epochs": 40}

    (tmp_path / "words").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_times, "trained", trained)
        assert own_times.main([str(SHARED), "-o", str(tmp_path), "--set", "words"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "| words | 80 | 35 | 61 | 40 |"
