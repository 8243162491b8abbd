"""A description of a spec layer by layer: sizes, weights, multiply-adds, receptive fields. Computed without creating
weights.

A receptive field is the part of the input that one position of a layer depends on; the hop is the distance between two
positions. Costs are for one window. Costs for a second of audio are those of the dense pass, in which layers run once
over the whole recording, and F at every hop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from audiocnn.errors import SpecError
from audiocnn.segments.finder import SegmentRule
from audiocnn.spec.features import InputSpec, band_edges_hertz
from audiocnn.spec.geometry import Geometry, ReceptiveField, Size
from audiocnn.spec.layers import Global, Layer, receptive_field_of, refuse_large, sizes_through
from audiocnn.spec.spec import Spec, walk


def _front_end_multiply_adds(settings: InputSpec) -> int:
    """For one frame of all channels: the kernels without folding (folding reduces them to a quarter to a half), the
    squares, the mel matrix and the DCT."""
    total = settings.kernels * settings.frame_samples + settings.kernels
    if settings.features in ("mel", "log_mel", "mfcc"):
        total += settings.mels * (settings.kernels // 2)
    if settings.features == "mfcc":
        total += settings.coefficients * settings.mels
    return total * settings.channels


def per_second(spec: Spec, geometry: Geometry) -> int:
    """Multiply-adds for a second of audio in the dense pass."""
    settings = spec.input
    frames_per_second = settings.sample_rate / settings.hop_samples
    window, stride = spec.window_size(), spec.receptive_field().stride
    more = 64 * stride  # whole strides, so that costs are proportional
    longer = Size(window.channels, (*window.axes[:-1], window.time + more))
    body = (cost(spec.body, longer) - cost(spec.body, window)) / more * frames_per_second
    size = window
    for layer in spec.body:
        size = layer.out(size)
    return round(
        _front_end_multiply_adds(settings) * frames_per_second + body + cost(spec.head, size) / geometry.hop_seconds
    )


def cost(layers: Sequence[Layer], size: Size) -> int:
    """Multiply-adds of layers in sequence, including nested layers."""
    total = 0
    for layer, after in sizes_through(layers, size):
        total += layer.multiply_adds(size)
        total += sum(cost(inside, given) for inside, given in zip(layer.inner(), layer.inputs(size), strict=True))
        size = after
    return total


def latency(geometry: Geometry) -> float:
    """Seconds of audio after the end of a score's row that a live detector must hear before it can compute the
    score."""
    ahead = geometry.known_samples + (geometry.live_margin_rows - 1) * geometry.hop_samples
    return max(0, ahead) / geometry.sample_rate


def onset_latency(geometry: Geometry, min_speech_seconds: float) -> float:
    """Seconds of audio from the start of a segment's first row until its onset is certain: the rows of min_speech, and
    the audio needed after the last of them."""
    rows = max(1, math.ceil((min_speech_seconds - 1e-9) / geometry.hop_seconds))
    return rows * geometry.hop_seconds + latency(geometry)


@dataclass(frozen=True)
class Row:
    """One layer. `depth`: its nesting depth. Tuples have an entry for each axis; the last is time.

    kind is the key of the layer in a spec, or "input", or "branch" for the heading of a branch, which has no output. A
    layer made of others has the kernel, stride and padding of all of them together. A layer of F takes its whole input,
    whose size is its kernel. parameters and multiply_adds are its own; nested layers have their own rows. reach and hop
    are in seconds, or in input positions if a size replaces the features. bands is the number of input bands that a
    position hears, and hertz is their width in the middle of the spectrum.
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
    """All rows, and their totals. Values that apply only to features are None if a size replaces them."""

    name: str
    summary: str
    classes: int
    size: Size | None  # the size that replaces the features
    rows: tuple[Row, ...]
    geometry: Geometry | None
    multiply_adds_per_second: int | None
    latency_seconds: float | None  # of a score, after the end of its row
    onset_latency_seconds: float | None  # of an onset in a live stream, with `min_speech_seconds`
    min_speech_seconds: float  # the shortest segment
    first_group: str | None  # None: no layer convolves or pools
    first_group_weights: int
    dense_inputs: int  # samples of the window, or numbers of the size
    dense_outputs: int  # numbers that the first group outputs
    hints: dict[str, Any]  # training settings, as in `Spec.hints`

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """For one window."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def layers(self) -> int:
        """Layers with weights, counted as in the literature: without norms and projections around residuals."""
        return sum(row.parameters > 0 and row.kind not in ("norm", "residual") for row in self.rows)

    @property
    def dense_weights(self) -> int | None:
        """Of a dense layer with the same receptive field: from its whole input to the whole output of the first
        group."""
        return self.dense_inputs * self.dense_outputs if self.first_group else None


@dataclass(frozen=True)
class LayerContext:
    """The place of a layer: its group, its nesting depth, and the receptive field of all layers before it on each
    axis."""

    group: str
    depth: int
    before: tuple[ReceptiveField, ...]
    bands: int  # of the input
    settings: InputSpec | None  # None: the input is positions, not features
    all_bands: bool = False  # whether an earlier layer combined all bands

    def after(self, layers: Sequence[Layer]) -> LayerContext:
        before = tuple(field.then(receptive_field_of(layers, axis)) for axis, field in enumerate(self.before))
        return replace(self, before=before, all_bands=self.all_bands or any(x.hears_all_bands for x in layers))


def describe(
    spec: Spec, size: Size | None = None, min_speech_seconds: float = SegmentRule.min_speech_seconds
) -> Description:
    """The rows of a spec. With `size`, that is the input of the groups and F instead of features, and F covers what
    remains. min_speech_seconds: the shortest segment, for which a live detector waits.

    Raises SpecError if the size has other axes, becomes too small, or would fill gigabytes.
    """
    if size is not None:
        _check_size(spec, size)
    geometry = spec.geometry() if size is None else None
    window = size or spec.window_size()
    start = LayerContext(
        "", 0, (ReceptiveField(),) * len(window.axes), window.bands, spec.input if size is None else None
    )
    groups = list(_group_rows(spec, window, start))
    first = [row for row in groups if row.group.partition(".")[0] == spec.groups[0].name]
    outputs = next((row.output for row in reversed(first) if row.depth == 0), None)
    rows = [_front_end_row(spec)] * (geometry is not None) + groups + list(_head_rows(spec, window, geometry))
    return Description(
        name=spec.name,
        summary=spec.summary,
        classes=spec.classes,
        size=size,
        rows=tuple(rows),
        geometry=geometry,
        multiply_adds_per_second=per_second(spec, geometry) if geometry else None,
        latency_seconds=latency(geometry) if geometry else None,
        onset_latency_seconds=onset_latency(geometry, min_speech_seconds) if geometry else None,
        min_speech_seconds=min_speech_seconds,
        first_group=spec.groups[0].name if outputs else None,
        first_group_weights=sum(row.parameters for row in first),
        dense_inputs=geometry.near_samples * spec.input.channels if geometry else window.channels * window.positions,
        dense_outputs=outputs.channels * outputs.positions if outputs else 0,
        hints=spec.hints,
    )


def _check_size(spec: Spec, size: Size) -> None:
    """Reject a size that does not fit the spec. If no layer depends on the axes, any size fits."""
    has_axes = any(key in ("kernel", "size") for key, _ in walk(spec.table.get("groups", [])))
    if has_axes and len(size.axes) != spec.dims:
        raise SpecError(f"{spec.name}: is {spec.dims}-D; give the input as {'CxHxW' if spec.dims == 2 else 'CxN'}")
    refuse_large(size, f"{spec.name}: the input")


def _front_end_row(spec: Spec) -> Row:
    """The features of one window; constants without training."""
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
        multiply_adds=_front_end_multiply_adds(settings) * size.time,
        reach=settings.frame_samples / settings.sample_rate,
        hop=settings.hop_samples / settings.sample_rate,
        bands=1 if spec.dims == 2 else None,
        hertz=_middle_hertz(settings, 1) if spec.dims == 2 and edges is not None else None,
    )


def _group_rows(spec: Spec, size: Size, context: LayerContext) -> Iterator[Row]:
    """The layers of all groups, with repeats expanded, but without a `global`, which belongs to F."""
    for group in spec.groups:
        for repeat in range(group.repeat):
            context = replace(context, group=f"{group.name}.{repeat + 1}" if group.repeat > 1 else group.name)
            for number, layer in enumerate(group.layers, 1):
                if not isinstance(layer, Global):
                    try:
                        yield from _layer_rows(layer, size, context)
                    except SpecError as problem:
                        raise SpecError(f'{spec.name}: group "{group.name}": layer {number}: {problem}') from None
                    size, context = layer.out(size), context.after([layer])


def _layer_rows(layer: Layer, size: Size, context: LayerContext) -> Iterator[Row]:
    fields = [layer.receptive_field(axis) for axis in range(len(size.axes))]
    dilation = getattr(layer, "dilation", (1,) * len(fields))
    row = Row(
        group=context.group,
        depth=context.depth,
        kind=_kind_of(layer),
        text=layer.text(),
        output=layer.out(size),
        kernel=tuple((field.kernel - 1) // d + 1 for field, d in zip(fields, dilation, strict=True)),
        dilation=dilation,
        stride=tuple(field.stride for field in fields),
        padding=tuple((field.start, field.end) for field in fields),
        parameters=layer.parameters(size),
        multiply_adds=layer.multiply_adds(size),
    )
    refuse_large(layer.out(size), layer.text())
    yield _with_hearing(row, context.after([layer]))
    yield from _inner_rows(layer, size, replace(context, depth=context.depth + 1))


def _inner_rows(layer: Layer, size: Size, context: LayerContext) -> Iterator[Row]:
    """The layers inside a layer; each of several lists has a heading."""
    lists = layer.inner()
    if layer.hears_all_bands and not any(inside.hears_all_bands for inner in lists for inside in inner):
        context = replace(context, all_bands=True)  # it combines all bands itself, and passes on the result
    for number, (inner, given) in enumerate(zip(lists, layer.inputs(size), strict=True), 1):
        deeper = context
        if len(lists) > 1:
            heading = f"branch {number}" + ("" if inner else ": the input")
            yield Row(context.group, context.depth, "branch", heading, None)
            deeper = replace(context, depth=context.depth + 1)
        for inside, after in sizes_through(inner, given):
            yield from _layer_rows(inside, given, deeper)
            given, deeper = after, deeper.after([inside])


def _kind_of(layer: Layer) -> str:
    """The key of such a layer in a spec."""
    return type(layer).__name__.lower()


def _with_hearing(row: Row, context: LayerContext) -> Row:
    settings, time = context.settings, context.before[-1]
    bands = None
    if len(context.before) == 2:
        bands = context.bands if context.all_bands else context.before[0].kernel
    if settings is None:
        return replace(row, reach=float(time.kernel), hop=float(time.stride), bands=bands)
    whole, rate = settings.receptive_field.then(time), settings.sample_rate
    row = replace(row, reach=whole.kernel / rate, hop=whole.stride / rate)
    if bands is None:
        return row
    bands = min(bands, settings.bands)
    return replace(row, bands=bands, hertz=_middle_hertz(settings, bands))


def _middle_hertz(settings: InputSpec, bands: int) -> float | None:
    """The width in Hz of this number of bands in the middle of the spectrum; None if bands are not frequencies."""
    edges = band_edges_hertz(settings)
    if edges is None:
        return None
    low = (len(edges) - bands) // 2
    return float(edges[low + bands - 1, 1] - edges[low, 0])


def _head_rows(spec: Spec, size: Size, geometry: Geometry | None) -> Iterator[Row]:
    """F: each of its layers hears the whole window, or the whole size that was given."""
    frames, flat = size, len(size.axes) == 2
    for layer in spec.body:
        size = layer.out(size)
    for layer in spec.head:
        yield Row(
            group="F",
            depth=0,
            kind=_kind_of(layer),
            text=layer.text(),
            output=layer.out(size),
            kernel=size.axes,
            parameters=layer.parameters(size),
            multiply_adds=layer.multiply_adds(size),
            reach=geometry.window_seconds if geometry else float(frames.time),
            hop=geometry.hop_seconds if geometry else None,
            bands=frames.bands if flat else None,
            hertz=_middle_hertz(spec.input, spec.input.bands) if geometry and flat else None,
        )
        size = layer.out(size)
