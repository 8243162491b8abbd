"""A spec layer by layer: sizes, weights, multiply-adds, what it hears. Arithmetic alone; no weight is made.

A receptive field is the stretch of the input that one position of a layer depends on; the hop is how far two positions
are apart. Costs are for one window; per second of sound they are those of the dense pass, where layers run once over
the whole recording and F at every hop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from audiocnn.architecture import Spec
from audiocnn.errors import SpecError
from audiocnn.features import InputSpec, band_edges_hertz
from audiocnn.kinds import Global
from audiocnn.layers import Layer, reach_of, sizes_through
from audiocnn.sizes import Reach, Size
from audiocnn.windows import Geometry


@dataclass(frozen=True)
class Row:
    """One layer. `depth`: how deep it lies inside others. Tuples have an entry an axis, the last is time.

    parameters and multiply_adds are its own; layers inside it have rows of their own. reach and hop are in seconds, or
    in positions of the input where a size replaces the features; hertz is the width of what a middle position hears.
    """

    group: str
    depth: int
    text: str
    output: Size | None
    kernel: tuple[int, ...] = ()
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
    rows: tuple[Row, ...]
    geometry: Geometry | None
    multiply_adds_per_second: int | None
    latency_seconds: float | None
    dense_weights: int | None  # of a dense layer from the window's samples to what the first group gives
    first_group_weights: int

    @property
    def parameters(self) -> int:
        """Trainable weights of the whole network."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """For one window."""
        return sum(row.multiply_adds for row in self.rows)


@dataclass(frozen=True)
class Place:
    """Where a layer stands: its group, how deep inside others, the reach of all before it along each axis."""

    group: str
    depth: int
    before: tuple[Reach, ...]
    settings: InputSpec | None  # None: the input is positions, not features

    def inside(self) -> Place:
        """One deeper."""
        return replace(self, depth=self.depth + 1)

    def after(self, layers: Sequence[Layer]) -> Place:
        """Behind some layers."""
        axes = range(len(self.before))
        return replace(self, before=tuple(self.before[axis].then(reach_of(layers, axis)) for axis in axes))


def describe(spec: Spec, size: Size | None = None) -> Description:
    """The rows of a spec. With `size`, that goes through groups and F instead of features, and F covers what is left.

    Raises SpecError where the size has other axes, or does not fit through.
    """
    if size is not None and len(size.axes) != spec.dims:
        raise SpecError(f"{spec.name}: is {spec.dims}-D; give the input as {'CxHxW' if spec.dims == 2 else 'CxN'}")
    geometry = spec.geometry() if size is None else None
    front = None if geometry is None else front_end_row(spec)
    start = Place("", 0, (Reach(),) * spec.dims, spec.input if size is None else None)
    groups = list(group_rows(spec, size or spec.window_size(), start))
    last = groups[-1].output if groups else None
    head = list(head_rows(spec, size or spec.window_size(), geometry))
    first = [row for row in groups if row.group.partition(".")[0] == spec.groups[0].name] if spec.groups else []
    outputs = next((row.output for row in reversed(first) if row.depth == 0), last)
    return Description(
        name=spec.name,
        summary=spec.summary,
        classes=spec.classes,
        rows=tuple([front] if front else []) + tuple(groups) + tuple(head),
        geometry=geometry,
        multiply_adds_per_second=per_second(spec, geometry) if geometry else None,
        latency_seconds=latency(geometry) if geometry else None,
        dense_weights=dense_weights(spec, geometry, outputs) if geometry and outputs else None,
        first_group_weights=sum(row.parameters for row in first),
    )


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
        text=words,
        output=size,
        kernel=(settings.frame_samples,),
        stride=(settings.hop_samples,),
        padding=((0, 0),),
        multiply_adds=front_end_multiply_adds(settings) * size.time,
        reach=settings.frame_samples / settings.sample_rate,
        hop=settings.hop_samples / settings.sample_rate,
        bands=1 if spec.dims == 2 else None,
        hertz=middle_hertz(settings, 1) if spec.dims == 2 and edges is not None else None,
    )


def front_end_multiply_adds(settings: InputSpec) -> int:
    """For one frame of all channels: the kernels, the squares, the mel matrix, the DCT."""
    if settings.features == "waveform":
        return 0
    bins = settings.bins if settings.features == "cqt" else settings.fft_samples // 2 + 1
    total = 2 * bins * settings.frame_samples + 2 * bins
    if settings.features in ("mel", "log_mel", "mfcc"):
        total += settings.mels * bins
    if settings.features == "mfcc":
        total += settings.coefficients * settings.mels
    return total * settings.channels


def group_rows(spec: Spec, size: Size, place: Place) -> Iterator[Row]:
    """The layers of all groups but a `global`, which is F's; repeats are written out."""
    for group in spec.groups:
        for number in range(group.repeat):
            name = f"{group.name}.{number + 1}" if group.repeat > 1 else group.name
            for layer in group.layers:
                if not isinstance(layer, Global):
                    place = replace(place, group=name)
                    try:
                        yield from layer_rows(layer, size, place)
                    except SpecError as problem:
                        raise SpecError(f'{spec.name}: group "{group.name}": {problem}') from None
                    size, place = layer.out(size), place.after([layer])


def layer_rows(layer: Layer, size: Size, place: Place) -> Iterator[Row]:
    """A layer, then the layers inside it."""
    axes = range(len(size.axes))
    reaches = [layer.reach(axis) for axis in axes]
    row = Row(
        group=place.group,
        depth=place.depth,
        text=layer.text(),
        output=layer.out(size),
        kernel=tuple(reach.kernel for reach in reaches),
        stride=tuple(reach.stride for reach in reaches),
        padding=tuple((reach.start, reach.end) for reach in reaches),
        parameters=layer.parameters(size),
        multiply_adds=layer.multiply_adds(size),
    )
    yield with_hearing(row, place.after([layer]))
    lists = layer.inner()
    for number, (inside, given) in enumerate(zip(lists, layer.inputs(size), strict=True), 1):
        deeper = place.inside()
        if len(lists) > 1:
            yield Row(place.group, deeper.depth, f"branch {number}" + ("" if inside else ": the input"), None)
            deeper = deeper.inside()
        for inner, after in sizes_through(inside, given):
            yield from layer_rows(inner, given, deeper)
            given, deeper = after, deeper.after([inner])


def with_hearing(row: Row, place: Place) -> Row:
    """The row with the receptive field and hop of what lies before `place`."""
    settings, time = place.settings, place.before[-1]
    bands = place.before[0].kernel if len(place.before) == 2 else None
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
    frames = size
    for layer in spec.body:
        size = layer.out(size)
    for layer in spec.head:
        yield Row(
            group="F",
            depth=0,
            text=layer.text(),
            output=layer.out(size),
            parameters=layer.parameters(size),
            multiply_adds=layer.multiply_adds(size),
            reach=geometry.window_seconds if geometry else float(frames.time),
            hop=geometry.hop_seconds if geometry else None,
            bands=frames.bands if spec.dims == 2 else None,
            hertz=middle_hertz(spec.input, spec.input.bands) if geometry and spec.dims == 2 else None,
        )
        size = layer.out(size)


def per_second(spec: Spec, geometry: Geometry) -> int:
    """Multiply-adds for a second of sound in the dense pass."""
    settings = spec.input
    frames_per_second = settings.sample_rate / settings.hop_samples
    window, stride = spec.window_size(), spec.reach().stride
    more = 64 * stride  # whole strides: costs then grow in proportion
    longer = Size(window.channels, (*window.axes[:-1], window.time + more))
    body = (cost(spec.body, longer) - cost(spec.body, window)) / more * frames_per_second
    size = window
    for layer in spec.body:
        size = layer.out(size)
    return round(
        front_end_multiply_adds(settings) * frames_per_second + body + cost(spec.head, size) / geometry.hop_seconds
    )


def cost(layers: Sequence[Layer], size: Size) -> int:
    """Multiply-adds of layers in a row, those inside others too."""
    total = 0
    for layer, after in sizes_through(layers, size):
        total += layer.multiply_adds(size)
        total += sum(cost(inside, given) for inside, given in zip(layer.inner(), layer.inputs(size), strict=True))
        size = after
    return total


def latency(geometry: Geometry) -> float:
    """Seconds of sound behind the end of a score's row that must be heard before the score is known."""
    core = geometry.window_samples - geometry.pad_start - geometry.pad_end
    ahead = core - geometry.extend_start - geometry.hop_samples + geometry.margin_rows * geometry.hop_samples
    return max(0, ahead) / geometry.sample_rate


def dense_weights(spec: Spec, geometry: Geometry, outputs: Size) -> int:
    """What one dense layer from the window's samples to the first group's output would have instead."""
    return geometry.window_samples * spec.input.channels * outputs.channels * outputs.positions
