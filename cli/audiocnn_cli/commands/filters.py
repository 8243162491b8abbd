"""`audiocnn filters`: the filters of the first layer as a picture and as numbers, and sounds that activate them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiocnn.errors import UsageError, printable
from audiocnn.labels.formats import jsonl
from audiocnn.labels.formats.base import file_fields
from audiocnn.units import format_speed
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import BASIC, Force, Jobs, ModelArgument, ReportFormat, TableFormat, option
from audiocnn_cli.app.progress import Bar
from audiocnn_cli.app.terminal import Terminal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table

    from audiocnn.inspection.filters import FilterBank
    from audiocnn.inspection.strongest import TopActivation
    from audiocnn.model.network import Network

_strongest = partial(option, panel="Strongest")
_MOST_AROUND_SECONDS = 60.0
_UNBOUNDED = 10_000  # columns
_PERCENTAGES = ("level", "frequency", "time", "both", "between_channels")
_TITLES = {"centre_hertz": "centre", "bandwidth_hertz": "bandwidth", "between_channels": "between channels"}
Picture = Annotated[
    str | None, option("--output", "FILE", "Picture to write: .png, .svg or .pdf.", "Output", short="-o"), BASIC
]
Most = Annotated[
    int, typer.Option("--most", min=1, metavar="N", help="Draw at most this many filters, the strongest first."), BASIC
]


@dataclass(frozen=True)
class StrongestOptions:
    """Where to search for the sounds that activate filters most, and where to put them."""

    strongest: Annotated[
        list[str] | None,
        _strongest(
            "--strongest",
            "DATA",
            "Recordings (a folder, dataset, table or recipe) in which to find and cut out the sounds that activate "
            "each filter most. May be repeated.",
        ),
        BASIC,
    ] = None
    group: Annotated[
        str | None,
        _strongest(
            "--group", "NAME", "Draw the filters of the last layer of this group. [default: those of the first layer]"
        ),
        BASIC,
    ] = None
    top: Annotated[
        int | None,
        _strongest(
            "--top",
            "K",
            "Number of sounds for each filter, each from another recording. [default: {recordings_a_filter}]",
            least=1,
        ),
        BASIC,
    ] = None
    around: Annotated[
        float | None,
        _strongest("--around", "SECONDS", "Extend each cut by this much at both ends. [default: {context_seconds}]"),
    ] = None
    clips: Annotated[
        str | None,
        _strongest("--clips", "DIR", "Folder for the cut sounds. [default: next to the picture, FILE.strongest]"),
        BASIC,
    ] = None

    def check(self) -> None:
        """Raises UsageError for options that need --strongest, and for an invalid --around."""
        if self.around is not None and not 0 <= self.around <= _MOST_AROUND_SECONDS:
            raise UsageError(f"--around cannot be {self.around:g}; use seconds from 0 to {_MOST_AROUND_SECONDS:g}")
        if self.strongest:
            return
        for name, value in vars(self).items():
            if value is not None:
                raise UsageError(f"--{name} applies to --strongest; give --strongest DATA too")

    def picture(self, path: Path | None) -> Path | None:
        """The path of the picture of the strongest sounds, next to that of the filters."""
        return path.with_name(f"{path.stem}.strongest{path.suffix}") if path and self.strongest else None


def filters(
    terminal: Terminal,
    model: ModelArgument,
    output: Picture = None,
    most: Most = 128,
    options: StrongestOptions = StrongestOptions(),
    force: Force = False,
    jobs: Jobs = None,
    format: TableFormat = ReportFormat.auto,
) -> ExitStatus:
    """A filter on samples is drawn as a waveform and its spectrum, a filter on features as a patch. If the network
    splits into towers, each tower has its own side of the picture. The numbers are written to standard output, one
    row for each filter, in the order of the picture.

    \b
    audiocnn filters speech_1d -o filters.png
    audiocnn filters speech_2d -o filters.png --strongest recordings/ --group B
    """
    path = None if output is None else Path(output)
    options.check()
    clips = check_outputs(path, options, force)
    from audiocnn.inspection.filters import read_filters
    from audiocnn.model.model import find_model
    from audiocnn.model.weights import load_network
    from audiocnn.report.figure import save_figure
    from audiocnn.report.filter_picture import draw_filters

    if jobs is not None:
        import torch

        torch.set_num_threads(jobs)
    network = load_network(find_model(model))
    bank = read_filters(network)
    search = StrongestSearch(terminal, network, bank, options, clips) if options.strongest else None
    if path is not None:
        save_figure(draw_filters(bank, most), path)
    if options.group is None:
        write_filters(bank, terminal, terminal.wants_table(format))
    if search is None:
        return ExitStatus.OK
    return search.run(options.picture(path), most, terminal.wants_table(format))


def check_outputs(path: Path | None, options: StrongestOptions, force: bool) -> Path | None:
    """The folder for cut sounds, if any. Raises UsageError, before any work, if an output already exists."""
    from audiocnn.report.figure import check_picture

    for picture in filter(None, (path, options.picture(path))):
        check_picture(picture, force)
    if not options.strongest or not (options.clips or path):
        return None
    from audiocnn.inspection.strongest import check_clips

    clips = Path(options.clips or Path(str(path)).with_suffix(".strongest"))
    check_clips(clips, force)
    return clips


class StrongestSearch:
    """The search for the strongest sounds. The constructor makes all checks that are possible before the work."""

    def __init__(
        self, terminal: Terminal, network: Network, bank: FilterBank, options: StrongestOptions, clips: Path | None
    ) -> None:
        from audiocnn.inspection.strongest import CONTEXT_SECONDS, RECORDINGS_A_FILTER, find_sounds, layers_to_search

        self.terminal, self.network, self.clips = terminal, network, clips
        self.bank = bank if options.group is None else None
        self.layers = layers_to_search(network, options.group)
        channels = network.spec.input.channels
        self.sounds = [sound for data in options.strongest or () for sound in find_sounds(data, channels)]
        self.top = RECORDINGS_A_FILTER if options.top is None else options.top
        self.around = CONTEXT_SECONDS if options.around is None else options.around
        self.failed = 0

    def run(self, picture: Path | None, most: int, table: bool) -> ExitStatus:
        found = self.find()
        cuts = self.cut(found, picture, most)
        records = [
            strongest_record(one, self.network, self.layers[0].group, cuts.get(one.key)) for row in found for one in row
        ]
        if self.clips is not None:
            from audiocnn.files import write_whole
            from audiocnn.inspection.strongest import LIST_NAME

            write_whole(self.clips / LIST_NAME, jsonl.dump_lines(records).encode())
        write_strongest(records, self.terminal, table)
        silent = sum(not row for row in found)
        if silent:
            self.terminal.say(f"audiocnn: {silent} of {len(found)} filters are not activated here (never above 0)")
        return ExitStatus.SOME_FAILED if self.failed else ExitStatus.OK

    def find(self) -> list[list[TopActivation]]:
        """The activations of each filter, the strongest first. Recordings that cannot be read are reported."""
        import time

        from audiocnn.inspection.strongest import find_strongest

        began, seconds = time.monotonic(), 0.0
        with Bar(self.terminal, "searching") as bar:
            for step in find_strongest(self.network, self.layers, self.sounds, self.top):
                if step.found is not None:
                    return step.found
                seconds += step.seconds
                if step.problem:
                    self.failed += 1
                    self.terminal.error(step.problem)
                bar.update(
                    step.done,
                    step.total,
                    f"{step.done} of {step.total}, {format_speed(seconds, time.monotonic() - began)}",
                )
        raise AssertionError("the last step contains the result")

    def cut(
        self, found: list[list[TopActivation]], picture: Path | None, most: int
    ) -> dict[tuple[int, int], tuple[Path, float]]:
        """Cut out the sound of every activation and draw some. Returns the file of each cut and its start in the
        recording."""
        from audiocnn.inspection.strongest import cut_sounds, features_seen, prepare_clips, write_clip
        from audiocnn.report.figure import save_figure
        from audiocnn.report.filter_picture import choose_filters, draw_strongest

        sample_rate = self.network.geometry.sample_rate
        rows: dict[int, list[tuple[TopActivation, NDArray[np.float64]]]] = {}
        if picture is not None:
            rows = {number: [] for number in choose_filters(found, self.bank, most)}
        wanted = [place for each in found for place in each if self.clips is not None or place.filter in rows]
        cuts: dict[tuple[int, int], tuple[Path, float]] = {}
        if self.clips is not None:
            prepare_clips(self.clips)
        with Bar(self.terminal, "cutting") as bar:
            for done, (place, samples, begin) in enumerate(cut_sounds(wanted, sample_rate, self.around), 1):
                if self.clips is not None:
                    cuts[place.key] = (write_clip(self.clips, place, samples, sample_rate), begin / sample_rate)
                if place.filter in rows:
                    seen = samples[:, place.span[0] - begin : place.span[1] - begin]
                    rows[place.filter].append((place, features_seen(self.network, place, seen)))
                bar.update(done, len(wanted))
        if picture is not None:
            ordered = {number: sorted(row, key=lambda one: one[0].rank) for number, row in rows.items()}
            waveform = self.network.spec.input.features == "waveform"
            save_figure(draw_strongest(ordered, self.bank, self.title(len(rows), len(found)), waveform), picture)
        return cuts

    def title(self, rows: int, filters: int) -> str:
        layer, settings = self.layers[0], self.network.spec.input
        reach = settings.receptive_field.then(layer.reach[-1])
        some = f"{filters} filters" if rows == filters else f"{rows} of {filters} filters"
        what = f"{self.network.spec.name}, group {layer.group}: {some} and the sounds that activate them most"
        size = f"receptive field {reach.kernel / settings.sample_rate * 1000:g} ms"
        if settings.features != "waveform":
            size += f"; {settings.features}, bright is more, each picture has its own scale"
        return what + ("; each row starts with the filter" if self.bank else "") + f"\n{size}"


def filter_records(bank: FilterBank) -> list[jsonl.Record]:
    """One record per filter, in the order of the picture, then one per tower."""
    from audiocnn.inspection.filters import tower_figures

    head = {"schema": 1, "type": "filter", "model": bank.model, "group": bank.group}
    rows: list[jsonl.Record] = [
        head
        | {"filter": one.index}
        | ({"tower": one.tower} if one.tower is not None else {})
        | {"strength": _four_digits(one.strength)}
        | {name: _four_digits(value) for name, value in one.figures.items()}
        for one in bank.filters
    ]
    towers, chance = tower_figures(bank)
    by_chance = {name: _four_digits(value) for name, value in chance.items()}
    return rows + [
        head
        | {"type": "tower", "tower": tower.tower, "filters": tower.filters}
        | {name: _four_digits(value) for name, value in tower.means.items()}
        | {"by_chance": by_chance}
        for tower in towers
    ]


def _four_digits(value: float) -> float | int:
    """A number with four significant digits; whole numbers stay whole."""
    if value == int(value):
        return int(value)
    return round(value, max(0, 3 - math.floor(math.log10(abs(value)))))


def write_filters(bank: FilterBank, terminal: Terminal, table: bool) -> None:
    records = filter_records(bank)
    if not table:
        terminal.write(jsonl.dump_lines(records))
        return
    rows = [row for row in records if row["type"] == "filter"]
    towers = [row for row in records if row["type"] == "tower"]
    from rich.text import Text

    with terminal.paused():
        terminal.out.print(Text(printable(f"{bank.model}, group {bank.group}: {bank.layer}"), style="bold"))
        terminal.out.print(_filter_table(rows, ["filter", "tower"], terminal))
        if towers:
            terminal.out.print()
            terminal.out.print(_filter_table(towers, ["tower", "filters"], terminal))
            for name, value in towers[0]["by_chance"].items():
                words = "specialise" if value < 0.01 else "may specialise" if value < 0.05 else "do not differ"
                terminal.out.print(
                    f"{_TITLES.get(name, name)}: the towers {words}; {value:.1%} of random divisions differ as much"
                )


def _filter_table(rows: Sequence[jsonl.Record], first: list[str], terminal: Terminal) -> Table:
    names = [*first, "centre_hertz", "bandwidth_hertz", "range", *_PERCENTAGES, "strength"]
    columns = [name for name in names if any(name in row or (name == "range" and "low_hertz" in row) for row in rows)]
    table = terminal.new_table()
    for name in columns:
        table.add_column(_TITLES.get(name, name), justify="right")
    for row in rows:
        table.add_row(*(_cell(row, name) for name in columns))
    unbounded = terminal.out.options.update(max_width=_UNBOUNDED)
    if terminal.out.measure(table, options=unbounded).maximum > terminal.out.width:
        table.padding = (0, 0)
    return table


def _cell(row: jsonl.Record, name: str) -> str:
    if name == "range":
        return f"{row['low_hertz']:.0f}-{row['high_hertz']:.0f} Hz" if "low_hertz" in row else "-"
    value = row.get(name)
    if value is None:
        return "-"
    if name.endswith("hertz"):
        return f"{value:.0f} Hz"
    return f"{value:.0%}" if name in _PERCENTAGES else f"{value:.3g}"


def strongest_record(one: TopActivation, network: Network, group: str, cut: tuple[Path, float] | None) -> jsonl.Record:
    """The record of an activation: its times in the recording, and its frequencies for a 2-D filter on bands."""
    from audiocnn.spec.features import band_edges_hertz

    sample_rate, edges = network.geometry.sample_rate, band_edges_hertz(network.spec.input)
    row = {"schema": 1, "type": "strongest", "model": network.spec.name, "group": group, "filter": one.filter}
    row |= {"rank": one.rank, "activation": _four_digits(one.activation)}
    row |= file_fields("file", one.sound.name)
    row |= {"label": one.sound.label} if one.sound.label is not None else {}
    row |= {"start": round(one.span[0] / sample_rate, 6), "end": round(one.span[1] / sample_rate, 6)}
    if edges is not None and network.spec.dims == 2:
        row |= {"low_hertz": _four_digits(edges[one.bands[0], 0]), "high_hertz": _four_digits(edges[one.bands[1], 1])}
    if cut is not None:
        row |= {"clip": str(cut[0]), "clip_start": round(cut[1], 6)}
    return row


def write_strongest(records: Sequence[jsonl.Record], terminal: Terminal, table: bool) -> None:
    """Write all records as JSON Lines, or a table with the strongest of each filter."""
    if not table:
        terminal.write(jsonl.dump_lines(records))
        return
    shown = [row for row in records if row["rank"] == 1]
    drawn = terminal.new_table()
    clips = any("clip" in row for row in shown)
    drawn.add_column("filter", justify="right")
    drawn.add_column("activation", justify="right")
    drawn.add_column("strongest in", overflow="fold")
    drawn.add_column("from", justify="right")
    drawn.add_column("to", justify="right")
    for row in shown:
        times = (f"{row['start']:.3f} s", f"{row['end']:.3f} s")
        drawn.add_row(str(row["filter"]), f"{row['activation']:.3g}", printable(row["file"]), *times)
    with terminal.paused():
        terminal.out.print()
        terminal.out.print(drawn)
        if clips:
            folder = Path(shown[0]["clip"]).parents[1]
            words = f"{len(records)} sounds cut out to {folder}/FILTER/RANK.wav, listed in {folder}/strongest.jsonl"
            terminal.out.print(printable(words))
