"""How well a detector finds the edges of speech, on mixtures with known edges.

python -m benchmarks.edges --model speech_1d --model speech_2d [--count 200] [--seed 2] [--json FILE]

Each mixture is 8 to 10 s of synthetic voices over synthetic noise from `data.samples.synthesis` (needs
espeak-ng), at 20, 10 and 0 dB in turn and at a level drawn between -32 and -20 dB; mixture k depends on
(seed, k) alone. None of this is used in training. Segments are found with the thresholds of the model and
the default rule, without padding.

- A true edge is *found within t* if a detected edge of the same kind (onset or offset) of the same mixture
  lies within t seconds of it; one to one, the nearest pairs first.
- The interval (95 %) is a bootstrap over mixtures, because the edges of one mixture share voice and noise.
- *False* is the share of the time without speech that is detected as speech, *missed* the share of the time
  with speech that is not. The number of segments does not count as an error: the truth bridges silence under
  0.3 s, the default rule under 0.1 s, so even on clean voices it finds about 1.7 segments per true segment.
- The error is detected minus true, over true edges with a detected edge within 0.5 s.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from audiocnn.errors import AudiocnnError, ModelError
from audiocnn.segments.finder import SegmentRule, find_segments
from data.samples.synthesis import Mixture, MixtureRule, render_mixture

SNRS_DB = (20.0, 10.0, 0.0)
TOLERANCES_SECONDS = (0.05, 0.1)
MATCH_SECONDS = 0.5
RESAMPLINGS = 2000
LABEL = "speech"

Edges = NDArray[np.float64]
Detector = Callable[[Mixture], list[tuple[float, float]]]
"""Mixture -> (onset, offset) in seconds of the segments found."""


@dataclass(frozen=True)
class Outcome:
    """One mixture with one detector. Errors: detected minus true in seconds for each true edge, or NaN."""

    snr_db: float
    onset_errors: Edges
    offset_errors: Edges
    detected_segments: int
    speech_seconds: float
    other_seconds: float
    missed_seconds: float
    false_seconds: float

    @property
    def errors(self) -> dict[str, Edges]:
        """Kind of edge -> errors."""
        return {
            "onsets": self.onset_errors,
            "offsets": self.offset_errors,
            "both": np.concatenate([self.onset_errors, self.offset_errors]),
        }


def match_edges(true: Edges, detected: Edges, limit_seconds: float = MATCH_SECONDS) -> Edges:
    """Detected minus true for each true edge, NaN if no unmatched detected edge is within the limit.

    Edges are matched one to one, the nearest pair first, so matches within t do not depend on a limit above t.
    """
    errors = np.full(len(true), np.nan)
    taken = np.zeros(len(detected), bool)
    distances = np.asarray(detected)[np.newaxis, :] - np.asarray(true)[:, np.newaxis]
    for flat in np.argsort(np.abs(distances), axis=None, kind="stable"):
        row, column = divmod(int(flat), len(detected))
        if abs(distances[row, column]) > limit_seconds + 1e-9:
            break
        if np.isnan(errors[row]) and not taken[column]:
            errors[row] = distances[row, column]
            taken[column] = True
    return errors


def share_within(errors: Sequence[Edges], tolerance_seconds: float, seed: int) -> dict[str, float]:
    """Share of true edges within the tolerance and its 95 % interval; `errors` has one array per mixture."""
    found = np.array([np.sum(np.abs(e) <= tolerance_seconds + 1e-9) for e in errors])
    counts = np.array([e.size for e in errors])
    draws = np.random.default_rng(seed).integers(0, len(errors), (RESAMPLINGS, len(errors)))
    shares = found[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return {"share": float(found.sum() / counts.sum()), "low": float(low), "high": float(high)}


def summarize(outcomes: Sequence[Outcome], seed: int) -> dict[str, Any]:
    """The figures of one model at one SNR (or over all)."""
    both = np.concatenate([outcome.errors["both"] for outcome in outcomes])
    matched = both[~np.isnan(both)]
    figures: dict[str, Any] = {
        "mixtures": len(outcomes),
        "true_segments": both.size // 2,
        "detected_segments": sum(outcome.detected_segments for outcome in outcomes),
        "missed": sum(o.missed_seconds for o in outcomes) / sum(o.speech_seconds for o in outcomes),
        "false": sum(o.false_seconds for o in outcomes) / sum(o.other_seconds for o in outcomes),
        "median_absolute_error_seconds": float(np.median(np.abs(matched))) if matched.size else None,
    }
    for kind in ("onsets", "offsets", "both"):
        errors = [outcome.errors[kind] for outcome in outcomes]
        near = np.concatenate(errors)
        near = near[~np.isnan(near)]
        figures[kind] = {
            f"within_{1000 * tolerance:.0f}_ms": share_within(errors, tolerance, seed)
            for tolerance in TOLERANCES_SECONDS
        } | {"median_error_seconds": float(np.median(near)) if near.size else None}
    return figures


def make_mixtures(count: int, seed: int) -> Iterator[tuple[float, Mixture]]:
    """`count` times (SNR in dB, mixture)."""
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        snr_db = SNRS_DB[index % len(SNRS_DB)]
        rule = MixtureRule(rng.uniform(8, 10), snr_db=snr_db, level_db=rng.uniform(-32, -20))
        yield snr_db, render_mixture(rng, rule)


def load_detector(name: str) -> Detector:
    """The model of that name (or folder) as a detector, with its own threshold and without padding."""
    # Imported here, since the matching is tested without an engine.
    from audiocnn.inference.engine import load_engine
    from audiocnn.model.model import find_model

    model = find_model(name)
    if LABEL not in model.labels:
        raise ModelError(f'{name}: has no label "{LABEL}" but {", ".join(model.labels)}; take a speech detector')
    engine = load_engine(model)
    column = model.labels.index(LABEL)
    rule = SegmentRule(threshold=model.thresholds[LABEL], pad_seconds=0.0)

    def detect(mixture: Mixture) -> list[tuple[float, float]]:
        rate = model.spec.input.sample_rate
        samples = np.atleast_2d(soxr.resample(mixture.samples[0], mixture.sample_rate, rate)).astype(np.float32)
        scores = engine.score(samples)[:, column]
        duration_seconds = mixture.samples.shape[1] / mixture.sample_rate
        found = find_segments(scores, engine.hop_seconds, duration_seconds, LABEL, rule)
        return [(segment.start, segment.end) for segment in found]

    return detect


def judge(snr_db: float, mixture: Mixture, found: Sequence[tuple[float, float]]) -> Outcome:
    """Compares detected and true segments."""
    onsets, offsets = np.array(found, dtype=np.float64).reshape(-1, 2).T
    true = [(segment.onset, segment.offset) for segment in mixture.segments]
    true_onsets, true_offsets = np.array(true).T
    speech_seconds = float(np.sum(true_offsets - true_onsets))
    shared_seconds = sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in true for b in found)
    return Outcome(
        snr_db,
        match_edges(true_onsets, onsets),
        match_edges(true_offsets, offsets),
        detected_segments=len(found),
        speech_seconds=speech_seconds,
        other_seconds=mixture.samples.shape[1] / mixture.sample_rate - speech_seconds,
        missed_seconds=speech_seconds - shared_seconds,
        false_seconds=float(np.sum(offsets - onsets)) - shared_seconds,
    )


def run(names: Sequence[str], count: int, seed: int) -> dict[str, Any]:
    """The report: model -> "20 dB", "10 dB", "0 dB", "all" -> figures."""
    detectors = {name: load_detector(name) for name in names}
    outcomes: dict[str, list[Outcome]] = {name: [] for name in names}
    for done, (snr_db, mixture) in enumerate(make_mixtures(count, seed), start=1):
        for name, detect in detectors.items():
            outcomes[name].append(judge(snr_db, mixture, detect(mixture)))
        if done % 20 == 0:
            print(f"{done} of {count} mixtures", file=sys.stderr)
    groups = {f"{snr_db:g} dB": (snr_db,) for snr_db in SNRS_DB[:count]} | {"all": SNRS_DB}
    return {
        name: {
            group: summarize([outcome for outcome in mine if outcome.snr_db in wanted], seed)
            for group, wanted in groups.items()
        }
        for name, mine in outcomes.items()
    }


def to_markdown(report: dict[str, Any]) -> str:
    """The report as a table; shares in percent."""
    head = "model | SNR | true / detected segments | onsets 50 ms | onsets 100 ms | offsets 50 ms"
    head += " | offsets 100 ms | edges 50 ms [95 %] | edges 100 ms [95 %] | missed | false | median error"
    lines = [f"| {head} |", "|" + "---|" * (head.count("|") + 1)]
    for name, groups in report.items():
        for group, figures in groups.items():
            cells = [name, group, f"{figures['true_segments']} / {figures['detected_segments']}"]
            for kind in ("onsets", "offsets", "both"):
                for key in ("within_50_ms", "within_100_ms"):
                    share = figures[kind][key]
                    interval = f" [{100 * share['low']:.1f}, {100 * share['high']:.1f}]" if kind == "both" else ""
                    cells.append(f"{100 * share['share']:.1f}{interval}")
            error = figures["median_absolute_error_seconds"]
            cells += [f"{100 * figures['missed']:.1f}", f"{100 * figures['false']:.1f}"]
            cells.append("-" if error is None else f"{1000 * error:.0f} ms")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Edges of speech found in mixtures whose edges are known.")
    parser.add_argument("--model", action="append", required=True, help="name or folder; may be repeated")
    parser.add_argument("--count", type=int, default=200, help="number of mixtures")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    if options.count < 1:
        parser.error("--count: at least 1 mixture is needed")
    try:
        report = run(options.model, options.count, options.seed)
    except AudiocnnError as error:
        print(f"edges: {error}", file=sys.stderr)
        return 2
    print(to_markdown(report))
    if options.json:
        whole = {"count": options.count, "seed": options.seed, "models": report}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
