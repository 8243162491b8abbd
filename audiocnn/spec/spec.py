"""A spec: a network as data. It is read from TOML and gives typed layers and sizes, without creating weights.

input -> groups A, B, ... -> F -> one score for each label

The sizes alone determine the geometry: the length of a window, the distance between scores, and the position of a
score.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiocnn.errors import SpecError, did_you_mean
from audiocnn.segments.segment import EPSILON_SECONDS
from audiocnn.spec.features import InputSpec, read_input
from audiocnn.spec.geometry import Geometry, ReceptiveField, Size
from audiocnn.spec.hints import read_hints
from audiocnn.spec.layers import (
    ACTIVATIONS,
    MOST_NUMBERS,
    Activation,
    Context,
    Dense,
    Dropout,
    Global,
    Layer,
    Norm,
    Recurrent,
    checked_size_through,
    count_parameters,
    each_layer,
    read_layers,
    receptive_field_of,
)
from audiocnn.toml import TomlTable, read_toml, repr_value
from audiocnn.units import time_scale, to_samples

_LOCALISING = "onset_offset"  # besides its score, a position predicts where its event begins and ends
_OUTPUTS = ("sigmoid", "softmax", _LOCALISING)
_MOST_POSITIONS = 2**26  # values in the features of one window; more are rejected
MOST_LAYERS = 10_000


@dataclass(frozen=True)
class Group:
    """A named list of layers; with `repeat` it is applied that many times in a row."""

    name: str
    layers: tuple[Layer, ...]
    repeat: int = 1


@dataclass(frozen=True)
class HeadSpec:
    """F turns the positions of one window into one score for each label."""

    window_seconds: float
    hop_seconds: float | None
    layers: tuple[Layer, ...]
    output: str
    output_dense: bool
    background: bool = False  # softmax with an additional class "none of these", whose logit is always 0
    look_ahead_seconds: float | None = None  # seconds of the window after the middle of its row; None: half


@dataclass(frozen=True)
class Spec:
    """A network as a person describes it. `table` is the content of the file, with `[input]` in full. `hints` are keys
    of the `[train]` table of a recipe, with values for this network that are used if the recipe does not set them."""

    name: str
    summary: str
    input: InputSpec
    groups: tuple[Group, ...]
    f: HeadSpec
    classes: int
    dims: int
    table: dict[str, Any]
    hints: dict[str, Any]

    def with_classes(self, classes: int) -> Spec:
        return spec_from_table(self.table, self.name, classes)

    @property
    def localises(self) -> bool:
        return self.f.output == _LOCALISING

    @property
    def outputs(self) -> int:
        """The number of outputs of F for a window: a score for each label and, if it localises, two edges for each."""
        return _outputs_of(self.f.output, self.classes)

    @property
    def furthest_seconds(self) -> float:
        """The largest distance from its middle at which a window can locate an edge: half its length."""
        return self.geometry().window_seconds / 2

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of all groups in sequence, with repeats expanded, but without a `global` at the end, which belongs
        to F."""
        return tuple(layer for group in self.groups for _ in range(group.repeat) for layer in group.layers)

    @property
    def body(self) -> tuple[Layer, ...]:
        """The layers that run over the whole recording."""
        return tuple(layer for layer in self.layers if not isinstance(layer, Global))

    @property
    def head(self) -> tuple[Layer, ...]:
        """The layers that process one window: `global` if the groups end in it, F's layers, the output layer."""
        pools = tuple(layer for layer in self.layers if isinstance(layer, Global))
        return pools + self.f.layers + ((Dense(self.outputs),) if self.f.output_dense else ())

    @property
    def frame(self) -> Size:
        """One frame of features; in 1-D, the bands are channels."""
        if self.dims == 1:
            return Size(self.input.channels * self.input.bands, (1,))
        return Size(self.input.channels, (self.input.bands, 1))

    def receptive_field(self, axis: int = -1) -> ReceptiveField:
        """Of all groups, along an axis (the last is time), in frames."""
        return receptive_field_of(self.body, axis % self.dims)

    def parameters(self) -> int:
        size = self.window_size()
        total = count_parameters(self.body, size)
        for layer in self.body:
            size = layer.out(size)
        return total + count_parameters(self.head, size)

    def geometry(self) -> Geometry:
        """Window and hop, from the sizes. Requested seconds are rounded to the nearest position."""
        body = self.input.receptive_field.then(self.receptive_field())
        rate = self.input.sample_rate
        wanted = to_samples(self.f.window_seconds, rate)
        positions = max(1, round((wanted - body.shrink) / body.stride) + 1)
        hop = to_samples(self.f.hop_seconds, rate) if self.f.hop_seconds else body.stride
        hop_positions = max(1, round(hop / body.stride))
        whole = body.then(ReceptiveField(positions, hop_positions))
        skew = whole.skew
        if self.f.look_ahead_seconds is not None:
            near = whole.kernel - whole.spare_start - whole.spare
            behind = to_samples(self.f.look_ahead_seconds - whole.stride / rate / 2, rate)  # the row
            skew = whole.spare_start - whole.spare + near - whole.stride - 2 * behind
        first = self.body[0] if self.body else None
        leveled = isinstance(first, Norm) and first.padded and not self.groups[0].repeat > 1
        alone = leveled and (whole.start, whole.end) == (whole.spare_start, whole.spare)
        ends = (whole.start, whole.end, skew, whole.spare, whole.spare_start)
        level_hop = whole.stride // self.input.hop_samples if alone else 0
        return Geometry(rate, whole.kernel, whole.stride, positions, hop_positions, *ends, level_hop)

    def window_size(self) -> Size:
        """The features of one window. For a spec with padding in time, their number follows from `window_seconds`."""
        body = self.receptive_field()
        frames = body.shrink + (self.geometry().positions - 1) * body.stride
        return Size(self.frame.channels, (*self.frame.axes[:-1], frames))


def load_spec(path: Path, classes: int | None = None) -> Spec:
    """Read and check a spec file. Its SpecError names file, group, layer and remedy."""
    return spec_from_table(read_toml(path, SpecError), str(path), classes)


def spec_from_table(table: dict[str, Any], name: str, classes: int | None = None) -> Spec:
    """A spec from a TOML table. `classes` is the number of labels; by default 1, or 2 with softmax."""
    top = TomlTable(table, Path(name).name if name.endswith(".toml") else name, SpecError)
    summary = top.text("summary", "")
    settings = read_input(top.table("input"))
    rows, f_table, defaults = top.raw("groups", []), top.table("f"), top.table("defaults")
    output = f_table.text("output", "sigmoid", _OUTPUTS)
    classes = classes or (2 if output == "softmax" else 1)
    dims = _count_axes(rows, settings)
    context = Context(
        dims,
        _outputs_of(output, classes),
        norm=defaults.text("norm", "none", ("batch", "none")),
        activation=defaults.text("activation", "relu", ACTIVATIONS),
        position_seconds=settings.hop_samples / settings.sample_rate,
    )
    defaults.close()
    hints = read_hints(top.table("train"))
    top.close()
    groups = _read_groups(rows, top, context)
    head = _read_head(f_table, output, context)
    full = dict(table) | {"input": settings.to_table()}
    name = Path(name).stem if name.endswith(".toml") else name
    spec = Spec(name, summary, settings, groups, head, classes, dims, full, hints)
    _check_spec(spec, top.place)
    return spec


def with_background(spec: Spec) -> Spec:
    """The spec with softmax and the additional class "none of these"."""
    return spec_from_table(spec.table | {"f": spec.table["f"] | {"background": True}}, spec.name)


def _outputs_of(output: str, classes: int) -> int:
    return 3 * classes if output == _LOCALISING else classes


def _count_axes(rows: object, settings: InputSpec) -> int:
    """1 if kernels and pools are numbers or absent, 2 if they are [frequency, time]."""
    for key, value in walk(rows):
        if key in ("kernel", "size"):
            return 2 if isinstance(value, list) else 1
    return 1


def walk(value: object) -> Iterator[tuple[str, object]]:
    """Every key with its value, also in nested tables and lists."""
    if isinstance(value, list):
        for inside in value:
            yield from walk(inside)
    elif isinstance(value, dict):
        for key, inside in value.items():
            yield key, inside
            yield from walk(inside)


def _read_groups(rows: object, top: TomlTable, context: Context) -> tuple[Group, ...]:
    """`[[groups]]`: name, layers, repeat."""
    if not isinstance(rows, list):
        raise top.wrong('"groups" must be written as [[groups]] tables')
    groups: list[Group] = []
    for number, row in enumerate(rows, 1):
        table = TomlTable(row, f"{top.place}: group {number}", SpecError)
        name = table.text("name")
        if not re.fullmatch(r"[\w-]+", name):
            raise table.wrong(f'"name" must be letters, digits, _ or -, not {repr_value(name)}')
        if name == "F":
            raise table.wrong('"F" is the name of the part after all groups; choose another')
        table.place = f'{top.place}: group "{name}"'
        if name in {group.name for group in groups}:
            raise table.wrong("two groups have this name; rename one")
        layers = read_layers(table.raw("layers"), table.place, context)
        groups.append(Group(name, layers, table.integer("repeat", 1, most=1000)))
        table.close()
        for _ in range(groups[-1].repeat):
            before = context
            for layer in layers:
                context = context.behind(layer)
        timed = any(isinstance(layer, Norm) and layer.seconds for layer in each_layer(layers))
        if timed and groups[-1].repeat > 1 and before != context:
            raise table.wrong('a level over "seconds" in a group with strides cannot be repeated; give its "positions"')
        if sum(group.repeat * len(list(each_layer(group.layers))) for group in groups) > MOST_LAYERS:
            raise table.wrong(f"more than {MOST_LAYERS} layers, including repeats, are too many; use fewer")
    return tuple(groups)


def _read_head(table: TomlTable, output: str, context: Context) -> HeadSpec:
    """`[f]`: window_seconds, look_ahead_seconds, hop_seconds, layers, output, output_dense, background.

    Softmax over one label and "none of these", whose logit is 0, equals a sigmoid, so a spec with softmax also works
    with one label.
    """
    background = table.flag("background", False)
    if background and output != "softmax":
        raise table.wrong(
            f'"background" is for output = "softmax"; with "{output}", any label may be absent anyway: remove it'
        )
    plain = Context(1, context.classes, "none", context.activation)
    head = HeadSpec(
        window_seconds=table.number("window_seconds", above=True, most=3600),
        hop_seconds=table.number("hop_seconds", None, above=True, most=3600),
        layers=read_layers(table.raw("layers", []), table.place, plain, empty=True),
        output="sigmoid" if context.classes == 1 else output,
        output_dense=table.flag("output_dense", True),
        background=background and context.classes > 1,
        look_ahead_seconds=table.number("look_ahead_seconds", None, most=3600),
    )
    table.close()
    return head


def _check_spec(spec: Spec, place: str) -> None:
    """Reject what cannot be built, before creating weights, naming group, layer and sizes."""
    for group in spec.groups:
        _check_group(spec, group, f'{place}: group "{group.name}"')
    _check_head(spec, place)
    size = spec.window_size()
    if size.time < 1:
        raise SpecError(f"{place}: the window consists of padding only; use less padding or a longer window_seconds")
    spectrum = spec.input.channels * spec.input.kernels * size.time  # the input of the features
    if size.positions * size.channels > _MOST_POSITIONS or spectrum > MOST_NUMBERS:
        raise SpecError(f"{place}: one window of {size} numbers is too large; shorten window_seconds or the input")
    samples = Size(spec.input.channels, (spec.geometry().window_samples,))
    if samples.channels * samples.time > MOST_NUMBERS:
        raise SpecError(f"{place}: one window of {samples} samples is too large; use smaller kernels or window_seconds")
    _check_look_ahead(spec, place)
    size = _size_after_groups(spec, size, place)
    for layer in spec.head:
        size = layer.out(size)
    if size.channels != spec.outputs:
        each = f" (three each with {_LOCALISING})" if spec.localises else ""
        raise SpecError(
            f"{place}: [f] gives {size.channels} scores for {spec.classes} labels{each}; drop output_dense = false"
        )


def _check_look_ahead(spec: Spec, place: str) -> None:
    """Reject a row that its own window does not contain."""
    given, geometry = spec.f.look_ahead_seconds, spec.geometry()
    least, most = geometry.hop_seconds / 2, geometry.near_seconds - geometry.hop_seconds / 2
    if given is not None and not least - EPSILON_SECONDS <= given <= most + EPSILON_SECONDS:
        what = f'"look_ahead_seconds" {given:g}: the window must contain the row of its score'
        raise SpecError(f"{place}: [f]: {what}; give {least:g} to {max(least, most):g}")


def _check_group(spec: Spec, group: Group, place: str) -> None:
    """Reject layers in places where they are not allowed, and branches that cannot be aligned."""
    for number, layer in enumerate(group.layers, 1):
        for inside in each_layer([layer]):
            if isinstance(inside, (Dense, Recurrent)):
                raise SpecError(f"{place}: layer {number}: {inside.text()} belongs in [f], where the window is known")
            if isinstance(inside, Global) and (inside is not spec.layers[-1] or group.repeat > 1):
                raise SpecError(f"{place}: layer {number}: {inside.text()} must be the last layer of the last group")
        try:
            for axis in range(spec.dims):
                layer.receptive_field(axis)
        except SpecError as problem:
            raise SpecError(f"{place}: layer {number}: {problem}") from None


def _check_head(spec: Spec, place: str) -> None:
    """Reject layers that F cannot have, and an F that does not combine the positions of a window."""
    pooled = any(isinstance(layer, Global) for layer in spec.layers)
    for number, layer in enumerate(spec.f.layers):
        if not isinstance(layer, (Dense, Recurrent, Dropout, Activation)):
            raise SpecError(
                f"{place}: [f]: {layer.text()} belongs in a group; F takes dense, recurrent, dropout, activation"
            )
        if isinstance(layer, Recurrent) and (number or pooled):
            raise SpecError(f"{place}: [f]: {layer.text()} must be the first layer of F, and cannot follow a global")
    if not any(isinstance(layer, (Dense, Recurrent, Global)) for layer in spec.head):
        raise SpecError(
            f"{place}: [f]: no layer combines the positions of a window; drop output_dense = false,"
            " or end the groups with a global"
        )


def _size_after_groups(spec: Spec, size: Size, place: str) -> Size:
    for group in spec.groups:
        for _ in range(group.repeat):
            try:
                size = checked_size_through(group.layers, size)
            except SpecError as problem:
                raise SpecError(f'{place}: group "{group.name}": {problem}') from None
    return size


def find_spec(name: str, folders: list[Path], classes: int | None = None) -> Spec:
    """A spec by its file name, or by its name in one of the folders."""
    path = Path(name)
    try:
        is_file = path.suffix == ".toml" or path.exists()
    except OSError:  # a name that is too long for a file
        is_file = False
    if is_file:
        return load_spec(path, classes)
    known = {path.stem: path for folder in reversed(folders) for path in folder.glob("*.toml")}
    if name in known:
        return load_spec(known[name], classes)
    raise SpecError(
        f'no spec is called "{name}"; {did_you_mean(name, known)}; see `audiocnn models`, or name a TOML file'
    )


def spec_at_rate(spec: Spec, rate: int) -> Spec:
    """The spec at another rate in Hz. Bands above half the rate are limited to it; at a higher rate, bands extend
    further in proportion. At rates of inaudible recordings, frames, hops and window follow `time_scale`. A frame fits
    its FFT."""
    settings: dict[str, Any] = dict(spec.table["input"])
    before = settings["sample_rate"]
    if before == rate:
        return spec
    settings["sample_rate"] = rate
    scale = time_scale(rate) / time_scale(before) if "frame_seconds" in settings else 1.0
    if "high_hertz" in settings:
        settings["high_hertz"] = min(settings["high_hertz"] * max(1.0, rate / before), rate / 2)
        settings["low_hertz"] = settings.get("low_hertz", 0.0) / scale
    for key in ("frame_seconds", "hop_seconds") if scale != 1.0 else ():
        settings[key] *= scale
    if "fft_samples" in settings:
        frame = to_samples(settings["frame_seconds"], rate)
        settings["fft_samples"] = max(settings["fft_samples"], 1 << (frame - 1).bit_length())
    f = dict(spec.table["f"])
    for key in ("window_seconds", "hop_seconds", "look_ahead_seconds") if scale != 1.0 else ():
        if key in f:
            f[key] *= scale
    return spec_from_table(spec.table | {"input": settings, "f": f}, spec.name)


def spec_with_window(spec: Spec, window_seconds: float) -> Spec:
    """The spec with a window of this many seconds, as nearly as its sizes allow."""
    f = dict(spec.table["f"]) | {"window_seconds": window_seconds}
    return spec_from_table(spec.table | {"f": f}, spec.name)
