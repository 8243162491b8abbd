"""Thresholds and times that were tuned, into a model: `model.toml`, and what its card and its ONNX file say of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from audiocnn.errors import ModelError, UsageError
from audiocnn.model import CARD, ONNX, SEGMENT_KEYS, Model, shipped_folder, write_model
from audiocnn.onnx_check import check_onnx
from audiocnn.segments import SegmentRule
from audiocnn.sweeping import Tuned
from audiocnn.whole_files import write_whole

CARD_ROW = re.compile(r"^\| thresholds \|.*$", re.MULTILINE)


def check_writable(model: Model) -> None:
    """UsageError for a released model, which stays as it came."""
    if model.folder.resolve().is_relative_to(shipped_folder().resolve()):
        remedy = "copy its folder, and name the copy with --model"
        raise UsageError(f"--save: {model.name} is a released model and stays as it is; {remedy}")


def retuned(model: Model, found: Sequence[Tuned], tuned_on: str) -> Model:
    """The model with the best rules; of labels that were not tuned it keeps its own."""
    thresholds, segments = dict(model.thresholds), {label: dict(own) for label, own in model.segments.items()}
    for one in found:
        thresholds[one.label] = round(one.best.rule.threshold, 6)
        segments[one.label] = own_of(model, one)
    return replace(model, thresholds=thresholds, segments=segments, tuned_on=tuned_on)


def own_of(model: Model, found: Tuned) -> dict[str, float]:
    """What a model must say of a label besides its threshold: what is not the default anyway."""
    plain = replace(model, thresholds={found.label: found.best.rule.threshold}, segments={}).rule(found.label)
    values = {name: getattr(found.best.rule, name) for name in SEGMENT_KEYS.values()}
    return {name: value for name, value in values.items() if value is not None and value != getattr(plain, name)}


def save_tuned(model: Model) -> None:
    """Write what is tuned of a model; its weights stay as they are. `model.toml`, which decides, is the last: cut off
    before that, it is as if nothing was saved."""
    try:
        write_metadata(model)
        write_card(model)
        write_model(model)
    except OSError as problem:
        raise ModelError(f"{model.folder}: cannot be written ({problem.strerror}); make room, or copy it") from None


def write_card(model: Model) -> None:
    """The row of the card about thresholds, where it has one."""
    path = model.folder / CARD
    if not path.is_file():
        return
    said = ", ".join(f"{label} {value:g}" for label, value in model.thresholds.items())
    more = "; ".join(f"{label}: {spoken(own)}" for label, own in model.segments.items() if own)
    row = f"| thresholds | {said}{'; ' + more if more else ''}, tuned on {model.tuned_on} |"
    text = path.read_text(encoding="utf-8")
    write_whole(path, CARD_ROW.sub(lambda match: row, text, count=1).encode())


def spoken(own: Mapping[str, float]) -> str:
    """Times and the threshold that ends a segment, by the names of the options."""
    names = {field: key.replace("_", "-") for key, field in SEGMENT_KEYS.items()}
    return ", ".join(f"{names[name]} {value:g}" for name, value in own.items())


def write_metadata(model: Model) -> None:
    """What `model.toml` will say inside of the ONNX file; its graph, and the digest of that, stay as they are."""
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


def described(rule: SegmentRule) -> str:
    """A rule in the words of the options."""
    return (
        f"threshold {rule.threshold:g}, ends below {rule.closing_threshold:g},"
        f" min-speech {rule.min_speech_seconds:g} s, min-silence {rule.min_silence_seconds:g} s"
    )


def flags_of(rule: SegmentRule) -> str:
    """The options of `detect` that make this rule."""
    return (
        f"--threshold {rule.threshold:g} --neg-threshold {rule.closing_threshold:g}"
        f" --min-speech {rule.min_speech_seconds:g} --min-silence {rule.min_silence_seconds:g}"
    )
