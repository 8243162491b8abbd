"""Turns a trained network into a model folder: calibration, thresholds, ONNX export and model card.

The settings and results for whole recordings come last, from the model's own scores, as in `evaluate`.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from numpy.typing import NDArray

from audiocnn.augment.clips import ClipExamples, ValidationClips
from audiocnn.augment.mixture import Example
from audiocnn.errors import show_controls
from audiocnn.evaluation.annotated import engine_scorer, evaluate, score_entries
from audiocnn.evaluation.clips import ScoredClip
from audiocnn.evaluation.operating_points import as_points, tune_clip_points, tune_operating_points
from audiocnn.evaluation.results import MAIN_CLIP_FIGURES, Evaluation, EvaluationSettings
from audiocnn.evaluation.save_thresholds import save_tuned, with_operating_points
from audiocnn.evaluation.segments import JudgedRecording
from audiocnn.evaluation.thresholds import tune_threshold
from audiocnn.files import write_whole
from audiocnn.inference.engine import load_engine
from audiocnn.inference.pooling import ClipPool, MeanPool
from audiocnn.model.card import card_text, operating_points_section, pooling_section
from audiocnn.model.export import export_onnx, export_stream
from audiocnn.model.model import CARD, SENSITIVITIES, WEIGHTS, Model, OperatingPoint, write_model
from audiocnn.model.network import Network, append_background
from audiocnn.model.pooling import ClipPooling
from audiocnn.model.weights import save_weights
from audiocnn.recipe.recipe import RECIPE_FILE, Recipe, map_paths
from audiocnn.segments.finder import SegmentRule
from audiocnn.training.batches import TrainingSet
from audiocnn.training.calibrate import (
    MOST_CLIP_POSITIONS,
    Calibration,
    fit_calibration,
    fit_clip_calibration,
    fold_calibration,
)
from audiocnn.training.losses import with_rest
from audiocnn.training.pooling import (
    EVENT_POOLING,
    choose_clip_pooling,
    learned_pooling,
    pooled_scores,
    tune_label_pooling,
)
from audiocnn.training.validate import clip_targets, example_logits, scored_recordings, thinned_logits

_MOST_LISTED = 100  # labels in a card
MOST_VALUES = 2**26  # clips x positions x labels for a calibration; with more, every second, third, ... clip is used
# For segments of a network trained on whole clips, which may also have none of its labels: see
# docs/how-to/own-sounds.md.
CLIP_THRESHOLD, SHORTEST_SHARE = 0.75, 0.35
_KNOWN_SHARE = 0.95  # of the held-out clips that must reach the threshold of segments
_HIGHEST = ((10, 0.95), (100, 0.98))  # clips, highest threshold: lower for few, which also stopped the training
_MOST_KNOWN = 1000
_MOST_SECONDS = 36_000.0  # of held-out recordings for choosing the pooling: their scores are held in memory
_LEAST_CLIPS = 20  # held out; with fewer, they say less about scores than the network does


def release(
    recipe: Recipe, training_set: TrainingSet, network: Network, folder: Path, training: dict[str, Any]
) -> tuple[Model, float]:
    """Write the folder. Returns the model and the largest difference between its ONNX file and torch. For clips, the
    `validation` entry has the results of the final model instead of those that stopped the training."""
    network, pooling = network.eval().cpu(), None
    if training_set.clips:
        pooling = pool_clips(recipe, training_set, network)
        thresholds, points, tuned_on = tune_clip_thresholds(recipe, training_set, network, pooling)
    else:
        thresholds, points, tuned_on = tune_segment_rules(recipe, training_set, network)
    spec = recipe.spec.with_classes(len(training_set.labels))
    answer = "" if not training_set.clips else "several" if training_set.several else "one"
    training = {
        "seed": recipe.seed,
        "groups": training_set.groups,
        "hours": round(training_set.seconds / 3600, 2),
    } | training
    segments: dict[str, dict[str, float]] = {}
    if isinstance(training_set.source, ClipExamples) and spec.f.background:
        threshold = highest_threshold(training_set, network, recipe.train.batch_size)
        thresholds = dict.fromkeys(training_set.labels, threshold)
        shortest = shortest_event(training_set.source, spec.geometry().window_seconds)
        segments = {label: {"min_speech_seconds": shortest} for label in training_set.labels}
    about = (training_set.labels, thresholds, tuned_on, training)
    model = Model(recipe.name, folder, spec, *about, answer=answer, segments=segments, clip_pooling=pooling)
    if points:
        model = with_operating_points(model, points, tuned_on)
    write_model(model)
    write_whole(folder / RECIPE_FILE, tomli_w.dumps(strip_folders(recipe.to_table())).encode())
    save_weights(network, folder / WEIGHTS)
    difference = export_onnx(model, network)
    if spec.f.look_ahead_seconds is not None:  # made for live sound
        difference = max(difference, export_stream(model, network))
    model = judge_held_out(model, recipe, training_set)
    save_tuned(model)
    write_whole(folder / CARD, make_card(model, recipe, difference).encode())
    return model, difference


def judge_held_out(model: Model, recipe: Recipe, training_set: TrainingSet) -> Model:
    """The model with its pooling for segments, and with its results on clips, from the unmixed held-out recordings.
    They are scored as in `classify`."""
    held_out = training_set.held_out
    if not training_set.clips and model.usual_answer == "one":  # it was not trained on sounds between its labels
        return model
    if not training_set.clips and (held_out is None or not recipe.evaluate.calibrate):
        return replace(model, label_pooling=dict.fromkeys(model.labels, EVENT_POOLING))
    if held_out is None:
        return model
    with contextlib.closing(load_engine(model, "cpu")) as engine:
        scorer = engine_scorer(engine)
        if training_set.clips:
            *_, last = evaluate(held_out, scorer, EvaluationSettings(resamples=0))
            return with_clip_figures(model, last.evaluation)
        seconds = sum(held_out.duration_seconds(entry) for entry in held_out.entries)
        some = held_out.with_entries(held_out.entries[:: max(1, math.ceil(seconds / _MOST_SECONDS))])
        scored = [one for _, one in score_entries(some, scorer) if isinstance(one, JudgedRecording)]
    return with_label_pooling(model, scored)


def with_clip_figures(model: Model, evaluation: Evaluation | None) -> Model:
    """The model with results on clips as its `validation`. Unchanged if none is defined."""
    if evaluation is None or evaluation.clip is None:
        return model
    clip = evaluation.clip
    values = {name: clip.figures[name].value for name in MAIN_CLIP_FIGURES[clip.answer] if name in clip.figures}
    found = {name: round(value, 5) for name, value in values.items() if value is not None}
    return replace(model, training=model.training | {"validation": found or model.training["validation"]})


def with_label_pooling(model: Model, recordings: Sequence[JudgedRecording]) -> Model:
    """A model trained on segments, with the best pooling for these recordings."""
    found = {label: tune_label_pooling(recordings, model.labels, label) for label in model.labels}
    return replace(model, label_pooling=found)


def pool_clips(recipe: Recipe, training_set: TrainingSet, network: Network) -> ClipPooling | None:
    """The pooling of clips of any length, for a network trained on whole clips, whose scores are calibrated first. None
    if the mean has an answer for every clip."""
    calibrate_clips(recipe, training_set, network)
    plain = network.spec.f.output == "softmax" and not network.spec.f.background
    if plain or not isinstance(training_set.source, ClipExamples):
        return None
    learned = learned_pooling(learned_seconds(training_set.source), network.geometry.near_seconds)
    if len(training_set.validation) < _LEAST_CLIPS or not recipe.evaluate.calibrate:
        return learned
    targets = clip_targets(training_set)
    pooling, gain = choose_clip_pooling(network, training_set.validation, targets, learned, recipe.train.batch_size)
    if gain != 1.0:
        count = len(training_set.labels)
        fold_calibration(network, Calibration((gain,) * count, (0.0,) * count))
    return pooling


def highest_threshold(training_set: TrainingSet, network: Network, batch_size: int) -> float:
    """The threshold of segments: as high as possible while nearly all held-out clips that the network recognises reach
    it somewhere, because sounds with none of the labels rarely score as high; at least `CLIP_THRESHOLD`."""
    if not isinstance(training_set.validation, ValidationClips):
        return CLIP_THRESHOLD
    clips = training_set.validation
    some = ValidationClips(clips.clips, -(-len(clips) // _MOST_KNOWN))
    peaks: list[float] = []
    for rows, own in zip(thinned_logits(network, some, batch_size), some.targets(), strict=True):
        scores = network.scores_of(torch.from_numpy(rows)).numpy()
        if own.any() and scores.max(axis=0).argmax() == own.argmax():
            peaks.append(float(scores[:, own.argmax()].max()))
    allowed = [highest for least, highest in _HIGHEST if len(peaks) >= least]
    if not allowed:
        return CLIP_THRESHOLD
    return round(float(np.clip(np.quantile(peaks, 1.0 - _KNOWN_SHARE), CLIP_THRESHOLD, allowed[-1])), 2)


def shortest_event(clips: ClipExamples, window_seconds: float) -> float:
    """The minimum length of a segment in seconds, for a network trained on whole clips. While its window slides over an
    event as long as a clip, it sees most of the event for about this time; shorter segments are only partly seen."""
    return round(SHORTEST_SHARE * min(window_seconds, float(np.median(learned_seconds(clips)))), 2)


def learned_seconds(clips: ClipExamples) -> list[float]:
    """The durations of the training clips with a label."""
    learned = [entry for entry in clips.entries if clips.columns.keys() & set(entry.labels)]
    return [clips.dataset.duration_seconds(entry) for entry in learned]


def tune_segment_rules(
    recipe: Recipe, training_set: TrainingSet, network: Network
) -> tuple[dict[str, float], dict[str, dict[str, OperatingPoint]], str]:
    """A threshold for each label; if labels are independent, also operating points; and what they were tuned on. Empty
    if nothing was held out."""
    labels, measure = training_set.labels, recipe.evaluate.tune_for
    examples = [own for own in (training_set.validation, *training_set.also.values()) if len(own)]
    if not examples:
        return {}, {}, ""
    logits = [example_logits(network, own, recipe.train.batch_size) for own in examples]
    if recipe.evaluate.calibrate:
        logits = calibrate_network(network, examples, logits)
    sets = [scored_recordings(network, labels, *pair) for pair in zip(examples, logits, strict=True)]
    conditions, count = recipe.evaluate.conditions, len(training_set.validation)
    names = [f"{count} mixtures of the part held out from training"] if count else []
    if conditions is not None:
        names = [f'part "{recipe.evaluate.part}" of {conditions.name} ({count} recordings)']
    tuned_on = ", ".join(names + [f"{name} ({len(own)} recordings)" for name, own in training_set.also.items()])
    cross_fit = bool(training_set.also)  # annotated data is scarce: nothing is measured on what it was tuned on
    how = "tuned on one half of each, measured on the other" if cross_fit else "tuned and measured on the same"
    thresholds: dict[str, float] = {}
    points: dict[str, dict[str, OperatingPoint]] = {}
    for label in labels:
        if network.spec.f.output == "sigmoid":
            live = network.spec.f.look_ahead_seconds is not None
            tuned = tune_operating_points(sets, labels, label, measure, cross_fit, live=live)
            points[label] = as_points(tuned, f"{tuned_on}; {how}")
            thresholds[label] = tuned[SENSITIVITIES[0]].rule.threshold
        else:
            rule = SegmentRule(pad_seconds=0.0)
            together = [one for own in sets for one in own]
            thresholds[label] = round(tune_threshold(together, labels, label, rule, measure)[0], 3)
    return thresholds, points, f"{tuned_on}, {measure.replace('_', ' ')}"


def calibrate_clips(recipe: Recipe, training_set: TrainingSet, network: Network) -> None:
    """Calibrate the mean scores of clips, if enough clips were held out and the recipe wants it."""
    if len(training_set.validation) < _LEAST_CLIPS or not recipe.evaluate.calibrate:
        return
    clips, targets = training_set.validation, clip_targets(training_set)
    every = -(-targets.size * MOST_CLIP_POSITIONS // MOST_VALUES)
    some = ValidationClips(clips.clips, every) if isinstance(clips, ValidationClips) else clips[::every]
    logits, wanted = thinned_logits(network, some, recipe.train.batch_size), targets[::every]
    softmax, background = network.spec.f.output == "softmax", network.spec.f.background
    if background:
        logits, wanted = [pad_background(rows) for rows in logits], with_rest(torch.from_numpy(wanted)).numpy()
    fold_calibration(network, fit_clip_calibration(logits, wanted, softmax).of(len(training_set.labels)))


def tune_clip_thresholds(
    recipe: Recipe, training_set: TrainingSet, network: Network, pooling: ClipPooling | None
) -> tuple[dict[str, float], dict[str, dict[str, OperatingPoint]], str]:
    """For clips of several labels, the threshold with the best F1 for each label that some held-out clips have and some
    do not, and operating points. Empty for clips of one label, where the highest score is the answer."""
    count = len(training_set.validation)
    if count < _LEAST_CLIPS or not training_set.several:
        return {}, {}, ""
    clips, targets = training_set.validation, clip_targets(training_set)
    pool = MeanPool if pooling is None else partial(ClipPool, pooling, network.geometry.hop_seconds, False)
    scores = pooled_scores(network, clips, recipe.train.batch_size, [pool])[0].astype(np.float64)
    scored = [
        ScoredClip(str(number), own, "", labels=tuple(np.array(training_set.labels)[has > 0.5].tolist()))
        for number, (own, has) in enumerate(zip(scores, targets, strict=True))
    ]
    tuned_on, points = f"{count} clips held out from training", {}
    for column, label in enumerate(training_set.labels):
        if 0.0 < targets[:, column].mean() < 1.0:
            found = tune_clip_points(scored, training_set.labels, label)
            points[label] = as_points(found, f"{tuned_on}; tuned and measured on the same", clips=True)
    tuned = {label: own[SENSITIVITIES[0]].values["threshold"] for label, own in points.items()}
    return tuned, points if network.spec.f.output == "sigmoid" else {}, f"{tuned_on}, f1" if tuned else ""


def strip_folders(table: dict[str, Any]) -> dict[str, Any]:
    """A complete recipe whose paths are reduced to names, valid on any machine."""

    def named(path: str, source: str) -> str:
        inside = bool(source) and Path(path).is_relative_to(source)
        return Path(path).relative_to(source).as_posix() if inside else Path(path).name

    return map_paths(table, named)


def calibrate_network(
    network: Network, sets: Sequence[Sequence[Example]], logits: list[list[NDArray[np.float32]]]
) -> list[list[NDArray[np.float32]]]:
    """Calibrate the scores of a network on sets of examples with equal weight. Returns their new logits."""
    targets, given, labels = [[example.targets for example in own] for own in sets], logits, network.spec.outputs
    if network.spec.f.background:
        given = [[pad_background(rows) for rows in own] for own in logits]
        targets = [[with_rest(torch.from_numpy(rows)).numpy() for rows in own] for own in targets]
    fitted = fit_calibration(given, targets, network.spec.f.output == "softmax").of(labels)
    if not fold_calibration(network, fitted):
        return logits
    gain, shift = np.array(fitted.gain, np.float32), np.array(fitted.shift, np.float32)
    return [[rows * gain + shift for rows in own] for own in logits]


def pad_background(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """(rows, labels) logits, with that of "none of these" appended."""
    return append_background(torch.from_numpy(rows)).numpy()


def describe_machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {os.cpu_count()} cores, {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def list_labels(labels: Sequence[str]) -> str:
    """All labels, or the first ones of very many."""
    more = len(labels) - _MOST_LISTED
    return ", ".join(labels[:_MOST_LISTED]) + (f" and {more:,} more" if more > 0 else "")


VALIDATION_ROW = "validation"  # of the card; the results of the test follow it


def add_test_result(folder: Path, rows: Sequence[tuple[str, str]]) -> None:
    """Add rows, each a name that begins with "test: " and a text, to the table of the card in a model folder. They
    replace those of an earlier test."""
    path = folder / CARD
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if not line.startswith("| test: ")
    ]
    place = next((k for k, line in enumerate(lines) if line.startswith(f"| {VALIDATION_ROW}: ")), None)
    place = place if place is not None else next(k for k, line in enumerate(lines) if line.startswith("| training |"))
    lines[place + 1 : place + 1] = [f"| {card_text(name)} | {card_text(text)} |\n" for name, text in rows]
    write_whole(path, "".join(lines).encode("utf-8"))


def make_card(model: Model, recipe: Recipe, difference: float) -> str:
    geometry, training, origin = model.geometry, model.training, model.training.get("from")
    thresholds = ", ".join(f"{label} {value:g}" for label, value in model.thresholds.items()) or "0.5 (not tuned)"
    if model.answer == "one":
        thresholds = "none: the answer is the label with the highest score"
        if model.background:
            thresholds += f", or none of them; of `detect` {max(model.thresholds.values()):g}"
    data = recipe.data.source.name if recipe.data else "a dataset"
    groups = training["groups"]
    held_out = f"{groups['validation']} groups held out to stop early"
    rows = [
        ("labels", list_labels(model.labels)),
        ("input", f"{geometry.sample_rate} Hz, {model.channels} channel(s)"),
        ("one score each", f"{geometry.hop_seconds:g} s, from a window of {geometry.window_seconds:.3f} s"),
        ("thresholds", thresholds + (f", tuned on {model.tuned_on}" if model.tuned_on else "")),
        (
            "trained on",
            f"{training['hours']} h of `{data}`, {groups['train']} groups; "
            + (held_out if training["validation"] else "nothing was held out"),
        ),
    ]
    if origin:
        parts = f"groups {', '.join(origin['groups'])}"
        parts += f" ({', '.join(origin['frozen'])} unchanged)" if origin["frozen"] else ""
        said = f"`{origin['model']}`: {parts}, F {origin['f']}; its card says what it was trained on"
        rows.append(("began from", said))
    if "teacher" in training:
        rows.append(("taught by", f"`{training['teacher']}`, {recipe.train.teacher_share:.0%} of each target"))
    rows.append(
        (
            "training",
            f"{training['epochs']} epochs, best {training['best_epoch']}, seed {training['seed']}, "
            f"{training['seconds'] / 60:.0f} min on {training['threads']} thread(s) ({training['machine']})",
        )
    )
    rows += [(f"{VALIDATION_ROW}: {name}", f"{figure:.4f}") for name, figure in [*training["validation"].items()][:1]]
    rows.append(("ONNX against torch", f"at most {difference:.0e} apart"))
    table = "".join(f"| {name} | {card_text(text)} |\n" for name, text in rows)
    more = recipe.card and f"\n{show_controls(recipe.card.strip())}\n"
    for section in (pooling_section(model), operating_points_section(model)):
        more += f"\n{section}" if section else ""
    return f"# {card_text(model.name)}\n\n{card_text(model.spec.summary)}\n\n| | |\n|---|---|\n{table}{more}"
