"""Writes tuned thresholds and times into a model: into `model.toml`, the model card and the ONNX file."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from audiocnn.errors import ModelError, UsageError, show_name
from audiocnn.evaluation.thresholds import TunedRule
from audiocnn.files import fit_name, write_whole
from audiocnn.model.card import (
    POINTS_TITLE,
    POOLING_TITLE,
    card_text,
    operating_points_section,
    pooling_section,
    with_section,
)
from audiocnn.model.model import (
    CARD,
    ONNX,
    POINT_FIGURES,
    POINT_KEYS,
    SEGMENT_KEYS,
    SENSITIVITIES,
    Model,
    OperatingPoint,
    write_model,
)
from audiocnn.model.onnx import check_onnx
from audiocnn.segments.finder import SegmentRule

_CARD_ROW = re.compile(r"^\| thresholds \|.*$", re.MULTILINE)


def check_writable(model: Model) -> None:
    """UsageError for a released model."""
    if model.is_released:
        remedy = "save a copy with --save-as FOLDER"
        raise UsageError(f"--save: {model.name} is a released model and cannot be changed; {remedy}")


def check_new_model(option: str, folder: Path) -> None:
    """UsageError if a folder for a new model cannot be created."""
    if os.path.lexists(folder):
        raise UsageError(f"{option} {show_name(folder)}: already exists; give a new folder")
    there = next((parent for parent in folder.absolute().parents if parent.exists()), folder)
    if not there.is_dir() or not os.access(there, os.W_OK):
        why = "is not writable" if there.is_dir() else "is not a folder"
        raise UsageError(f"{option} {show_name(folder)}: {show_name(there)} {why}; give another folder")


def with_tuned_rules(model: Model, found: Sequence[TunedRule], tuned_on: str) -> Model:
    """The model with the best rules. Labels that were not tuned keep their own."""
    thresholds, segments = dict(model.thresholds), {label: dict(own) for label, own in model.segments.items()}
    pooled = [one for one in found if one.clips and one.label in model.label_pooling]
    for one in pooled:  # segment detection is unchanged
        model = _with_clip_thresholds(model, one.label, {SENSITIVITIES[0]: one.best.rule.threshold})
    found = [one for one in found if one not in pooled]
    for one in found:
        thresholds[one.label] = round(one.best.rule.threshold, 6)
        segments[one.label] = _own_values(model, one)
    tuned = replace(model, thresholds=thresholds, segments=segments, tuned_on=tuned_on if found else model.tuned_on)
    points = dict(model.points)
    for one in found:
        if one.label in points:  # the other points are unchanged; the tuned rule becomes `balanced`
            figures = {key: round(x, 4) for key, x in one.best.figures.items() if key in POINT_FIGURES}
            balanced = OperatingPoint(tuned.point_values(one.label), figures, tuned_on)
            points[one.label] = {**points[one.label], SENSITIVITIES[0]: balanced}
    return replace(tuned, points=points)


def _with_clip_thresholds(model: Model, label: str, found: Mapping[str, float]) -> Model:
    """The model with these thresholds for whole recordings, by operating point."""
    pooling = model.label_pooling[label]
    now = {name: model.clip_threshold(label, name if model.points else None) for name in SENSITIVITIES}
    thresholds = {name: round(x, 6) for name, x in (now | dict(pooling.thresholds) | dict(found)).items()}
    return replace(model, label_pooling=model.label_pooling | {label: replace(pooling, thresholds=thresholds)})


def with_operating_points(
    model: Model, found: Mapping[str, Mapping[str, OperatingPoint]], tuned_on: str, clips: bool = False
) -> Model:
    """The model with the operating points of these labels; other labels keep theirs. clips: the points are for whole
    recordings; if the model pools their scores, segment detection is unchanged."""
    for label in [label for label in found if clips and label in model.label_pooling]:
        thresholds = {name: point.values["threshold"] for name, point in found[label].items()}
        model = _with_clip_thresholds(model, label, thresholds)
        found = {other: own for other, own in found.items() if other != label}
    if not found:
        return model
    thresholds, segments = dict(model.thresholds), dict(model.segments)
    for label, own in found.items():
        values = dict(own[SENSITIVITIES[0]].values)
        thresholds[label] = values.pop("threshold")
        segments[label] = {**segments.get(label, {}), **values}
    tuned = replace(model, thresholds=thresholds, segments=segments, tuned_on=tuned_on)
    points = model.points | {
        label: {**own, name: replace(own[name], values=tuned.point_values(label))}
        for label, own in found.items()
        for name in SENSITIVITIES[:1]
    }
    return replace(tuned, points=points)


def _own_values(model: Model, found: TunedRule) -> dict[str, float]:
    """The values that a model must store for a label besides its threshold: those that differ from the defaults."""
    threshold = found.best.rule.threshold
    plain = replace(model, thresholds={found.label: threshold}, segments={}, points={}).rule(found.label)
    keys = POINT_KEYS if found.label in model.points else SEGMENT_KEYS
    values = {name: getattr(found.best.rule, name) for name in keys.values()}
    return {name: value for name, value in values.items() if value is not None and value != getattr(plain, name)}


def save_tuned(model: Model) -> None:
    """Write the tuned values of a model; its weights are unchanged. `model.toml`, which is decisive, is written last.
    If the process ends before that, nothing counts as saved."""
    try:
        _write_metadata(model)
        _write_card(model)
        write_model(model)
    except OSError as problem:
        raise ModelError(f"{model.folder}: cannot be written ({problem.strerror}); free space, or copy it") from None


def save_tuned_as(model: Model, folder: Path) -> Model:
    """A copy of the model in a new folder, named after it, with the tuned values. The folder gets its name only when it
    is complete, and the original is unchanged. UsageError: it exists; ModelError: it cannot be written."""
    check_new_model("--save-as", folder)
    beside = folder.with_name(fit_name(f".{folder.name}", f".{os.getpid()}"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(model.folder, beside)
        _rename_card(beside / CARD, model.name, folder.resolve().name)
        save_tuned(replace(model, folder=beside, name=folder.resolve().name))
        beside.rename(folder)
    except OSError as problem:
        raise ModelError(f"{show_name(folder)}: cannot be written ({problem.strerror}); give another folder") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return replace(model, folder=folder, name=folder.resolve().name)


def _rename_card(path: Path, old: str, new: str) -> None:
    """Put the new name into the heading of a card."""
    if path.is_file():
        text = path.read_text(encoding="utf-8")
        write_whole(path, text.replace(f"# {old}\n", f"# {card_text(new)}\n", 1).encode())


def _write_card(model: Model) -> None:
    path = model.folder / CARD
    if not path.is_file():
        return
    thresholds = ", ".join(f"{label} {value:g}" for label, value in model.thresholds.items())
    more = "; ".join(f"{label}: {_format_options(own)}" for label, own in model.segments.items() if own)
    said = f"{thresholds}{'; ' + more if more else ''}, tuned on {model.tuned_on}"
    row, text = f"| thresholds | {card_text(said)} |", path.read_text(encoding="utf-8")
    if model.tuned_on:
        text = _CARD_ROW.sub(lambda match: row, text, count=1)
    sections = {POOLING_TITLE: pooling_section(model), POINTS_TITLE: operating_points_section(model)}
    for title, section in sections.items():
        text = with_section(text, title, section) if section else text
    write_whole(path, text.encode())


def _format_options(own: Mapping[str, float]) -> str:
    names = {field: key.replace("_", "-") for key, field in POINT_KEYS.items()}
    return ", ".join(f"{names[name]} {value:g}" for name, value in own.items())


def _write_metadata(model: Model) -> None:
    """Put the new contents of `model.toml` into the ONNX file. Its graph, and the digest of that, are unchanged."""
    path = model.folder / ONNX
    if not path.is_file():
        return
    import onnx
    import tomli_w

    content = path.read_bytes()
    check_onnx(content, path)
    graph = onnx.load_model_from_string(content)
    toml = tomli_w.dumps(model.to_table())
    for entry in graph.metadata_props:
        if entry.key == "audiocnn":
            entry.value = toml
    write_whole(path, graph.SerializeToString())


def describe_rule(rule: SegmentRule) -> str:
    return (
        f"threshold {rule.threshold:g}, ends below {rule.closing_threshold:g},"
        f" min-duration {rule.min_speech_seconds:g} s, min-silence {rule.min_silence_seconds:g} s"
    )


def rule_options(rule: SegmentRule) -> list[str]:
    """The options of `detect` and `evaluate` that give this rule, as words."""
    values = {
        "--threshold": rule.threshold,
        "--neg-threshold": rule.closing_threshold,
        "--min-duration": rule.min_speech_seconds,
        "--min-silence": rule.min_silence_seconds,
    }
    return [word for name, value in values.items() for word in (name, f"{value:g}")]
