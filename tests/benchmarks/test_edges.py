"""The matching and the figures of benchmarks/edges.py, on edges whose answer is known by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from audiocnn.segments.segment import Annotation
from benchmarks import edges
from benchmarks.edges import Outcome, judge, match_edges, share_within, summarize, to_markdown
from data.samples.synthesis import Mixture


def mixture_of(*segments: tuple[float, float]) -> Mixture:
    """Ten seconds of nothing that claims to hold these segments."""
    silence = np.zeros((1, 160000), np.float32)
    return Mixture(silence, 16000, tuple(Annotation(*s, "speech") for s in segments), silence, ())


@pytest.mark.parametrize(
    ("true", "detected", "expected"),
    [
        ([1.0, 2.0], [1.03, 1.96], [0.03, -0.04]),
        ([1.0], [], [np.nan]),
        ([], [1.0], []),
        ([1.0], [1.6], [np.nan]),
        ([1.0], [1.5], [0.5]),
        ([1.0], [0.8, 1.1], [0.1]),
        # One detected edge serves one true edge: the nearest.
        ([1.0, 1.2], [1.15], [np.nan, -0.05]),
        # The nearest pair goes first, also where another order would match more within 0.1 s.
        ([1.0, 1.08], [1.05, 1.2], [0.2, -0.03]),
        # A detected edge twice, a true edge once.
        ([1.0], [1.01, 1.01], [0.01]),
    ],
)
def test_match_edges(true: list[float], detected: list[float], expected: list[float]) -> None:
    found = match_edges(np.array(true), np.array(detected))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("tolerance", edges.TOLERANCES_SECONDS)
def test_what_is_matched_within_a_tolerance_does_not_depend_on_the_limit(tolerance: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        true, detected = (np.sort(rng.uniform(0, 3, rng.integers(0, 8))) for _ in range(2))
        wide, narrow = match_edges(true, detected), match_edges(true, detected, tolerance)
        wide[np.abs(wide) > tolerance] = np.nan
        np.testing.assert_array_equal(wide, narrow)


def test_an_edge_exactly_at_the_tolerance_counts() -> None:
    assert share_within([match_edges(np.array([1.0]), np.array([1.1]))], 0.1, 0)["share"] == 1.0
    assert share_within([match_edges(np.array([1.0]), np.array([1.101]))], 0.1, 0)["share"] == 0.0


def test_the_interval_is_over_mixtures() -> None:
    # Ten mixtures, half of them found whole: edges within one are no independent evidence.
    errors = [np.full(100, 0.0 if index % 2 else np.nan) for index in range(10)]
    share = share_within(errors, 0.05, seed=1)
    assert share["share"] == 0.5
    assert share["low"] == pytest.approx(0.2, abs=0.05)
    assert share["high"] == pytest.approx(0.8, abs=0.05)


def test_figures_of_two_mixtures() -> None:
    first = judge(20.0, mixture_of((1.0, 2.0), (3.0, 4.0)), [(1.02, 2.07), (3.0, 4.3), (6.0, 7.0)])
    second = judge(20.0, mixture_of((1.0, 2.0)), [])
    figures = summarize([first, second], seed=0)
    assert (figures["mixtures"], figures["true_segments"], figures["detected_segments"]) == (2, 3, 3)
    assert figures["onsets"]["within_50_ms"]["share"] == pytest.approx(2 / 3)
    assert figures["offsets"]["within_50_ms"]["share"] == 0.0
    assert figures["offsets"]["within_100_ms"]["share"] == pytest.approx(1 / 3)
    assert figures["both"]["within_100_ms"]["share"] == pytest.approx(3 / 6)
    # 0.02 s and a whole second of 3 s are missed; 0.07 + 0.3 + 1.0 s of 17 s are false.
    assert figures["missed"] == pytest.approx(1.02 / 3)
    assert figures["false"] == pytest.approx(1.37 / 17)
    assert figures["median_absolute_error_seconds"] == pytest.approx(0.045)


def test_a_detector_that_says_nothing_has_figures() -> None:
    figures = summarize([judge(0.0, mixture_of((1.0, 2.0)), [])], seed=0)
    assert (figures["missed"], figures["false"]) == (1.0, 0.0)
    assert figures["both"]["within_100_ms"] == {"share": 0.0, "low": 0.0, "high": 0.0}
    assert to_markdown({"m": {"0 dB": figures}}).splitlines()[-1].endswith("| 100.0 | 0.0 | - |")


def test_an_onset_is_not_an_offset() -> None:
    outcome = judge(0.0, mixture_of((1.0, 2.0)), [(0.2, 1.0), (2.0, 2.9)])
    assert isinstance(outcome, Outcome)
    assert np.isnan(outcome.errors["both"]).all()


needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed (Debian: apt-get install espeak-ng)"
)


@pytest.mark.long
@needs_espeak
def test_a_mixture_depends_on_the_seed_and_its_number_alone() -> None:
    longer, shorter, other = (list(edges.make_mixtures(*wanted)) for wanted in ((4, 5), (2, 5), (2, 6)))
    assert [snr_db for snr_db, _ in longer] == [20.0, 10.0, 0.0, 20.0]
    assert longer[1][1].samples.tobytes() == shorter[1][1].samples.tobytes()
    assert longer[1][1].samples.tobytes() != other[1][1].samples.tobytes()


@pytest.mark.long
@needs_espeak
def test_a_detector_that_knows_the_truth_scores_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        edges, "load_detector", lambda name: lambda mixture: [(s.onset, s.offset) for s in mixture.segments]
    )
    assert edges.main(["--model", "truth", "--count", "4", "--json", str(tmp_path / "edges.json")]) == 0
    report = json.loads((tmp_path / "edges.json").read_text())
    assert list(report["models"]["truth"]) == ["20 dB", "10 dB", "0 dB", "all"]
    for figures in report["models"]["truth"].values():
        assert figures["both"]["within_50_ms"] == {"share": 1.0, "low": 1.0, "high": 1.0}
        assert (figures["missed"], figures["false"]) == pytest.approx((0.0, 0.0), abs=1e-9)
        assert figures["true_segments"] == figures["detected_segments"] > 0
    assert capsys.readouterr().out.count("\n") == 6
