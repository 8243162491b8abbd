"""How well wrong labels are found: labels of clips are changed at random, and clips are ranked by several measures.

    python -m benchmarks.doubtful DATASET --split dev -m MODEL -m MODEL --shares 0.03 0.1

DATASET is made by `audiocnn ingest`. A share of the labels is replaced by others, drawn evenly, in --repeats draws.
Prints the mean average precision with which each measure ranks the changed clips before all others. The measures use
p_own and p_other, the scores of the label and of the best other label:

    log-odds          ln(p_other / p_own), used by `audiocnn doubtful`
    self-confidence   -p_own                              (Northcutt, Jiang and Chuang 2021)
    margin            p_other - p_own                     (the same)
    confident first   the margin, after the errors found by their confident joint
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from audiocnn.data.dataset import Dataset
from audiocnn.evaluation.annotated import Scorer, evaluate
from audiocnn.evaluation.doubtful import doubts_between, find_likely_wrong
from audiocnn.evaluation.results import EvaluationSettings
from audiocnn.inference.engine import load_engine
from audiocnn.model.model import find_model

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def own_and_other(scores: Floats, truth: Bools) -> tuple[Floats, Floats]:
    """(clips, labels) -> the scores of the label and of the best other label."""
    own: Floats = np.where(truth, scores, 0.0).max(axis=1)
    other: Floats = np.where(truth, 0.0, scores).max(axis=1)
    return own, other


def self_confidence(scores: Floats, truth: Bools) -> Floats:
    """High if the label has a low score."""
    return -own_and_other(scores, truth)[0]


def margin(scores: Floats, truth: Bools) -> Floats:
    """High if another label has a higher score."""
    own, other = own_and_other(scores, truth)
    return other - own


def confident_first(scores: Floats, truth: Bools) -> Floats:
    """The margin, with errors found by the confident joint before all others."""
    return margin(scores, truth) + 2.0 * find_likely_wrong(scores, truth, alone=False)


MEASURES: dict[str, Callable[[Floats, Bools], Floats]] = {
    "log-odds": doubts_between,
    "self-confidence": self_confidence,
    "margin": margin,
    "confident first": confident_first,
}


def precisions(scores: Floats, truth: NDArray[np.int64], share: float, repeats: int) -> dict[str, float]:
    """The mean average precision of each measure. truth: (clips,) the number of each clip's label."""
    from sklearn.metrics import average_precision_score

    classes = scores.shape[1]
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    for seed in range(repeats):
        random = np.random.default_rng(seed)
        changed = random.random(len(truth)) < share
        if not changed.any():
            continue
        moved = (truth + random.integers(1, classes, len(truth))) % classes
        given = np.eye(classes, dtype=np.bool_)[np.where(changed, moved, truth)]
        for name, measure in MEASURES.items():
            found[name].append(float(average_precision_score(changed, measure(scores, given))))
    return {name: float(np.mean(values)) for name, values in found.items()}


def scored(dataset: Dataset, model: str, split: str | None) -> tuple[Floats, NDArray[np.int64], float]:
    """Scores (clips, labels), the number of each clip's label, and the accuracy of the model."""
    engine = load_engine(find_model(model), "cpu", None)
    labels = engine.model.labels
    rules = {label: engine.model.rule(label) for label in labels}
    scorer = Scorer(engine.score, engine.geometry.sample_rate, engine.hop_seconds, labels, rules)
    *_, last = evaluate(dataset, scorer, EvaluationSettings(resamples=0, smoothing_seconds=()), split)
    assert last.evaluation is not None and last.evaluation.clip is not None
    clip = last.evaluation.clip
    answers = [answer for answer in clip.answers if answer.right is not None]
    truth = np.array([labels.index(answer.labels[0]) for answer in answers])
    return np.stack([answer.scores for answer in answers]), truth, clip.figures["accuracy"].value or 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """A table in Markdown with a row per model and share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("-m", "--model", action="append", required=True)
    parser.add_argument("--split")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.03, 0.1])
    parser.add_argument("--repeats", type=int, default=60)
    options = parser.parse_args(arguments)
    dataset = Dataset.open(options.dataset)
    print(f"| accuracy of the model | labels changed | {' | '.join(MEASURES)} |")
    print(f"|---|---|{'---|' * len(MEASURES)}")
    for model in options.model:
        scores, truth, accuracy = scored(dataset, model, options.split)
        for share in options.shares:
            values = precisions(scores, truth, share, options.repeats).values()
            cells = " | ".join(f"{value:.2f}" for value in values)
            print(f"| {100 * accuracy:.0f} % | {100 * share:g} % | {cells} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
