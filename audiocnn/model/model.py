"""A model is a folder: `model.toml` (spec, labels, thresholds), `model.safetensors`, `model.onnx`, `README.md`.

It contains no code: only TOML, plain tensors and an ONNX graph. Loading imports neither torch nor onnxruntime. An
ensemble is a model of several networks, its members, whose scores are averaged.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec as find_package
from pathlib import Path
from typing import Any
from zlib import crc32  # fast to import; used to detect changes, not for security

import numpy as np
from numpy.typing import NDArray

from audiocnn.errors import (
    ModelError,
    SpecError,
    UsageError,
    as_argument,
    did_you_mean,
    export_command,
    format_command,
)
from audiocnn.files import write_whole
from audiocnn.model.pooling import ClipPooling, LabelPooling, pooling_table, read_pooling
from audiocnn.segments.finder import SegmentRule
from audiocnn.segments.onset_offset import Localiser
from audiocnn.segments.segment import means_the_rest
from audiocnn.spec.geometry import Geometry, joint_geometry
from audiocnn.spec.spec import Spec, spec_from_table
from audiocnn.toml import TomlTable, read_toml

# The newest format that can be read. A model is written in the oldest format that can hold it: 1 for one network; 2 for
# several; 3 for operating points, a look-ahead, a background, or hints of a spec; 4 for pooling of scores.
MODEL_FORMAT = 4
DEFAULT_MODEL = "speech_1d"
DEFAULT_LIVE_MODEL = "speech_live"  # the network step for streams
DEFAULT_CLASSIFIER = "speech_music_noise"
ANSWERS = ("one", "several")
SOFTMAX_CLOSING = 0.5  # the least closing threshold of labels that exclude each other
# What `[segments]` may say of a label, besides its threshold, and what `SegmentRule` calls it.
SEGMENT_KEYS = {
    "neg_threshold": "neg_threshold",
    "min_speech": "min_speech_seconds",
    "min_silence": "min_silence_seconds",
}
POINT_KEYS = {**SEGMENT_KEYS, "pad": "pad_seconds"}  # the same for an operating point
SENSITIVITIES = ("balanced", "sensitive", "precise")
# The errors that an operating point states, by their names in `metrics`.
POINT_FIGURES = ("detection_error_rate", "miss_rate", "false_alarm_rate", "false_segment_share")
_Outputs = NDArray[np.float32]
TOML, WEIGHTS, ONNX, CARD = "model.toml", "model.safetensors", "model.onnx", "README.md"
STREAM_ONNX = "stream.onnx"

_MOST_BESIDE = 1000  # limit of folder entries to examine when looking for models


@dataclass(frozen=True)
class OperatingPoint:
    """One of the `SENSITIVITIES` of a label. values: of its segment rule, by names of `SegmentRule`. figures: those of
    `POINT_FIGURES` that are defined, measured on `measured_on`."""

    values: dict[str, float]
    figures: dict[str, float] = field(default_factory=dict)
    measured_on: str = ""


@dataclass(frozen=True)
class Member:
    """One network of an ensemble: its labels in its own order, and its relative weight."""

    name: str
    spec: Spec
    labels: tuple[str, ...]
    weight: float = 1.0
    training: dict[str, Any] = field(default_factory=dict)

    def to_table(self) -> dict[str, Any]:
        facts = {"name": self.name, "weight": self.weight, "labels": list(self.labels)}
        return facts | {"training": self.training, "spec": self.spec.table}


@dataclass(frozen=True)
class Model:
    """The contents of `model.toml`. Weights are read only when an engine needs them.

    - `spec`: of the network. An ensemble has `members`; its `spec` is that of the first, and `specs` has all.
    - `segments`: by label, the values of the segment rule besides the threshold that `tune` chose, by names of
      `SegmentRule`.
    - `points`: by label, its operating points "balanced", "sensitive" and "precise". Those of "balanced" equal
      thresholds and segments.
    - `answer`: how the scores of a whole clip are read. "one": the answer is the label with the highest score.
      "several": all labels that reach their thresholds. "": "one" if labels exclude each other (softmax), else
      "several".
    - `clip_pooling`, `label_pooling`: how the scores of a recording are combined into one; without either, by their
      mean.
    """

    name: str
    folder: Path
    spec: Spec
    labels: tuple[str, ...]
    thresholds: dict[str, float]
    tuned_on: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    members: tuple[Member, ...] = ()
    answer: str = ""
    segments: dict[str, dict[str, float]] = field(default_factory=dict)
    points: dict[str, dict[str, OperatingPoint]] = field(default_factory=dict)
    clip_pooling: ClipPooling | None = None
    label_pooling: dict[str, LabelPooling] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.answer not in ANSWERS or len(self.labels) == 1:  # with a single label, there is nothing to choose from
            object.__setattr__(self, "answer", self.usual_answer)

    @property
    def usual_answer(self) -> str:
        softmax = all(spec.f.output == "softmax" for spec in self.specs)
        return "one" if softmax and len(self.labels) > 1 else "several"

    @property
    def background(self) -> bool:
        """Whether, for models with one answer, "none of the labels" is possible. Its share is what the scores lack of
        1."""
        return self.answer == "one" and all(spec.f.background for spec in self.specs)

    @property
    def must_choose(self) -> bool:
        """Whether every sound gets one of the labels, because none of them stands for other sounds."""
        others = any(means_the_rest(label, self.labels) for label in self.labels)
        return self.usual_answer == "one" and not self.background and not others

    @property
    def specs(self) -> tuple[Spec, ...]:
        """The specs of all networks; a plain model has one."""
        return tuple(member.spec for member in self.members) or (self.spec,)

    @property
    def shares(self) -> tuple[float, ...]:
        """The weight of the scores of each network; they sum to 1."""
        weights = [member.weight for member in self.members] or [1.0]
        return tuple(weight / sum(weights) for weight in weights)

    @property
    def localises(self) -> bool:
        """Whether the network predicts onsets and offsets besides scores."""
        return all(spec.localises for spec in self.specs)

    @property
    def localiser(self) -> Localiser | None:
        """Finds segments by onsets and offsets, for a model that predicts them. An ensemble uses mean distances, which
        are limited to what its shortest window sees."""
        return Localiser(min(spec.furthest_seconds for spec in self.specs)) if self.localises else None

    @property
    def geometry(self) -> Geometry:
        return joint_geometry([spec.geometry() for spec in self.specs]) if self.members else self.spec.geometry()

    @property
    def channels(self) -> int:
        return self.spec.input.channels

    @property
    def parameters(self) -> int:
        """Number of trainable weights of all networks."""
        return sum(spec.parameters() for spec in self.specs)

    @property
    def summary(self) -> str:
        if not self.members:
            return self.spec.summary
        equal = len({member.weight for member in self.members}) == 1
        pairs = zip(self.members, self.shares, strict=True)
        names = [member.name + ("" if equal else f" ({share:.0%})".replace("%", " %")) for member, share in pairs]
        return f"the mean of {', '.join(names[:-1])} and {names[-1]}"

    def part(self, name: str) -> Path:
        """The path of a file in the model folder. Raises ModelError, with the remedy, if it does not exist."""
        path = self.folder / name
        if not path.is_file():
            remedy = {
                ONNX: f"make it again with `{export_command(self.folder)}`",
                STREAM_ONNX: f"make it with `{export_command(self.folder)} --stream`",
                WEIGHTS: "copy the folder again, or train again",
            }.get(name, "copy the folder again")
            raise ModelError(f"{self.folder}: {name} is missing; {remedy}")
        return path

    @property
    def is_released(self) -> bool:
        """Whether this is one of the models that come with the program, which are never changed."""
        return self.folder.resolve().is_relative_to(shipped_folder().resolve())

    @property
    def reference(self) -> str:
        """The value of --model for this model: the name of a released model, otherwise its folder."""
        return self.name if self.is_released and self.folder.name == self.name else str(self.folder)

    def check_sensitivity(self, sensitivity: str | None) -> None:
        """Raise UsageError for an operating point that does not exist, or that the model does not have."""
        if sensitivity is not None and sensitivity not in SENSITIVITIES:
            known = f"{', '.join(SENSITIVITIES[:-1])} or {SENSITIVITIES[-1]}"
            raise UsageError(f'--sensitivity cannot be "{sensitivity}"; give {known}')
        if sensitivity is not None and not self.points:
            if self.points_hindrance:
                raise UsageError(f"--sensitivity {sensitivity}: {self.points_hindrance}; omit it")
            where = ["--save-as", "FOLDER"] if self.is_released else ["--save"]
            command = format_command(
                ["audiocnn", "tune", "DATA", "--model", as_argument(self.reference), "--operating-points", *where]
            )
            what = f"{self.name} has no operating points; make them with `{command}`"
            raise UsageError(f"--sensitivity {sensitivity}: {what}")

    @property
    def points_hindrance(self) -> str:
        """Why the model cannot have operating points; "" if it can."""
        if all(spec.f.output == "sigmoid" for spec in self.specs):
            return ""
        what = "predicts onsets and offsets" if self.localises else "has mutually exclusive labels"
        return f"{self.name} {what}, but operating points need independent scores"

    def point_values(self, label: str, sensitivity: str | None = None) -> dict[str, float]:
        """The values of the segment rule of a label in the model. A model without operating points has the same rule
        for all three. Raises UsageError as in `check_sensitivity`."""
        self.check_sensitivity(sensitivity)
        point = self.points.get(label, {}).get(sensitivity or "")
        if point is not None:
            return point.values
        return {"threshold": self.thresholds.get(label, SegmentRule.threshold), **self.segments.get(label, {})}

    def clip_threshold(self, label: str, sensitivity: str | None = None) -> float:
        """The threshold for the score of a whole recording. Raises UsageError as in `check_sensitivity`."""
        own = self.point_values(label, sensitivity)["threshold"]
        pooling = self.label_pooling.get(label, LabelPooling())
        return pooling.thresholds.get(sensitivity or SENSITIVITIES[0], own)

    def rule(self, label: str, sensitivity: str | None = None, **changes: float | None) -> SegmentRule:
        """The segment rule for a label: threshold and times of the model, at an operating point if one is named, with
        `changes` applied. If `changes` has a threshold, the closing threshold of the model does not apply either.

        If labels exclude each other, at most one score exceeds one half. Segments close there, so they do not overlap.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        own = dict(self.point_values(label, sensitivity))
        if "threshold" in given:
            own.pop("neg_threshold", None)
        rule = SegmentRule(**{**own, **given})
        if math.isfinite(rule.max_speech_seconds):
            rule.check_hop(self.geometry.hop_seconds)
        if self.usual_answer == "several" or rule.neg_threshold is not None or rule.threshold < SOFTMAX_CLOSING:
            return rule
        return replace(rule, neg_threshold=max(SOFTMAX_CLOSING, rule.closing_threshold))

    def to_table(self) -> dict[str, Any]:
        newer = any(spec.f.look_ahead_seconds is not None or spec.f.background or spec.hints for spec in self.specs)
        networks: dict[str, Any] = {"spec": self.spec.table}
        if self.members:
            networks = {"members": [member.to_table() for member in self.members]}
        # Older versions do not know this key, so it is written only if needed.
        answer: dict[str, Any] = {} if self.answer == self.usual_answer else {"answer": self.answer}
        if any(self.segments.values()):
            answer["segments"] = {label: _keyed(own) for label, own in self.segments.items() if own}
        if self.points:
            answer["operating_points"] = {
                label: {name: _point_table(name, point) for name, point in own.items()}
                for label, own in self.points.items()
            }
        if pooling := pooling_table(self.clip_pooling, self.label_pooling):
            answer["classify"] = pooling
        return {
            "format": 4 if pooling else 3 if self.points or newer else 2 if self.members else 1,
            "name": self.name,
            "summary": self.summary,
            "labels": list(self.labels),
            "thresholds": self.thresholds,
            "tuned_on": self.tuned_on,
            **answer,
            "training": self.training,
            "evaluation": self.evaluation,
        } | networks


def _keyed(values: Mapping[str, float]) -> dict[str, float]:
    """Values of a rule by the keys of `model.toml`."""
    names = {name: key for key, name in POINT_KEYS.items()}
    return {names.get(name, name): value for name, value in values.items()}


def _point_table(name: str, point: OperatingPoint) -> dict[str, Any]:
    values = {} if name == SENSITIVITIES[0] else _keyed(point.values)  # those of balanced are stored elsewhere
    return values | point.figures | {"measured_on": point.measured_on}


Thresholds = float | Mapping[str | None, float] | None
"""One threshold for all labels; or by label, with the key None for all others. None is the model's own."""


_PRICES = {  # the errors that an operating point increases
    "sensitive": {
        "false_segment_share": "it finds segments in {} of the recordings without {label}",
        "false_alarm_rate": "it marks {} of the time without {label} as {label}",
    },
    "precise": {"miss_rate": "it misses {} of the time with {label}"},
}


def describe_price(label: str, points: Mapping[str, OperatingPoint], name: str) -> str:
    """The cost of an operating point relative to `balanced`, as measured for the model; "" if it is unknown or there is
    none."""
    said = []
    balanced = points[SENSITIVITIES[0]].figures if points else {}
    for figure, text in _PRICES.get(name, {}).items() if name in points else ():
        own, usual = points[name].figures.get(figure), balanced.get(figure)
        if own is not None and usual is not None and own > usual:
            share = text.format(f"{100 * own:.1f} %", label=label)
            said.append(f"{share} ({SENSITIVITIES[0]}: {100 * usual:.1f} %)")
    return f"{name} has a cost: {', '.join(said)}, as measured for the model" if said else ""


def threshold_of_each(given: Thresholds, labels: Sequence[str]) -> list[float | None]:
    """In the order of the labels; None is the model's own threshold. Raises UsageError for an unknown label."""
    if not isinstance(given, Mapping):
        return [given] * len(labels)
    for label, value in given.items():
        if label is not None and label not in labels:
            raise UsageError(f'--threshold {label}={value:g}: no label "{label}"; {did_you_mean(label, labels)}')
    return [given.get(label, given.get(None)) for label in labels]


def split_outputs(outputs: _Outputs, classes: int) -> tuple[_Outputs, _Outputs | None]:
    """(..., outputs) -> scores (..., classes), and edges (..., classes, 2) in seconds if the model has them."""
    if outputs.shape[-1] == classes:
        return outputs, None
    return outputs[..., :classes], outputs[..., classes:].reshape(*outputs.shape[:-1], classes, 2)


def join_outputs(scores: _Outputs, edges: _Outputs | None = None) -> _Outputs:
    """(..., classes) scores and (..., classes, 2) edges, if any -> (..., outputs)."""
    if edges is None:
        return scores
    return np.concatenate([scores, edges.reshape(*scores.shape[:-1], -1)], axis=-1)


def order_outputs(order: Sequence[int]) -> list[int]:
    """The columns of outputs whose labels have another order: the scores first, then two edges for each label."""
    return [*order, *(len(order) + 2 * number + edge for number in order for edge in (0, 1))]


def read_model(folder: Path) -> Model:
    """Read a model folder (or a run that contains one). Raises ModelError with fact, place and remedy."""
    if not (folder / TOML).is_file() and (folder / "model" / TOML).is_file():
        folder = folder / "model"
    if not (folder / TOML).is_file():
        raise ModelError(f"{folder}: not a model folder (no {TOML}); name a model folder or one of `audiocnn models`")
    place = str(folder / TOML)
    table = TomlTable(read_toml(folder / TOML, ModelError), place, ModelError)
    version = table.integer("format")
    if version > MODEL_FORMAT:
        newer = f"format {version} is newer than the newest that this audiocnn reads ({MODEL_FORMAT})"
        raise ModelError(f"{place}: {newer}; upgrade with `pip install -U audiocnn`")
    labels = table.texts("labels")
    if not labels or len(set(labels)) < len(labels):
        raise table.wrong('"labels" must name each label once')
    thresholds = table.table("thresholds")
    name = table.text("name")
    members = _read_members(table, labels) if version == 2 or (version > 2 and "members" in table.values) else ()
    spec = members[0].spec if members else _read_spec(table, name, labels)
    table.text("summary", "")
    segments = _read_segments(table.table("segments"), labels, POINT_KEYS if version > 2 else SEGMENT_KEYS)
    points = _read_points(table.table("operating_points"), labels) if version > 2 else {}
    pooling = read_pooling(table.table("classify"), labels, SENSITIVITIES) if version > 3 else (None, {})
    model = Model(
        name=name,
        folder=folder,
        spec=spec,
        labels=labels,
        thresholds={label: thresholds.number(label, SegmentRule.threshold, most=1.0) for label in labels},
        tuned_on=table.text("tuned_on", ""),
        training=table.table("training").values,
        evaluation=table.table("evaluation").values,
        members=members,
        answer=table.text("answer", "", ANSWERS),
        segments=segments,
        clip_pooling=pooling[0],
        label_pooling=pooling[1],
    )
    thresholds.close()
    table.close()
    if model.label_pooling and model.usual_answer == "one":
        raise ModelError(
            f'{place}: [classify]: "labels" have separate pooling, which mutually exclusive labels cannot have'
        )
    for label, own in points.items():
        own[SENSITIVITIES[0]] = replace(own[SENSITIVITIES[0]], values=model.point_values(label))
    model = replace(model, points=points)
    _check_rules(model, place)
    return model


def _read_points(table: TomlTable, labels: Sequence[str]) -> dict[str, dict[str, OperatingPoint]]:
    """`[operating_points]`: for each label that has them, all three."""
    found = {}
    for label in [label for label in labels if label in table.values]:
        own = table.table(label)
        found[label] = {name: _read_point(own.table(name), name != SENSITIVITIES[0]) for name in SENSITIVITIES}
        own.close()
    table.known.update(labels)
    table.close()
    return found


def _read_point(table: TomlTable, has_values: bool) -> OperatingPoint:
    values = {"threshold": table.number("threshold", most=1.0)} if has_values else {}
    values |= _read_values(table, POINT_KEYS) if has_values else {}
    figures = {name: table.number(name, None) for name in POINT_FIGURES}
    point = OperatingPoint(
        values, {name: x for name, x in figures.items() if x is not None}, table.text("measured_on", "")
    )
    table.close()
    return point


def _read_values(table: TomlTable, keys: Mapping[str, str]) -> dict[str, float]:
    """The values of a segment rule, by names of `SegmentRule`."""
    found = {name: table.number(key, None) for key, name in keys.items()}
    return {name: value for name, value in found.items() if value is not None}


def _read_segments(table: TomlTable, labels: Sequence[str], keys: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """`[segments]`: for each label, the values of its rule besides the threshold."""
    found = {}
    for label in labels:
        own = table.table(label)
        if said := _read_values(own, keys):
            found[label] = said
        own.close()
    table.close()
    return found


def _check_rules(model: Model, place: str) -> None:
    """Raises ModelError if a label has an invalid rule."""
    rules: list[tuple[str, str, str | None]] = [("segments", label, None) for label in model.segments]
    rules += [("operating_points", label, name) for label, own in model.points.items() for name in own]
    for where, label, name in rules:
        try:
            model.rule(label, name)
        except UsageError as problem:
            which = label if name is None else f"{label}: {name}"
            raise ModelError(f"{place}: [{where}]: {which}: {problem}") from None


def _read_spec(table: TomlTable, name: str, labels: Sequence[str]) -> Spec:
    try:
        return spec_from_table(table.raw("spec"), name, len(labels))
    except SpecError as problem:
        raise table.wrong(f"the spec inside is damaged: {problem}") from None


def _read_members(table: TomlTable, labels: Sequence[str]) -> tuple[Member, ...]:
    """The `[[members]]` of an ensemble, which must be compatible."""
    rows = table.raw("members")
    if not isinstance(rows, list) or len(rows) < 2:
        raise table.wrong('"members" must be two [[members]] tables or more')
    members = []
    for number, row in enumerate(rows, 1):
        inside = TomlTable(row, f"{table.place}: member {number}", ModelError)
        own = inside.texts("labels")
        if sorted(own) != sorted(labels):
            raise inside.wrong('"labels" must be those of the ensemble, in any order')
        name = inside.text("name")
        weight, training = inside.number("weight", 1.0, above=True), inside.table("training").values
        members.append(Member(name, _read_spec(inside, name, own), own, weight, training))
        inside.close()
    rates = {(x.spec.geometry().sample_rate, x.spec.geometry().hop_samples, x.spec.input.channels) for x in members}
    if len({member.spec.localises for member in members}) > 1:
        raise table.wrong('"members" must all give onsets and offsets, or none')
    if len(rates) > 1:
        raise table.wrong('"members" must have one sample rate, one hop and one number of channels')
    return tuple(members)


def write_model(model: Model) -> None:
    """Write `model.toml` atomically."""
    import tomli_w

    model.folder.mkdir(parents=True, exist_ok=True)
    write_whole(model.folder / TOML, tomli_w.dumps(model.to_table()).encode())


def shipped_folder() -> Path:
    package = find_package("audiocnn_models")
    if package is None or not package.submodule_search_locations:
        raise ModelError("the package audiocnn_models is not installed; install audiocnn again")
    return Path(next(iter(package.submodule_search_locations)))


def shipped_models() -> Iterator[Path]:
    """The folders of the released models, the default first, then by name."""
    folders = [path.parent for path in shipped_folder().glob(f"*/{TOML}")]
    return iter(sorted(folders, key=lambda folder: (folder.name != DEFAULT_MODEL, folder.name)))


def read_purposes() -> dict[str, str]:
    """The purposes of released models, by name; empty if there is no such file. Raises ModelError for one that cannot
    be read."""
    path = shipped_folder() / "purposes.toml"
    if not path.is_file():
        return {}
    table = TomlTable(read_toml(path, ModelError), str(path), ModelError)
    return {name: table.text(name) for name in list(table.values)}


def spec_folders() -> list[Path]:
    return [shipped_folder() / "specs"]


ModelLike = str | Path | Model


def find_model(name: ModelLike) -> Model:
    """Find a model by the name of a released one or by its folder. A `Model` is returned unchanged."""
    if isinstance(name, Model):
        return name
    path = Path(name)
    try:
        there, whole = path.exists(), any(file.is_file() for file in (path / TOML, path / "model" / TOML))
    except OSError:  # a name that is too long for a file
        there = whole = False
    if whole:
        return read_model(path)
    shipped = {folder.name: folder for folder in shipped_models()}
    if str(name) in shipped:
        return read_model(shipped[str(name)])
    if there:
        return read_model(path)
    beside = _models_beside(path)
    own = next((place for place in beside if Path(place).name == path.name), None)
    near = f'did you mean "{own}"?' if own else did_you_mean(str(name), {*shipped, *beside})
    raise ModelError(f'no model is called "{name}"; {near}; or name a model folder')


def find_namesake(name: str) -> Path | None:
    """The run in `runs` that has the name of a released model, where `find_model` takes the released one."""
    run = Path("runs") / name
    with suppress(OSError, ModelError):
        if (run / "model" / TOML).is_file() and find_model(name).reference == name:
            return run
    return None


def _models_beside(path: Path) -> list[str]:
    """Model folders, and runs with one: in the folder of the wrong name, in the current folder, and in `runs`."""
    found: dict[str, None] = {}
    for folder in (path.parent, Path(), Path("runs")):
        with suppress(OSError):
            inside = sorted(folder.iterdir())[:_MOST_BESIDE]
            found |= dict.fromkeys(
                str(one) for one in inside if any((one / at / TOML).is_file() for at in ("", "model"))
            )
    return list(found)


def digest_settings(model: Model, settings: Sequence[Any]) -> str:
    """A short hash of all that results depend on besides the recording: the files of the model, the settings, which
    must be JSON values, and the version of the program."""
    from audiocnn import __version__

    total = crc32(json.dumps([__version__, *settings], sort_keys=True).encode())
    network = ONNX if (model.folder / ONNX).is_file() else WEIGHTS
    for name in (TOML, network):
        path = model.folder / name
        total = crc32(path.read_bytes() if path.is_file() else b"", total)
    return f"{total:08x}"
