"""The tables of `describe`: one network with one row per layer and totals below, or several networks side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import groupby, zip_longest
from typing import TYPE_CHECKING

from audiocnn.errors import printable
from audiocnn.spec.describe import Description, Row
from audiocnn.spec.hints import format_hints
from audiocnn.units import plural
from audiocnn_cli.app.terminal import Terminal

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.padding import Padding
    from rich.table import Table

_TITLES = ("layer", "output", "padding", "weights", "mult-adds", "hears", "hop")
_LEAST_NEEDED = ("hop", "padding", "mult-adds", "hears")  # left out in this order if the terminal is too narrow
_LEAST_WIDTH = 26  # the text of a layer is folded to this width before columns are left out
_GAP = 2  # between columns
# Columns next to the text of layers, for several networks; the first set that fits is used.
_LAYER_COLUMNS = (
    ("output", "weights", "mult-adds", "hears", "hop"),
    ("output", "weights", "mult-adds", "hears"),
    ("output", "weights", "hears"),
    ("output", "weights"),
)
_LEAST_COLUMN_WIDTH = 22  # the text of a layer is folded to this width before columns are left out
_TOTALS_WIDTH = 30
_WIDER_GAP = 2  # an empty column between networks


def write_layers(found: Description, terminal: Terminal) -> None:
    from rich.text import Text

    console = terminal.out
    widths = column_widths(found)
    titles = [title for title in _TITLES if title != "padding" or any(map(_has_padding, found.rows))]
    for title in _LEAST_NEEDED:
        if console.width - _fixed_width(widths, titles) < min(_LEAST_WIDTH, widths["layer"]):
            titles = [kept for kept in titles if kept != title]
    room = max(_LEAST_WIDTH, console.width - _fixed_width(widths, titles))
    with terminal.paused():
        summary = f"  {printable(found.summary)}" if found.summary else ""
        console.print(Text(printable(found.name), style="bold").append(summary, style="not bold"))
        console.print(_layers_table(found, titles, terminal, room))
        console.print()
        console.print(_facts_table(_facts(found)))


def column_widths(found: Description) -> dict[str, int]:
    """The width of the widest cell of each column, by title; "" for the groups."""
    widths = {title: len(title) for title in _TITLES} | {"": max(len(row.group) for row in found.rows)}
    for row in found.rows:
        widths["layer"] = max(widths["layer"], 2 * row.depth + len(row.text))
        for title, cell in layer_cells(row, in_seconds=found.geometry is not None).items():
            widths[title] = max(widths[title], len(cell))
    return widths


def _fixed_width(widths: Mapping[str, int], titles: Iterable[str]) -> int:
    """The width of these columns and the groups, without the text of layers, which is folded to the remaining width."""
    return widths[""] + sum(_GAP + (0 if title == "layer" else widths[title]) for title in titles)


def _layers_table(found: Description, titles: Sequence[str], terminal: Terminal, width: int) -> Table:
    from rich.text import Text

    table = terminal.new_table(padding=(0, 1, 0, 0))
    table.add_column("")
    for title in titles:
        left = title == "layer"
        table.add_column(title, justify="left" if left else "right", overflow="fold", max_width=width if left else None)
    group = ""
    for row in found.rows:
        if row.group != group and group:
            table.add_section()
        cells = layer_cells(row, in_seconds=found.geometry is not None)
        head = Text(row.group if row.group != group else "", style="bold")
        table.add_row(head, *[_indented(row) if title == "layer" else Text(cells[title]) for title in titles])
        group = row.group
    return table


def _indented(row: Row) -> Padding:
    """The text of a layer, indented by its depth, including folded lines."""
    from rich.padding import Padding
    from rich.text import Text

    return Padding(Text(row.text, style="" if row.output else "dim"), (0, 0, 0, 2 * row.depth))


def _has_padding(row: Row) -> bool:
    return any(any(pad) for pad in row.padding)


def layer_cells(row: Row, in_seconds: bool) -> dict[str, str]:
    """The cells of a row by title. They are empty for a row that only names a branch."""
    cells = dict.fromkeys(_TITLES, "")
    if row.output is None:
        return cells
    cells["output"] = str(row.output)
    cells["weights"] = f"{row.parameters:,}" if row.parameters else "-"
    cells["mult-adds"] = _short_count(row.multiply_adds) if row.multiply_adds else "-"
    if _has_padding(row):
        pads = [str(start) if start == end else f"{start}+{end}" for start, end in row.padding]
        cells["padding"] = pads[0] if len(set(pads)) == 1 else "x".join(pads)
    if row.reach is not None:
        cells["hears"] = _receptive_field_text(row, in_seconds)
    if row.hop is not None:
        cells["hop"] = _duration_text(row.hop) if in_seconds else f"{row.hop:g}"
    return cells


def _receptive_field_text(row: Row, in_seconds: bool) -> str:
    if not in_seconds:  # for --input, in the order of the size: frequency, then time
        return f"{row.reach:g}" if row.bands is None else f"{row.bands}x{row.reach:g}"
    text = _duration_text(row.reach or 0.0)
    if row.hertz is not None:
        return f"{text}, {row.hertz:,.0f} Hz"
    return text if row.bands is None else f"{text}, {plural(row.bands, 'band')}"


def _facts_table(rows: Iterable[tuple[str, str]]) -> Table:
    """(title, sentence) rows."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for word, sentence in rows:
        grid.add_row(Text(word, style="bold"), Text(sentence))
    return grid


def _facts(found: Description) -> list[tuple[str, str]]:
    lines = [("weights", f"{found.parameters:,} in {plural(found.layers, 'layer')}")]
    lines.append(("mult-adds", f"{_short_count(found.multiply_adds)} per window"))
    geometry = found.geometry
    if geometry is not None:
        lines[-1] = (
            "mult-adds",
            f"{lines[-1][1]}, {_short_count(found.multiply_adds_per_second or 0)} per second of sound",
        )
        times = [geometry.near_seconds, geometry.hop_seconds, found.latency_seconds or 0.0]
        window, hop, latency = map(_duration_text, times)
        if any(geometry.level_samples):
            window += f" ({_duration_text(geometry.window_seconds)} with context for its level)"
        lines.append(("window", f"{window}, one score every {hop}, available {latency} after its sound"))
        lines.append(("live", _live_text(found)))
        lines.append(("padding", _padding_text(found)))
    lines.append(("if dense", _dense_text(found)))
    if found.hints:
        lines.append(("training", f"{format_hints(found.hints)}, unless set by options or a recipe"))
    return lines


def _live_text(found: Description) -> str:
    latest = _duration_text(found.onset_latency_seconds or 0.0)
    return f"detect --follow reports an onset within {latest}, with --min-duration {found.min_speech_seconds:g}"


def _padding_text(found: Description) -> str:
    """Whether a score depends only on its own window."""
    geometry = found.geometry
    if geometry is None or geometry.shift_exact:
        return "none in time: each score depends only on its own window"
    pads = f"{geometry.pad_start / geometry.sample_rate:.3g} + {geometry.pad_end / geometry.sample_rate:.3g} s"
    return f"{pads} in time: not shift-exact; chunks are extended by this much at both ends"


def _dense_text(found: Description) -> str:
    """The weights of the first group compared with those of a dense layer with the same receptive field."""
    if found.first_group is None or not found.dense_weights:
        return "the network is dense: without groups of layers, positions share no weights"
    given = "the input's" if found.geometry is None else "the window's"
    unit = "numbers" if found.geometry is None else "samples"
    group, weights, dense = found.first_group, found.first_group_weights, found.dense_weights
    times = f", {_short_count(round(dense / weights))} times as many" if weights else ""
    return (
        f"{group} has {weights:,} weights; a dense layer from {given} {found.dense_inputs:,} {unit} to the"
        f" {found.dense_outputs:,} outputs of {group} would have {_short_count(dense)}{times}"
    )


def _short_count(number: int) -> str:
    """`32.0 M`."""
    value = float(number)
    for unit in ("", " k", " M", " G", " T"):
        if value < 999.5 or unit == " T":
            return f"{value:.0f}{unit}" if value >= 99.5 or not unit else f"{value:.1f}{unit}"
        value /= 1000
    return str(number)


def _duration_text(value: float) -> str:
    return f"{value * 1000:.3g} ms" if value < 0.1 else f"{value:.3g} s"


def write_side_by_side(found: Sequence[Description], terminal: Terminal) -> None:
    """Draw the totals, then the layers; each network by itself if the terminal is too narrow."""
    console = terminal.out
    totals, layers = _totals_that_fit(found, terminal), _layers_that_fit(found, terminal)
    with terminal.paused():
        if totals is not None:
            console.print(totals)
        if layers is not None:
            terminal.write("\n" if totals is not None else "")
            console.print(layers)
    if layers is None:
        for number, one in enumerate(found):
            terminal.write("\n" if number or totals is not None else "")
            write_layers(one, terminal)


# title -> function for the cell of a network; empty if a size replaces the features
_TOTALS: dict[str, Callable[[Description], str]] = {
    "input": lambda found: found.rows[0].text if found.size is None else str(found.size),
    "layers": lambda found: f"{found.layers}",
    "weights": lambda found: f"{found.parameters:,}",
    "if dense": lambda found: (
        f"{_short_count(found.dense_weights)} for {found.first_group}" if found.dense_weights else "already dense"
    ),
    "mult-adds per window": lambda found: _short_count(found.multiply_adds),
    "per second of sound": lambda found: (
        _short_count(found.multiply_adds_per_second) if found.multiply_adds_per_second else ""
    ),
    "window": lambda found: _duration_text(found.geometry.window_seconds) if found.geometry else "",
    "one score every": lambda found: _duration_text(found.geometry.hop_seconds) if found.geometry else "",
    "score available": lambda found: (
        "" if found.latency_seconds is None else f"after {_duration_text(found.latency_seconds)}"
    ),
    "onset after": lambda found: (
        "" if found.onset_latency_seconds is None else _duration_text(found.onset_latency_seconds)
    ),
    "training": lambda found: format_hints(found.hints),
    "shift-exact": lambda found: ("yes" if found.geometry.shift_exact else "no") if found.geometry else "",
}


def _totals_that_fit(found: Sequence[Description], terminal: Terminal) -> Table | None:
    """A table with one column per network; None if there is no room."""
    from rich.text import Text

    names = [printable(one.name) for one in found]
    rows = {title: [cell(one) for one in found] for title, cell in _TOTALS.items()}
    first = max(map(len, _TOTALS))
    widths = [min(_TOTALS_WIDTH, max(map(len, cells))) for cells in zip(names, *rows.values(), strict=True)]
    if first + sum(_GAP + width for width in widths) > terminal.out.width:
        return None
    table = terminal.new_table(padding=(0, 1, 0, 0))
    table.add_column("")
    for name in names:
        table.add_column(Text(name, style="bold"), justify="right", overflow="fold", max_width=_TOTALS_WIDTH)
    for title, cells in rows.items():
        if any(cells):
            table.add_row(Text(title, style="bold"), *[Text(text) for text in cells])
    return table


def _layers_that_fit(found: Sequence[Description], terminal: Terminal) -> Table | None:
    """The layers with as many columns as fit; None if not even the fewest do."""
    widths = [column_widths(one) for one in found]
    room = terminal.out.width - (_WIDER_GAP + 2 * _GAP) * (len(found) - 1)
    for titles in _LAYER_COLUMNS:
        width = (room - sum(_fixed_width(wide, ["layer", *titles]) for wide in widths)) // len(found)
        if width >= _LEAST_COLUMN_WIDTH:
            return _comparison_table(found, titles, terminal, width)
    return None


def _comparison_table(found: Sequence[Description], titles: Sequence[str], terminal: Terminal, width: int) -> Table:
    from rich.text import Text

    table = terminal.new_table(padding=(0, 1, 0, 0))
    for number, one in enumerate(found):
        if number:
            table.add_column("", min_width=_WIDER_GAP)
        table.add_column("")
        table.add_column(Text(printable(one.name), style="bold"), overflow="fold", max_width=width)
        for title in titles:
            table.add_column(title, justify="right")
    for number, groups in enumerate(align_groups([_rows_by_group(one) for one in found])):
        if number:
            table.add_section()
        for line, rows in enumerate(zip_longest(*[rows for _, rows in groups])):
            cells: list[RenderableType] = []
            for one, (name, _), row in zip(found, groups, rows, strict=True):
                cells += [""] * bool(cells)  # the gap
                cells += [Text(name if line == 0 else "", style="bold"), *_row_cells(one, row, titles)]
            table.add_row(*cells)
    return table


def _row_cells(found: Description, row: Row | None, titles: Sequence[str]) -> list[RenderableType]:
    """The cells of one network in one line; empty if it has no more layers in this group."""
    from rich.text import Text

    if row is None:
        return [""] * (1 + len(titles))
    cells = layer_cells(row, in_seconds=found.geometry is not None)
    return [_indented(row), *[Text(cells[title]) for title in titles]]


def _rows_by_group(found: Description) -> list[tuple[str, list[Row]]]:
    return [(name, list(rows)) for name, rows in groupby(found.rows, key=lambda row: row.group)]


def align_groups(networks: Sequence[list[tuple[str, list[Row]]]]) -> Iterator[list[tuple[str, list[Row]]]]:
    """Groups side by side: first matched by name, and between the matches by position."""
    names = [name for name, _ in networks[0]]
    lines: list[list[tuple[str, list[Row]]]] = [[group] for group in networks[0]]
    for number, groups in enumerate(networks[1:], 1):
        own = [name for name, _ in groups]
        merged, merged_names = [], []
        for _, a, b, c, d in SequenceMatcher(None, names, own, autojunk=False).get_opcodes():
            for line, group, name, new in zip_longest(lines[a:b], groups[c:d], names[a:b], own[c:d]):
                merged.append([*(line or [("", [])] * number), group or ("", [])])
                merged_names.append(name or new)
        lines, names = merged, merged_names
    return iter(lines)
