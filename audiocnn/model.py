"""A model is a folder: `model.toml` (spec, labels, thresholds), `model.safetensors`, `model.onnx`, `README.md`.

Nothing in it is code: TOML, plain tensors and an ONNX graph. Loading imports neither torch nor onnxruntime. An ensemble
is a model of several networks, its members; its scores are the mean of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec as find_package
from pathlib import Path
from typing import Any

from audiocnn.architecture import Spec, spec_from_table
from audiocnn.errors import ModelError, SpecError, UsageError, did_you_mean
from audiocnn.localising import Localiser
from audiocnn.segments import SegmentRule
from audiocnn.tables import Table, read_toml
from audiocnn.whole_files import write_whole
from audiocnn.windows import Geometry

FORMAT = 2  # the newest that is read; what has one network is written as 1, which older versions read, too
DEFAULT_MODEL = "speech_1d"
DEFAULT_CLASSIFIER = "speech_music_noise"
ANSWERS = ("one", "several")
# What `[segments]` may say of a label, besides its threshold, and what `SegmentRule` calls it.
SEGMENT_KEYS = {
    "neg_threshold": "neg_threshold",
    "min_speech": "min_speech_seconds",
    "min_silence": "min_silence_seconds",
}
TOML, WEIGHTS, ONNX, CARD = "model.toml", "model.safetensors", "model.onnx", "README.md"


@dataclass(frozen=True)
class Member:
    """One network of an ensemble: its labels in its own order, and how much it counts beside the others."""

    name: str
    spec: Spec
    labels: tuple[str, ...]
    weight: float = 1.0
    training: dict[str, Any] = field(default_factory=dict)

    def to_table(self) -> dict[str, Any]:
        """One of the `[[members]]` of `model.toml`."""
        facts = {"name": self.name, "weight": self.weight, "labels": list(self.labels)}
        return facts | {"training": self.training, "spec": self.spec.table}


@dataclass(frozen=True)
class JointGeometry(Geometry):
    """Where the scores of several networks sit that read the same samples. Row k of each is centred at one place, so a
    network of a smaller window leaves out what the largest extends by more than it does."""

    members: tuple[Geometry, ...]

    @property
    def shift_exact(self) -> bool:
        """Whether every network is."""
        return all(member.shift_exact for member in self.members)

    @property
    def crops(self) -> list[tuple[int, int]]:
        """For each network, how many samples at the two ends of what they all get it leaves out."""
        return [
            (self.extend_start - member.extend_start, self.extend_end - member.extend_end) for member in self.members
        ]


def joint_geometry(members: Sequence[Geometry]) -> JointGeometry:
    """The geometry of networks side by side, of one rate and one hop: the largest window, the largest extensions."""
    widest = max(members, key=lambda member: member.window_samples)
    window, hop = widest.window_samples, widest.hop_samples
    before, after = (window - hop) // 2, window - 1 - (window - hop) // 2
    return JointGeometry(
        sample_rate=widest.sample_rate,
        window_samples=window,
        hop_samples=hop,
        positions=widest.positions,
        hop_positions=widest.hop_positions,
        pad_start=before - max(member.extend_start for member in members),
        pad_end=after - max(member.extend_end for member in members),
        members=tuple(members),
    )


@dataclass(frozen=True)
class Model:
    """What `model.toml` says. The weights stay on the disk until an engine wants them.

    spec is the network's; an ensemble has `members`, and the spec is that of the first. `specs` has them all.
    segments: of a label, what `tune` chose of its segment rule besides the threshold, by names of `SegmentRule`.
    answer: how the scores of a whole clip are read. "one": its label is that with the highest score; "several": all
    that reach their thresholds. "": "one" where the labels exclude each other, as a softmax has it, else "several".
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

    def __post_init__(self) -> None:
        if self.answer not in ANSWERS or len(self.labels) == 1:  # one label has none to be chosen before
            object.__setattr__(self, "answer", self.usual_answer)

    @property
    def usual_answer(self) -> str:
        """What `answer` is where nothing says otherwise."""
        softmax = all(spec.f.output == "softmax" for spec in self.specs)
        return "one" if softmax and len(self.labels) > 1 else "several"

    @property
    def specs(self) -> tuple[Spec, ...]:
        """The specs of all networks: of a plain model one."""
        return tuple(member.spec for member in self.members) or (self.spec,)

    @property
    def shares(self) -> tuple[float, ...]:
        """How much the scores of each network count; they sum to 1."""
        weights = [member.weight for member in self.members] or [1.0]
        return tuple(weight / sum(weights) for weight in weights)

    @property
    def localises(self) -> bool:
        """Whether scores come with onsets and offsets."""
        return all(spec.localises for spec in self.specs)

    @property
    def localiser(self) -> Localiser | None:
        """How segments are found by onsets and offsets, in a model that gives them. An ensemble gives mean distances,
        which say nothing beyond what its shortest window hears."""
        return Localiser(min(spec.furthest_seconds for spec in self.specs)) if self.localises else None

    @property
    def geometry(self) -> Geometry:
        """Where scores sit."""
        return joint_geometry([spec.geometry() for spec in self.specs]) if self.members else self.spec.geometry()

    @property
    def channels(self) -> int:
        """The channels that it wants."""
        return self.spec.input.channels

    @property
    def parameters(self) -> int:
        """Trainable weights of all networks, by arithmetic."""
        return sum(spec.parameters() for spec in self.specs)

    @property
    def summary(self) -> str:
        """What it is, in a line."""
        if not self.members:
            return self.spec.summary
        equal = len({member.weight for member in self.members}) == 1
        pairs = zip(self.members, self.shares, strict=True)
        names = [member.name + ("" if equal else f" ({share:.0%})".replace("%", " %")) for member, share in pairs]
        return f"the mean of {', '.join(names[:-1])} and {names[-1]}"

    def part(self, name: str) -> Path:
        """A file of the folder. Raises ModelError, with the remedy, if it is not there."""
        path = self.folder / name
        if not path.is_file():
            remedy = {
                ONNX: f"make it again with `audiocnn export {self.folder}`",
                WEIGHTS: "copy the folder again, or train again",
            }.get(name, "copy the folder again")
            raise ModelError(f"{self.folder}: {name} is missing; {remedy}")
        return path

    def rule(self, label: str, **changes: float | None) -> SegmentRule:
        """The segment rule for a label: the model's threshold and times, where `changes` does not name others. With
        another threshold the one that closes a segment is not the model's either.

        Of labels that exclude each other one at most is above one half: there a segment ends, so that none overlap.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        own = {"threshold": self.thresholds.get(label, SegmentRule.threshold), **self.segments.get(label, {})}
        if "threshold" in given:
            own.pop("neg_threshold", None)
        rule = SegmentRule(**{**own, **given})
        if self.usual_answer == "several" or rule.neg_threshold is not None or rule.threshold < 0.5:
            return rule
        return replace(rule, neg_threshold=max(0.5, rule.closing_threshold))

    def to_table(self) -> dict[str, Any]:
        """`model.toml` as a dictionary."""
        networks: dict[str, Any] = {"spec": self.spec.table}
        if self.members:
            networks = {"members": [member.to_table() for member in self.members]}
        # Older versions do not know the key: it stands there only where it says something.
        answer: dict[str, Any] = {} if self.answer == self.usual_answer else {"answer": self.answer}
        if any(self.segments.values()):
            names = {field: key for key, field in SEGMENT_KEYS.items()}
            said = {label: {names[name]: x for name, x in own.items()} for label, own in self.segments.items() if own}
            answer["segments"] = said
        return {
            "format": 2 if self.members else 1,
            "name": self.name,
            "summary": self.summary,
            "labels": list(self.labels),
            "thresholds": self.thresholds,
            "tuned_on": self.tuned_on,
            **answer,
            "training": self.training,
            "evaluation": self.evaluation,
        } | networks


def read_model(folder: Path) -> Model:
    """A model folder (or a run that holds one). Raises ModelError with fact, place and remedy."""
    if not (folder / TOML).is_file() and (folder / "model" / TOML).is_file():
        folder = folder / "model"
    if not (folder / TOML).is_file():
        raise ModelError(f"{folder}: is not a model: it has no {TOML}; name a model folder or one of `audiocnn models`")
    place = str(folder / TOML)
    table = Table(read_toml(folder / TOML, ModelError), place, ModelError)
    version = table.integer("format")
    if version > FORMAT:
        newer = f"format {version} is newer than this audiocnn reads ({FORMAT})"
        raise ModelError(f"{place}: {newer}; upgrade with `pip install -U audiocnn`")
    labels = table.texts("labels")
    if not labels or len(set(labels)) < len(labels):
        raise table.wrong('"labels" must name each label once')
    thresholds = table.table("thresholds")
    name = table.text("name")
    members = read_members(table, labels) if version > 1 else ()
    spec = members[0].spec if members else read_spec(table, name, labels)
    table.text("summary", "")
    segments = read_segments(table.table("segments"), labels)
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
    )
    thresholds.close()
    table.close()
    check_rules(model, place)
    return model


def read_segments(table: Table, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """`[segments]`: of each label what it says of its rule, besides the threshold."""
    found = {}
    for label in labels:
        own = table.table(label)
        values = {field: own.number(key, None) for key, field in SEGMENT_KEYS.items()}
        own.close()
        if said := {field: value for field, value in values.items() if value is not None}:
            found[label] = said
    table.close()
    return found


def check_rules(model: Model, place: str) -> None:
    """ModelError where a label has a rule that cannot be."""
    for label in model.segments:
        try:
            model.rule(label)
        except UsageError as problem:
            raise ModelError(f"{place}: [segments]: {label}: {problem}") from None


def read_spec(table: Table, name: str, labels: Sequence[str]) -> Spec:
    """The `spec` inside a `model.toml`."""
    try:
        return spec_from_table(table.raw("spec"), name, len(labels))
    except SpecError as problem:
        raise table.wrong(f"the spec inside is damaged: {problem}") from None


def read_members(table: Table, labels: Sequence[str]) -> tuple[Member, ...]:
    """The `[[members]]` of an ensemble, which must fit each other."""
    rows = table.raw("members")
    if not isinstance(rows, list) or len(rows) < 2:
        raise table.wrong('"members" must be two [[members]] tables or more')
    members = []
    for number, row in enumerate(rows, 1):
        inside = Table(row, f"{table.place}: member {number}", ModelError)
        own = inside.texts("labels")
        if sorted(own) != sorted(labels):
            raise inside.wrong('"labels" must be those of the ensemble, in any order')
        name = inside.text("name")
        weight, training = inside.number("weight", 1.0, above=True), inside.table("training").values
        members.append(Member(name, read_spec(inside, name, own), own, weight, training))
        inside.close()
    rates = {(x.spec.geometry().sample_rate, x.spec.geometry().hop_samples, x.spec.input.channels) for x in members}
    if len({member.spec.localises for member in members}) > 1:
        raise table.wrong('"members" must all give onsets and offsets, or none')
    if len(rates) > 1:
        raise table.wrong('"members" must have one sample rate, one hop and one number of channels')
    return tuple(members)


def write_model(model: Model) -> None:
    """Write `model.toml`, whole or not at all."""
    import tomli_w

    model.folder.mkdir(parents=True, exist_ok=True)
    write_whole(model.folder / TOML, tomli_w.dumps(model.to_table()).encode())


def shipped_folder() -> Path:
    """Where the released models and specs lie."""
    package = find_package("audiocnn_models")
    if package is None or not package.submodule_search_locations:
        raise ModelError("the package audiocnn_models is not installed; install audiocnn again")
    return Path(next(iter(package.submodule_search_locations)))


def shipped_models() -> Iterator[Path]:
    """The folders of the released models, the default first, then by name."""
    folders = [path.parent for path in shipped_folder().glob(f"*/{TOML}")]
    return iter(sorted(folders, key=lambda folder: (folder.name != DEFAULT_MODEL, folder.name)))


def spec_folders() -> list[Path]:
    """Where specs are looked up by name."""
    return [shipped_folder() / "specs"]


def find_model(name: str | Path) -> Model:
    """A model by the name of a released one, or by its folder, wherever it lies."""
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
    raise ModelError(f'there is no model "{name}"; {did_you_mean(str(name), shipped)}; or name a model folder')
