"""A spec layer by layer: sizes, weights, multiply-adds, what it hears. Arithmetic alone; no weight is made.

A receptive field is the stretch of the input that one position of a layer depends on; the hop is how far two positions
are apart. Costs are for one window; per second of sound they are those of the dense pass, where layers run once over
the whole recording and F at every hop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from audiocnn.architecture import Spec, walk
from audiocnn.costs import front_end_multiply_adds, latency, onset_latency, per_second
from audiocnn.errors import SpecError
from audiocnn.features import InputSpec, band_edges_hertz
from audiocnn.kinds import Global
from audiocnn.layers import Layer, reach_of, refuse_large, sizes_through
from audiocnn.segment_rule import SegmentRule
from audiocnn.sizes import Reach, Size
from audiocnn.windows import Geometry


@dataclass(frozen=True)
class Row:
    """One layer. `depth`: how deep it lies inside others. Tuples have an entry an axis, the last is time.

    kind is the key of the layer in a spec, or "input", or "branch" for the heading of one, which has no output. A layer
    made of others has the kernel, stride and padding of all of them; one of F takes all it gets, and has the size of
    that as its kernel. parameters and multiply_adds are its own; layers inside it have rows of their own. reach and hop
    are in seconds, or in positions of the input where a size replaces the features; bands is how many of the input's a
    position hears, hertz their width in the middle of the spectrum.
    """

    group: str
    depth: int
    kind: str
    text: str
    output: Size | None
    kernel: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[tuple[int, int], ...] = ()
    parameters: int = 0
    multiply_adds: int = 0
    reach: float | None = None
    hop: float | None = None
    bands: int | None = None
    hertz: float | None = None


@dataclass(frozen=True)
class Description:
    """All rows, and what they come to. What only holds for features is None where a size replaces them."""

    name: str
    summary: str
    classes: int
    size: Size | None  # what replaces the features
    rows: tuple[Row, ...]
    geometry: Geometry | None
    multiply_adds_per_second: int | None
    latency_seconds: float | None  # of a score, after the end of its row
    onset_latency_seconds: float | None  # of an onset in a live stream, with the default of --min-speech
    first_group: str | None  # None: there is none that convolves or pools
    first_group_weights: int
    dense_inputs: int  # samples of the window, or numbers of the size
    dense_outputs: int  # numbers that the first group gives

    @property
    def parameters(self) -> int:
        """Trainable weights of the whole network."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """For one window."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def layers(self) -> int:
        """Layers with weights, as the papers count: no norm, and no projection around a residual."""
        return sum(row.parameters > 0 and row.kind not in ("norm", "residual") for row in self.rows)

    @property
    def dense_weights(self) -> int | None:
        """Of the dense layer that would reach as far: from all that goes in to all that the first group gives."""
        return self.dense_inputs * self.dense_outputs if self.first_group else None


@dataclass(frozen=True)
class Place:
    """Where a layer stands: its group, how deep inside others, the reach of all before it along each axis."""

    group: str
    depth: int
    before: tuple[Reach, ...]
    bands: int  # of the input
    settings: InputSpec | None  # None: the input is positions, not features
    all_bands: bool = False  # whether a layer before it took all bands together

    def after(self, layers: Sequence[Layer]) -> Place:
        """Behind some layers."""
        before = tuple(reach.then(reach_of(layers, axis)) for axis, reach in enumerate(self.before))
        return replace(self, before=before, all_bands=self.all_bands or any(x.hears_all_bands for x in layers))


def describe(spec: Spec, size: Size | None = None) -> Description:
    """The rows of a spec. With `size`, that goes through groups and F instead of features, and F covers what is left.

    Raises SpecError where the size has other axes, does not fit through, or fills gigabytes.
    """
    if size is not None:
        check_size(spec, size)
    geometry = spec.geometry() if size is None else None
    window = size or spec.window_size()
    start = Place("", 0, (Reach(),) * len(window.axes), window.bands, spec.input if size is None else None)
    groups = list(group_rows(spec, window, start))
    first = [row for row in groups if row.group.partition(".")[0] == spec.groups[0].name]
    outputs = next((row.output for row in reversed(first) if row.depth == 0), None)
    rows = [front_end_row(spec)] * (geometry is not None) + groups + list(head_rows(spec, window, geometry))
    return Description(
        name=spec.name,
        summary=spec.summary,
        classes=spec.classes,
        size=size,
        rows=tuple(rows),
        geometry=geometry,
        multiply_adds_per_second=per_second(spec, geometry) if geometry else None,
        latency_seconds=latency(geometry) if geometry else None,
        onset_latency_seconds=onset_latency(geometry, SegmentRule.min_speech_seconds) if geometry else None,
        first_group=spec.groups[0].name if outputs else None,
        first_group_weights=sum(row.parameters for row in first),
        dense_inputs=geometry.window_samples * spec.input.channels if geometry else window.channels * window.positions,
        dense_outputs=outputs.channels * outputs.positions if outputs else 0,
    )


def check_size(spec: Spec, size: Size) -> None:
    """Refuse a size that the spec cannot take. Where nothing says "along time" or "along frequency", all fit."""
    has_axes = any(key in ("kernel", "size") for key, _ in walk(spec.table.get("groups", [])))
    if has_axes and len(size.axes) != spec.dims:
        raise SpecError(f"{spec.name}: is {spec.dims}-D; give the input as {'CxHxW' if spec.dims == 2 else 'CxN'}")
    refuse_large(size, f"{spec.name}: the input")


def front_end_row(spec: Spec) -> Row:
    """The features of one window; constants, nothing is trained."""
    settings, size = spec.input, spec.window_size()
    words = f"{settings.features} {settings.sample_rate} Hz"
    if settings.features != "waveform":
        words += f", {settings.bands} bands, frames of {settings.frame_seconds:g} s"
    edges = band_edges_hertz(settings)
    return Row(
        group="input",
        depth=0,
        kind="input",
        text=words,
        output=size,
        kernel=(settings.frame_samples,),
        dilation=(1,),
        stride=(settings.hop_samples,),
        padding=((0, 0),),
        multiply_adds=front_end_multiply_adds(settings) * size.time,
        reach=settings.frame_samples / settings.sample_rate,
        hop=settings.hop_samples / settings.sample_rate,
        bands=1 if spec.dims == 2 else None,
        hertz=middle_hertz(settings, 1) if spec.dims == 2 and edges is not None else None,
    )


def group_rows(spec: Spec, size: Size, place: Place) -> Iterator[Row]:
    """The layers of all groups but a `global`, which is F's; repeats are written out."""
    for group in spec.groups:
        for repeat in range(group.repeat):
            place = replace(place, group=f"{group.name}.{repeat + 1}" if group.repeat > 1 else group.name)
            for number, layer in enumerate(group.layers, 1):
                if not isinstance(layer, Global):
                    try:
                        yield from layer_rows(layer, size, place)
                    except SpecError as problem:
                        raise SpecError(f'{spec.name}: group "{group.name}": layer {number}: {problem}') from None
                    size, place = layer.out(size), place.after([layer])


def layer_rows(layer: Layer, size: Size, place: Place) -> Iterator[Row]:
    """A layer, then the layers inside it."""
    reaches = [layer.reach(axis) for axis in range(len(size.axes))]
    dilation = getattr(layer, "dilation", (1,) * len(reaches))
    row = Row(
        group=place.group,
        depth=place.depth,
        kind=kind_of(layer),
        text=layer.text(),
        output=layer.out(size),
        kernel=tuple((reach.kernel - 1) // d + 1 for reach, d in zip(reaches, dilation, strict=True)),
        dilation=dilation,
        stride=tuple(reach.stride for reach in reaches),
        padding=tuple((reach.start, reach.end) for reach in reaches),
        parameters=layer.parameters(size),
        multiply_adds=layer.multiply_adds(size),
    )
    refuse_large(layer.out(size), layer.text())
    yield with_hearing(row, place.after([layer]))
    yield from inner_rows(layer, size, replace(place, depth=place.depth + 1))


def inner_rows(layer: Layer, size: Size, place: Place) -> Iterator[Row]:
    """The layers inside a layer; each of several lists has a heading."""
    lists = layer.inner()
    if layer.hears_all_bands and not any(inside.hears_all_bands for inner in lists for inside in inner):
        place = replace(place, all_bands=True)  # it takes all bands together itself, and hands that in
    for number, (inner, given) in enumerate(zip(lists, layer.inputs(size), strict=True), 1):
        deeper = place
        if len(lists) > 1:
            heading = f"branch {number}" + ("" if inner else ": the input")
            yield Row(place.group, place.depth, "branch", heading, None)
            deeper = replace(place, depth=place.depth + 1)
        for inside, after in sizes_through(inner, given):
            yield from layer_rows(inside, given, deeper)
            given, deeper = after, deeper.after([inside])


def kind_of(layer: Layer) -> str:
    """The key that stands in a spec for such a layer."""
    return type(layer).__name__.lower()


def with_hearing(row: Row, place: Place) -> Row:
    """The row with the receptive field and hop of what lies before `place`."""
    settings, time = place.settings, place.before[-1]
    bands = None
    if len(place.before) == 2:
        bands = place.bands if place.all_bands else place.before[0].kernel
    if settings is None:
        return replace(row, reach=float(time.kernel), hop=float(time.stride), bands=bands)
    whole, rate = settings.reach.then(time), settings.sample_rate
    row = replace(row, reach=whole.kernel / rate, hop=whole.stride / rate)
    if bands is None:
        return row
    bands = min(bands, settings.bands)
    return replace(row, bands=bands, hertz=middle_hertz(settings, bands))


def middle_hertz(settings: InputSpec, bands: int) -> float | None:
    """The width in Hz of so many bands in the middle; None where bands are no frequencies."""
    edges = band_edges_hertz(settings)
    if edges is None:
        return None
    low = (len(edges) - bands) // 2
    return float(edges[low + bands - 1, 1] - edges[low, 0])


def head_rows(spec: Spec, size: Size, geometry: Geometry | None) -> Iterator[Row]:
    """F: each of its layers hears the whole window, or all of the size that was given."""
    frames, flat = size, len(size.axes) == 2
    for layer in spec.body:
        size = layer.out(size)
    for layer in spec.head:
        yield Row(
            group="F",
            depth=0,
            kind=kind_of(layer),
            text=layer.text(),
            output=layer.out(size),
            kernel=size.axes,
            parameters=layer.parameters(size),
            multiply_adds=layer.multiply_adds(size),
            reach=geometry.window_seconds if geometry else float(frames.time),
            hop=geometry.hop_seconds if geometry else None,
            bands=frames.bands if flat else None,
            hertz=middle_hertz(spec.input, spec.input.bands) if geometry and flat else None,
        )
        size = layer.out(size)
